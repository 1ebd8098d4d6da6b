//! Moves everything of one store into another, whatever their backends: records, readings, the
//! ledger. The source is only read. What was moved is found by comparing, so a move that was cut
//! short goes on where it was when it is run again; at the end both sides are read and compared.
//!
//! What a commit cannot write stays behind: the values that corrections replaced, which are counted.
//! Pseudonyms are made from keys, and the keys of the target are its own: the ledger of the target
//! ends with entries that say which old pseudonym is which new one, so that what the entries before
//! them say of a meter can still be found, and is worthless once the meter is erased.

mod closing;
mod compare;
mod copy;
mod ready;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ems_core::{clock::Clock, meter::MeterId};
use serde::Serialize;

use crate::{Error, Record, Result, Store, Table, subject::Subject};

/// Records and ledger entries that are read at a time.
const PAGE: usize = 1000;

/// The tables that are moved: all but the notes of erasures, of which there must be none.
const TABLES: [Table; 6] = [
    Table::Users,
    Table::Keys,
    Table::Sessions,
    Table::Meters,
    Table::Answers,
    Table::Bans,
];

/// What a move is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Moving readings.
    Readings,
    /// Moving the ledger.
    Ledger,
    /// Reading both sides, and comparing them.
    Verification,
}

/// How far a step has come: readings, of the ledger entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The step.
    pub step: Step,
    /// How many are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
}

/// Is told how far a move has come.
pub type Watch<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// What a store holds: figures that are the same for two stores with the same content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Content {
    /// Meters.
    pub meters: u64,
    /// Readings.
    pub readings: u64,
    /// Records of every table that is moved, those of meters among them.
    pub records: u64,
    /// Ledger entries, those that close a move apart.
    pub ledger_entries: u64,
    /// SHA-256 over the meters in the order of their ids: each id, and the SHA-256 of its readings.
    /// A reading is its microseconds, the bits of its energy, those of its power factor, its place.
    pub readings_sha256: String,
    /// SHA-256 over tables, ids and values of the records.
    pub records_sha256: String,
    /// SHA-256 over the ledger entries, as the JSON objects that they are kept as.
    pub ledger_sha256: String,
}

/// What a move came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// What the source holds.
    pub source: Content,
    /// What the target holds.
    pub target: Content,
    /// Values replaced by corrections, which stay behind: no commit writes them.
    pub superseded_left_behind: u64,
    /// What is not the same on both sides; no name of a meter or person. Empty where all is well.
    pub differences: Vec<String>,
}

/// The two sides, and who is told.
#[derive(Clone, Copy)]
struct Sides<'a> {
    source: &'a Store,
    target: &'a Store,
    watch: Watch<'a>,
}

/// Moves the readings of a store, with the records of their meters, into another, which is new or was
/// being filled from the same source, and compares them. What is moved is durable commit by commit.
/// From here to the end of [`rest`] nothing may change readings or meters of the source, and nothing
/// else may write to the target.
///
/// # Errors
/// [`Error::Refused`] for two stores that must not be joined, before anything is written; those of
/// the stores: run again, it goes on.
pub async fn readings(source: &Store, target: &Store, watch: Watch<'_>) -> Result<Moved> {
    let sides = Sides {
        source,
        target,
        watch,
    };
    source.commit.fresh().await?;
    target.commit.fresh().await?;
    ready::check(sides).await?;
    copy::records(sides).await?;
    copy::readings(sides).await?;
    compare::readings(sides).await
}

/// Moves all else of a store (the first) into another, and compares it. The source may be closed, and
/// nothing may write to it any more. The target is complete if [`Moved::differences`] is empty, and
/// then its ledger says so.
///
/// # Errors
/// As [`readings`].
pub async fn rest(
    (source, target): (&Store, &Store),
    mut moved: Moved,
    clock: &dyn Clock,
    watch: Watch<'_>,
) -> Result<Moved> {
    let sides = Sides {
        source,
        target,
        watch,
    };
    ready::check(sides).await?;
    copy::records(sides).await?;
    copy::ledger(sides).await?;
    compare::rest(sides, &mut moved).await?;
    if moved.differences.is_empty() {
        closing::write(sides, &moved, clock.now()).await?;
    }
    Ok(moved)
}

/// The records of a table, page by page.
struct Pages<'a> {
    store: &'a Store,
    table: Table,
    after: Option<Arc<str>>,
}

impl<'a> Pages<'a> {
    fn new(store: &'a Store, table: Table) -> Self {
        Self {
            store,
            table,
            after: None,
        }
    }

    /// The next records in the order of their ids; none at the end.
    async fn next(&mut self) -> Result<Vec<Record>> {
        let after = self.after.as_deref();
        let page = self.store.records.list(self.table, "", after, PAGE).await?;
        if let Some(last) = page.last() {
            self.after = Some(Arc::clone(&last.id));
        }
        Ok(page)
    }
}

/// The meter of a record.
fn meter_of(record: &Record) -> Result<MeterId> {
    MeterId::parse(&record.id).map_err(|fault| Error::damaged("a meter's record", fault.detail))
}

/// What a meter is called where its name must not be said.
async fn pseudonym(store: &Store, meter: &MeterId) -> Result<Option<String>> {
    let subject = Subject::Meter(meter.clone());
    store.subjects.pseudonym(&subject).await
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
