//! The content of a journal record: the batches of one group commit, in the order in which they
//! were applied.

use std::collections::HashMap;

use ems_core::{
    meter::MeterId,
    quantity::{Kwh, Location, PowerFactor},
    reading::{Reading, ReadingBatch},
    time::{TimeRange, Timestamp},
};

use super::{
    plan::Written,
    wire::{Malformed, Reader, Writer},
};
use crate::{Batch, Deletion, Expect, RecordChange, Table};

/// One batch as the journal keeps it. Ledger entries are in their final form.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) readings: ReadingBatch,
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) records: Vec<RecordChange>,
    pub(crate) ledger: Vec<Vec<u8>>,
}

/// A group commit: its sequence number, when it was made, its batches.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) sequence: u64,
    pub(crate) at: Timestamp,
    pub(crate) entries: Vec<Entry>,
}

impl Group {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Reader(bytes);
        let sequence = input.u64()?;
        let at = timestamp(input.zigzag()?)?;
        let entries = (0..input.count()?)
            .map(|_| take_entry(&mut input))
            .collect::<Result<_, _>>()?;
        input.end()?;
        Ok(Self {
            sequence,
            at,
            entries,
        })
    }
}

/// The entries of a group, encoded one after the other.
#[derive(Debug, Default)]
pub(crate) struct GroupWriter {
    entries: usize,
    body: Writer,
}

impl GroupWriter {
    /// Adds an entry of these parts.
    pub(crate) fn put(
        &mut self,
        batch: (&[Deletion], &ReadingBatch),
        records: &[&RecordChange],
        ledger: &[Vec<u8>],
    ) {
        self.entries += 1;
        let (deletions, readings) = batch;
        let out = &mut self.body;
        out.count(deletions.len());
        for deletion in deletions {
            out.bytes(deletion.meter.as_str().as_bytes());
            out.zigzag(deletion.range.start().as_micros());
            out.zigzag(deletion.range.end().as_micros());
        }
        out.count(readings.groups().len());
        for (meter, readings) in readings.groups() {
            out.bytes(meter.as_str().as_bytes());
            put_readings(out, readings.iter());
        }
        out.count(records.len());
        for change in records {
            put_change(out, change);
        }
        out.count(ledger.len());
        for event in ledger {
            out.bytes(event);
        }
    }

    /// The content of the journal's record.
    pub(crate) fn finish(&self, sequence: u64, at: Timestamp) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(self.body.0.len() + 32));
        out.u64(sequence);
        out.zigzag(at.as_micros());
        out.count(self.entries);
        out.0.extend_from_slice(&self.body.0);
        out.0
    }
}

impl Written for GroupWriter {
    fn add(&mut self, batch: &Batch, records: &[RecordChange], ledger: &[Vec<u8>]) {
        let records: Vec<&RecordChange> = records.iter().collect();
        self.put((&batch.deletions, &batch.readings), &records, ledger);
    }

    fn is_empty(&self) -> bool {
        self.entries == 0
    }
}

fn take_entry(input: &mut Reader<'_>) -> Result<Entry, Malformed> {
    let mut entry = Entry::default();
    for _ in 0..input.count()? {
        let meter = meter(input)?;
        let range = TimeRange::new(timestamp(input.zigzag()?)?, timestamp(input.zigzag()?)?)
            .ok_or(Malformed)?;
        entry.deletions.push(Deletion { meter, range });
    }
    for _ in 0..input.count()? {
        let meter = meter(input)?;
        for reading in take_readings(input)? {
            entry.readings.push(meter.clone(), reading);
        }
    }
    for _ in 0..input.count()? {
        entry.records.push(take_change(input)?);
    }
    for _ in 0..input.count()? {
        entry.ledger.push(input.bytes()?.to_vec());
    }
    Ok(entry)
}

fn meter(input: &mut Reader<'_>) -> Result<MeterId, Malformed> {
    MeterId::parse(input.text()?).map_err(|_| Malformed)
}

fn timestamp(micros: i64) -> Result<Timestamp, Malformed> {
    Timestamp::from_micros(micros).ok_or(Malformed)
}

const HAS_FACTOR: u8 = 1;
const HAS_LOCATION: u8 = 2;

/// Readings in any order: times as differences, the rest plain; locations by number, each text once.
pub(crate) fn put_readings<'a>(
    out: &mut Writer,
    readings: impl ExactSizeIterator<Item = &'a Reading>,
) {
    out.count(readings.len());
    let mut before = 0;
    let mut places: HashMap<&Location, u64> = HashMap::new();
    for reading in readings {
        let flags = if reading.power_factor.is_some() {
            HAS_FACTOR
        } else {
            0
        } | if reading.location.is_some() {
            HAS_LOCATION
        } else {
            0
        };
        out.u8(flags);
        out.zigzag(reading.at.as_micros() - before);
        before = reading.at.as_micros();
        out.f64(reading.energy.get());
        if let Some(factor) = reading.power_factor {
            out.f64(factor.get());
        }
        if let Some(place) = &reading.location {
            let next = u64::try_from(places.len()).unwrap_or(u64::MAX);
            let number = *places.entry(place).or_insert(next);
            out.varint(number);
            if number == next {
                out.bytes(place.as_str().as_bytes());
            }
        }
    }
}

pub(crate) fn take_readings(input: &mut Reader<'_>) -> Result<Vec<Reading>, Malformed> {
    let count = input.count()?;
    let mut readings = Vec::with_capacity(count);
    let mut before = 0_i64;
    let mut places: Vec<Location> = Vec::new();
    for _ in 0..count {
        let flags = input.u8()?;
        before = before.checked_add(input.zigzag()?).ok_or(Malformed)?;
        let energy = Kwh::new(input.f64()?).map_err(|_| Malformed)?;
        let factor = (flags & HAS_FACTOR != 0).then(|| input.f64()).transpose()?;
        let power_factor = factor
            .map(PowerFactor::new)
            .transpose()
            .map_err(|_| Malformed)?;
        let location = if flags & HAS_LOCATION == 0 {
            None
        } else {
            Some(take_location(input, &mut places)?)
        };
        readings.push(Reading {
            at: timestamp(before)?,
            energy,
            power_factor,
            location,
        });
    }
    Ok(readings)
}

fn take_location(
    input: &mut Reader<'_>,
    places: &mut Vec<Location>,
) -> Result<Location, Malformed> {
    let number = usize::try_from(input.varint()?).map_err(|_| Malformed)?;
    if number == places.len() {
        places.push(Location::parse(input.text()?).map_err(|_| Malformed)?);
    }
    places.get(number).cloned().ok_or(Malformed)
}

fn put_change(out: &mut Writer, change: &RecordChange) {
    out.u8(table_code(change.table));
    out.bytes(change.id.as_bytes());
    out.u8(u8::from(change.value.is_some()));
    out.bytes(change.value.as_deref().unwrap_or_default());
}

/// A change as it was applied: what it expected was checked before it was written.
fn take_change(input: &mut Reader<'_>) -> Result<RecordChange, Malformed> {
    let code = input.u8()?;
    let table = Table::ALL
        .into_iter()
        .find(|table| table_code(*table) == code)
        .ok_or(Malformed)?;
    let id = input.text()?.to_owned();
    let present = input.u8()? == 1;
    let value = input.bytes()?.to_vec();
    Ok(RecordChange {
        table,
        id,
        expect: Expect::Any,
        value: present.then_some(value),
    })
}

/// The number of a table in the journal; never reused.
fn table_code(table: Table) -> u8 {
    match table {
        Table::Users => 1,
        Table::Keys => 2,
        Table::Sessions => 3,
        Table::Meters => 4,
        Table::Erasures => 5,
        Table::Answers => 6,
        Table::Bans => 7,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn readings() -> impl Strategy<Value = Vec<Reading>> {
        let place = prop::option::of(prop_oneof![Just("Sceaux, France"), Just("Leeds"), Just("")]);
        let one = (
            0_i64..253_402_300_799_999_999,
            0.0..=100_000.0_f64,
            prop::option::of(0.0..=1.0_f64),
            place,
        );
        prop::collection::vec(one, 0..40).prop_map(|rows| {
            let reading =
                |(at, energy, factor, place): (i64, f64, Option<f64>, Option<&str>)| Reading {
                    at: Timestamp::from_micros(at).unwrap(),
                    energy: Kwh::new(energy).unwrap(),
                    power_factor: factor.map(|factor| PowerFactor::new(factor).unwrap()),
                    location: place.map(|place| Location::parse(place).unwrap()),
                };
            rows.into_iter().map(reading).collect()
        })
    }

    proptest! {
        #[test]
        fn readings_come_back_to_the_bit(readings in readings()) {
            let mut out = Writer::default();
            put_readings(&mut out, readings.iter());
            prop_assert_eq!(take_readings(&mut Reader(&out.0)).unwrap(), readings);
        }

        #[test]
        fn hostile_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = Group::decode(&bytes);
        }
    }

    #[test]
    fn a_group_comes_back() {
        let meter = MeterId::parse("m-1").unwrap();
        let reading = Reading {
            at: Timestamp::MIN,
            energy: Kwh::new(1.0).unwrap(),
            power_factor: None,
            location: None,
        };
        let batch = Batch {
            readings: ReadingBatch::of(meter.clone(), reading),
            deletions: vec![Deletion {
                meter,
                range: TimeRange::ALL,
            }],
            ..Batch::default()
        };
        let change = RecordChange {
            table: Table::Users,
            id: "alice".into(),
            expect: Expect::Any,
            value: None,
        };
        let mut writer = GroupWriter::default();
        writer.add(&batch, std::slice::from_ref(&change), &[b"{}".to_vec()]);
        let back = Group::decode(&writer.finish(9, Timestamp::MAX)).unwrap();
        assert_eq!(
            (back.sequence, back.at, back.entries.len()),
            (9, Timestamp::MAX, 1)
        );
        let entry = &back.entries[0];
        assert_eq!(
            (&entry.records, &entry.deletions),
            (&vec![change], &batch.deletions)
        );
        assert_eq!(entry.readings.groups(), batch.readings.groups());
        assert_eq!(entry.ledger, [b"{}".to_vec()]);
    }
}
