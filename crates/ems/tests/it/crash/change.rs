//! What a writer asks for, what that makes of its readings, and what the answer has to be.
//!
//! Writers share meters, so that one commit, one fold and one segment hold what several of them
//! sent; but each has a year of its own there, in which it alone knows what is acknowledged.

use std::collections::BTreeMap;

use ems_api::{
    client::{Body, Coding, Error, Format},
    domain::{Location, MeterId, Timestamp},
    reading::{NewReading, Reading},
};

use super::writer::Link;

/// The first few meters of all writers, which get readings of every kind. To the others come few,
/// and new ones: those travel in runs.
pub(super) const BUSY: u64 = 4;
/// Meters of all writers. The one after them is the writer's own, which goes as a whole now and then.
pub(super) const SHARED: u64 = 20;
/// Seconds of a writer's year.
pub(super) const YEAR: u64 = 31_536_000;

/// A meter and a second of the writer's year.
pub(super) type Key = (u64, u64);

/// A writer's readings: a number that makes all of a reading, by meter and second.
pub(super) type Rows = BTreeMap<Key, u64>;

/// A request that changes readings.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// One reading.
    Post(Rows),
    /// NDJSON of several meters; whether with `atomic`.
    Batch(Rows, bool),
    /// A range of a meter: its seconds from the first up to and without the second.
    Delete(u64, u64, u64),
    /// The writer's own meter with all that it has.
    Remove,
    /// The same, and its key: nothing that was ever written of it can be opened again.
    Erase,
}

/// What a change is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Accepted, unchanged, corrected, rejected.
    Stored(u64, u64, u64, u64),
    Deleted(u64),
    Removed,
}

impl Change {
    /// What it makes of the readings.
    pub(super) fn apply(&self, rows: &mut Rows) {
        match self {
            Self::Post(new) | Self::Batch(new, _) => rows.extend(new),
            Self::Delete(..) | Self::Remove | Self::Erase => rows.retain(|key, _| !self.takes(key)),
        }
    }

    fn takes(&self, (meter, second): &Key) -> bool {
        match self {
            Self::Delete(of, from, to) => of == meter && (from..to).contains(&second),
            Self::Remove | Self::Erase => *meter == SHARED,
            _ => false,
        }
    }

    /// What it has to be answered with, where these are the readings before it.
    pub(super) fn expected(&self, rows: &Rows) -> Answer {
        let count = |count: usize| u64::try_from(count).unwrap();
        match self {
            Self::Post(new) | Self::Batch(new, _) => {
                let old: Vec<_> = new.iter().map(|(key, new)| (rows.get(key), new)).collect();
                let accepted = old.iter().filter(|(old, _)| old.is_none()).count();
                let unchanged = old.iter().filter(|(old, new)| *old == Some(new)).count();
                let corrected = new.len() - accepted - unchanged;
                Answer::Stored(count(accepted), count(unchanged), count(corrected), 0)
            }
            Self::Delete(..) => {
                Answer::Deleted(count(rows.keys().filter(|key| self.takes(key)).count()))
            }
            Self::Remove | Self::Erase => Answer::Removed,
        }
    }

    /// Sends it as a writer's.
    pub(super) async fn send(&self, link: &Link, writer: u64) -> Result<Answer, Error> {
        let client = &link.client;
        match self {
            Self::Post(rows) => {
                let (key, value) = rows.first_key_value().unwrap();
                let stored = client.push(&sent(writer, *key, *value)).await?;
                let (accepted, unchanged) = (stored.accepted, stored.unchanged);
                Ok(Answer::Stored(accepted, unchanged, stored.corrected, 0))
            }
            Self::Batch(rows, atomic) => {
                let lines = rows
                    .iter()
                    .map(|(key, value)| serde_json::to_string(&sent(writer, *key, *value)));
                let lines: Result<Vec<_>, _> = lines.collect();
                let body = Body {
                    format: Format::Ndjson,
                    coding: Coding::Identity,
                    bytes: lines.unwrap().join("\n").into(),
                };
                let stored = if *atomic {
                    client.batch_atomic(body).await?
                } else {
                    client.batch(body).await?
                };
                let (accepted, unchanged) = (stored.accepted, stored.unchanged);
                let (corrected, rejected) = (stored.corrected, stored.rejected);
                Ok(Answer::Stored(accepted, unchanged, corrected, rejected))
            }
            Self::Delete(meter, from, to) => {
                let (start, end) = (instant(writer, *from), instant(writer, *to));
                let span = ems_api::client::Span {
                    start: &start.to_string(),
                    end: &end.to_string(),
                };
                let deleted = client.delete_readings(&name(writer, *meter), span).await?;
                Ok(Answer::Deleted(deleted.deleted))
            }
            Self::Remove => {
                client.delete_meter(&name(writer, SHARED)).await?;
                Ok(Answer::Removed)
            }
            Self::Erase => {
                link.owner.destroy_meter_key(&name(writer, SHARED)).await?;
                Ok(Answer::Removed)
            }
        }
    }
}

/// The name of a writer's meter.
pub(super) fn name(writer: u64, meter: u64) -> String {
    if meter == SHARED {
        format!("own-{writer}")
    } else {
        format!("shared-{meter}")
    }
}

/// A second of a writer's year.
pub(super) fn instant(writer: u64, second: u64) -> Timestamp {
    let seconds = (1 + writer) * YEAR + second;
    Timestamp::from_micros(i64::try_from(seconds).unwrap() * 1_000_000).unwrap()
}

/// The second of a writer's year.
pub(super) fn second(writer: u64, at: Timestamp) -> u64 {
    u64::try_from(at.as_seconds()).unwrap() - (1 + writer) * YEAR
}

/// The energy of a number: eighths, of which sums are exact.
pub(super) fn kwh(value: u64) -> f64 {
    f64::from(u32::try_from(value % 800_000).unwrap()) / 8.0
}

fn sent(writer: u64, (meter, at): Key, value: u64) -> NewReading {
    let meter = MeterId::parse(&name(writer, meter)).unwrap();
    let mut reading = NewReading::plain(meter, instant(writer, at), kwh(value));
    if (value >> 20).is_multiple_of(3) {
        reading.power_factor = Some(f64::from(u32::try_from(value >> 24 & 255).unwrap()) / 255.0);
    }
    // Long ones fill the journal, so that few readings make many folds; characters of four bytes,
    // since each is checked at every step of the way, which a build for tests is slow at.
    if !(value >> 40).is_multiple_of(8) {
        let nibble = |at: u32| u32::try_from(value >> (at % 16 * 4) & 15).unwrap();
        let text = (0..48).map(|at| char::from_u32(0x1f330 + nibble(at)).unwrap());
        let text: String = text.collect();
        reading.location = Some(Location::parse(&text).unwrap());
    }
    reading
}

/// Whether all of a reading is what the number makes of it.
pub(super) fn is(found: &Reading, value: u64) -> bool {
    let sent = sent(0, (0, 0), value);
    found.energy_consumption == sent.energy_consumption
        && found.power_factor == sent.power_factor
        && found.location == sent.location
}

#[test]
fn a_change_foretells_its_answer() {
    let mut rows = Rows::from([((0, 1), 8), ((0, 5), 8), ((SHARED, 1), 8)]);
    let batch = Change::Batch(Rows::from([((0, 1), 8), ((0, 5), 9), ((1, 5), 9)]), true);
    assert_eq!(batch.expected(&rows), Answer::Stored(1, 1, 1, 0));
    batch.apply(&mut rows);
    assert_eq!(batch.expected(&rows), Answer::Stored(0, 3, 0, 0));
    let delete = Change::Delete(0, 1, 5);
    assert_eq!(delete.expected(&rows), Answer::Deleted(1));
    delete.apply(&mut rows);
    Change::Remove.apply(&mut rows);
    assert_eq!(rows, Rows::from([((0, 5), 9), ((1, 5), 9)]));
}
