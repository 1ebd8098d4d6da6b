//! Reads both sides and compares them: counts, and hashes of all there is. What differs is named by
//! table, by the number of a ledger entry or by a meter's pseudonym, never by what it holds.

use data_encoding::HEXLOWER;
use ems_core::{
    meter::MeterId,
    quantity::{Location, PowerFactor},
    reading::Reading,
    time::TimeRange,
};
use ems_crypto::hash::Sha256;

use super::{Moved, PAGE, Pages, Progress, Sides, Step, TABLES, meter_of, pseudonym, wide};
use crate::{Columns, Error, Record, Result, Store, Table};

/// Differences that are named; of more only the number.
const NAMED: usize = 100;

/// Compares the readings.
pub(super) async fn readings(sides: Sides<'_>) -> Result<Moved> {
    let mut moved = Moved::default();
    meters(sides, &mut moved).await?;
    Ok(moved)
}

/// Compares all else.
pub(super) async fn rest(sides: Sides<'_>, moved: &mut Moved) -> Result<()> {
    records(sides, moved).await?;
    ledger(sides, moved).await?;
    let more = moved.differences.len().saturating_sub(NAMED);
    if more > 0 {
        moved.differences.truncate(NAMED);
        moved.differences.push(format!("and {more} more"));
    }
    Ok(())
}

/// A hash of values, each with its length, so that no two run into others.
#[derive(Default)]
struct Digest(Sha256);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        self.0.update(&wide(bytes.len()).to_le_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> String {
        HEXLOWER.encode(&self.0.finish())
    }
}

async fn records(sides: Sides<'_>, moved: &mut Moved) -> Result<()> {
    let (mut here, mut there) = (Digest::default(), Digest::default());
    for table in TABLES {
        let in_source = digest_table(sides.source, table, &mut here).await?;
        let in_target = digest_table(sides.target, table, &mut there).await?;
        moved.source.records += in_source.0;
        moved.target.records += in_target.0;
        if table == Table::Meters {
            moved.source.meters = in_source.0;
            moved.target.meters = in_target.0;
        }
        if in_source != in_target {
            let table = table.as_str();
            let (source, target) = (in_source.0, in_target.0);
            moved.differences.push(format!(
                "the {table} records differ: {source} in the source, {target} in the target"
            ));
        }
    }
    moved.source.records_sha256 = here.finish();
    moved.target.records_sha256 = there.finish();
    Ok(())
}

/// How many records a table has, and their hash, which is added to that of all.
async fn digest_table(store: &Store, table: Table, all: &mut Digest) -> Result<(u64, String)> {
    let mut digest = Digest::default();
    let mut pages = Pages::new(store, table);
    let mut count = 0;
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        count += wide(page.len());
        for Record { id, value, .. } in &page {
            digest.add(id.as_bytes());
            digest.add(value);
        }
    }
    let digest = digest.finish();
    all.add(table.as_str().as_bytes());
    all.add(digest.as_bytes());
    Ok((count, digest))
}

async fn meters(sides: Sides<'_>, moved: &mut Moved) -> Result<()> {
    let (mut here, mut there) = (Digest::default(), Digest::default());
    let mut pages = Pages::new(sides.source, Table::Meters);
    let total = super::copy::total(sides).await?;
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            let meter = meter_of(&record)?;
            let (source, target) = tokio::try_join!(
                digest_meter(sides.source, &meter),
                digest_meter(sides.target, &meter)
            )?;
            if source != target {
                let name = pseudonym(sides.source, &meter).await?.unwrap_or_default();
                moved.differences.push(format!(
                    "the readings of {name} differ: {} in the source, {} in the target",
                    source.0, target.0
                ));
            }
            let superseded = sides.source.segments.superseded(&meter).await?;
            moved.superseded_left_behind += wide(superseded.len());
            for (content, digest, side) in [
                (&mut moved.source, &mut here, &source),
                (&mut moved.target, &mut there, &target),
            ] {
                content.readings += side.0;
                digest.add(record.id.as_bytes());
                digest.add(&side.1);
            }
            (sides.watch)(Progress {
                step: Step::Verification,
                done: moved.source.readings,
                total,
            });
        }
    }
    moved.source.readings_sha256 = here.finish();
    moved.target.readings_sha256 = there.finish();
    Ok(())
}

/// How many readings a meter has, and their hash.
///
/// # Errors
/// [`Error::Damaged`] where a scan does not give as many as the store counts.
async fn digest_meter(store: &Store, meter: &MeterId) -> Result<(u64, [u8; 32])> {
    let mut digest = Sha256::new();
    let (mut count, mut rest) = (0, Some(TimeRange::ALL));
    while let Some(range) = rest {
        let piece = store.segments.scan(meter, range, Columns::All).await?;
        for reading in piece.block.iter() {
            digest_reading(&reading, &mut digest);
        }
        count += wide(piece.block.len());
        rest = TimeRange::new(piece.until, range.end());
    }
    let counted = store.segments.statistics(meter).await?.readings;
    if counted != count {
        let name = pseudonym(store, meter).await?.unwrap_or_default();
        let why = format!("a scan gives {count} readings of the {counted} that are counted");
        return Err(Error::damaged(name, why));
    }
    Ok((count, digest.finish()))
}

/// The canonical bytes of a reading: little-endian, what may be absent after a byte that says so.
fn digest_reading(reading: &Reading, digest: &mut Sha256) {
    digest.update(&reading.at.as_micros().to_le_bytes());
    digest.update(&reading.energy.get().to_bits().to_le_bytes());
    match reading.power_factor.map(PowerFactor::get) {
        Some(factor) => {
            digest.update(&[1]);
            digest.update(&factor.to_bits().to_le_bytes());
        }
        None => digest.update(&[0]),
    }
    match reading.location.as_ref().map(Location::as_str) {
        Some(place) => {
            digest.update(&[1]);
            digest.update(&wide(place.len()).to_le_bytes());
            digest.update(place.as_bytes());
        }
        None => digest.update(&[0]),
    }
}

async fn ledger(sides: Sides<'_>, moved: &mut Moved) -> Result<()> {
    let (mut here, mut there) = (Digest::default(), Digest::default());
    let total = *sides.source.ledger.durable().borrow();
    let mut first = None;
    let mut from = 0;
    while from < total {
        let limit = PAGE.min(usize::try_from(total - from).unwrap_or(PAGE));
        let in_source = sides.source.ledger.entries(from, limit).await?;
        let in_target = sides.target.ledger.entries(from, limit).await?;
        if in_source.is_empty() {
            return Err(Error::damaged("ledger", "entries are gone from its end"));
        }
        in_source.iter().for_each(|(_, entry)| here.add(entry));
        in_target.iter().for_each(|(_, entry)| there.add(entry));
        let mut others = in_target.iter();
        let other = in_source.iter().find(|entry| others.next() != Some(*entry));
        first = first.or(other.map(|(index, _)| *index));
        moved.source.ledger_entries += wide(in_source.len());
        moved.target.ledger_entries += wide(in_target.len());
        from += wide(in_source.len());
    }
    if let Some(index) = first {
        moved
            .differences
            .push(format!("the ledgers differ from entry {index} on"));
    }
    moved.source.ledger_sha256 = here.finish();
    moved.target.ledger_sha256 = there.finish();
    Ok(())
}
