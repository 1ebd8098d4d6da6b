//! The moving itself. Everything goes in commits of bounded size, and nothing is written that is
//! there already, so that it may be cut short anywhere.
//!
//! Readings and ledger entries never share a commit: a store completes the entries of a batch with
//! readings by its counts, and these entries are to stay as they were.

use ems_core::{audit::AuditEvent, meter::MeterId, time::TimeRange};

use super::{PAGE, Pages, Progress, Sides, Step, TABLES, meter_of, wide};
use crate::{Batch, Columns, Error, Expect, RecordChange, Result, Table};

/// Readings from which on a batch is committed; a piece of a scan may come on top.
const ROWS: usize = 16_384;
/// Bytes of values from which on a batch of records or ledger entries is committed.
const BYTES: usize = 1 << 20;

/// Makes the records of the target those of the source.
pub(super) async fn records(sides: Sides<'_>) -> Result<()> {
    for table in TABLES {
        let mut pages = Pages::new(sides.source, table);
        let mut changes = Changes::new(sides);
        loop {
            let page = pages.next().await?;
            if page.is_empty() {
                break;
            }
            for record in page {
                let there = sides.target.records.get(table, &record.id).await?;
                if there.is_none_or(|there| there.value != record.value) {
                    let value = Some(record.value.to_vec());
                    changes.add(table, &record.id, value).await?;
                }
            }
        }
        changes.flush().await?;
        // A meter is more than its record: one too many is a difference.
        if table != Table::Meters {
            remove_others(sides, table).await?;
        }
    }
    Ok(())
}

/// Removes what an earlier part of the move brought and the source has no more.
async fn remove_others(sides: Sides<'_>, table: Table) -> Result<()> {
    let mut pages = Pages::new(sides.target, table);
    let mut changes = Changes::new(sides);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            return changes.flush().await;
        }
        for record in page {
            if sides.source.records.get(table, &record.id).await?.is_none() {
                changes.add(table, &record.id, None).await?;
            }
        }
    }
}

/// Changes of records that wait to be committed.
struct Changes<'a> {
    sides: Sides<'a>,
    waiting: Vec<RecordChange>,
    bytes: usize,
}

impl<'a> Changes<'a> {
    fn new(sides: Sides<'a>) -> Self {
        Self {
            sides,
            waiting: Vec::new(),
            bytes: 0,
        }
    }

    async fn add(&mut self, table: Table, id: &str, value: Option<Vec<u8>>) -> Result<()> {
        self.bytes += value.as_ref().map_or(0, Vec::len);
        self.waiting.push(RecordChange {
            table,
            id: id.to_owned(),
            expect: Expect::Any,
            value,
        });
        if self.waiting.len() >= PAGE || self.bytes >= BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.bytes = 0;
        let records = std::mem::take(&mut self.waiting);
        if records.is_empty() {
            return Ok(());
        }
        let batch = Batch {
            records,
            ..Batch::default()
        };
        self.sides.target.commit.commit(batch).await.map(drop)
    }
}

/// Brings the readings of every meter: first what comes after the target's last one, since they go
/// in order. Where that does not make as many of them, the source has changed since an earlier part
/// of the move, and the meter is brought whole: what is there already counts as unchanged.
pub(super) async fn readings(sides: Sides<'_>) -> Result<()> {
    let mut readings = Readings {
        sides,
        batch: Batch::default(),
        done: 0,
        total: total(sides).await?,
    };
    for whole in [false, true] {
        let mut pages = Pages::new(sides.source, Table::Meters);
        loop {
            let page = pages.next().await?;
            if page.is_empty() {
                break;
            }
            for record in page {
                readings.meter(&meter_of(&record)?, whole).await?;
            }
        }
        readings.flush().await?;
    }
    Ok(())
}

/// How many readings the source has.
pub(super) async fn total(sides: Sides<'_>) -> Result<u64> {
    let mut total = 0;
    let mut pages = Pages::new(sides.source, Table::Meters);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            return Ok(total);
        }
        for record in page {
            let meter = meter_of(&record)?;
            total += sides.source.segments.statistics(&meter).await?.readings;
        }
    }
}

/// Readings that wait to be committed, and how many are moved.
struct Readings<'a> {
    sides: Sides<'a>,
    batch: Batch,
    done: u64,
    total: u64,
}

impl Readings<'_> {
    async fn meter(&mut self, meter: &MeterId, whole: bool) -> Result<()> {
        let here = self.sides.source.segments.statistics(meter).await?;
        let there = self.sides.target.segments.statistics(meter).await?;
        if !whole {
            self.done += there.readings.min(here.readings);
            self.tell();
        }
        if here == there {
            return Ok(());
        }
        let last = there.span.filter(|_| !whole).map(|span| span.1);
        let from = last.map_or(TimeRange::ALL.start(), |last| last.saturating_add_micros(1));
        let mut rest = TimeRange::new(from, TimeRange::ALL.end());
        while let Some(range) = rest {
            let segments = &self.sides.source.segments;
            let piece = segments.scan(meter, range, Columns::All).await?;
            if !piece.block.is_empty() {
                let slot = self.batch.readings.slot(meter);
                for reading in piece.block.iter() {
                    self.batch.readings.push_at(slot, reading);
                }
                self.done += wide(piece.block.len());
            }
            if self.batch.readings.len() >= ROWS {
                self.flush().await?;
            }
            rest = TimeRange::new(piece.until, range.end());
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        if self.batch.readings.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.sides.target.commit.commit(batch).await?;
        self.tell();
        Ok(())
    }

    fn tell(&self) {
        (self.sides.watch)(Progress {
            step: Step::Readings,
            done: self.done.min(self.total),
            total: self.total,
        });
    }
}

/// Brings the ledger's entries that the target does not have, in their order.
pub(super) async fn ledger(sides: Sides<'_>) -> Result<()> {
    let total = *sides.source.ledger.durable().borrow();
    let mut from = *sides.target.ledger.durable().borrow();
    while from < total {
        let entries = sides.source.ledger.entries(from, PAGE).await?;
        if entries.is_empty() {
            return Err(Error::damaged("ledger", "entries are gone from its end"));
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        for (index, entry) in entries {
            batch.ledger.push(unchanged(index, &entry)?);
            bytes += entry.len();
            if bytes >= BYTES {
                break;
            }
        }
        from += wide(batch.ledger.len());
        sides.target.commit.commit(batch).await?;
        (sides.watch)(Progress {
            step: Step::Ledger,
            done: from,
            total,
        });
    }
    Ok(())
}

/// The event of an entry, if a store writes it as the entry is.
fn unchanged(index: u64, entry: &[u8]) -> Result<AuditEvent> {
    let place = || format!("ledger entry {index}");
    let event: AuditEvent = serde_json::from_slice(entry)
        .map_err(|error| Error::damaged(place(), error.to_string()))?;
    match serde_json::to_vec(&event) {
        Ok(written) if written == entry => Ok(event),
        _ => Err(Error::Refused(format!(
            "{} cannot be moved as it is: another version wrote it",
            place()
        ))),
    }
}
