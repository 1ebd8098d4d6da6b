//! The capabilities of a store. Each is small and object-safe; each doc says what is durable and
//! what is visible when.

use std::sync::Arc;

use async_trait::async_trait;
use ems_core::{
    audit::AuditEvent,
    block::Block,
    meter::{MeterId, MeterStatistics},
    time::{TimeRange, Timestamp},
};
use tokio::sync::watch;

use crate::{Batch, Error, Outcome, Record, Result, Table, subject::Subject};

/// Writes.
#[async_trait]
pub trait Commit: Send + Sync {
    /// Applies a batch whole or not at all. Durable (fsync, or a majority) when it returns; visible
    /// to every read that begins after it returned. Concurrent commits share one fsync.
    async fn commit(&self, batch: Batch) -> Result<Outcome>;

    /// Stops taking writes, finishes those taken, folds what is open, closes. Later commits answer
    /// [`crate::Error::Unavailable`].
    async fn close(&self) -> Result<()>;
}

/// Which columns a scan needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// All.
    All,
    /// Timestamps and energy.
    Energy,
}

/// A part of a scan: all readings from the start of the asked range up to `until`.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The readings.
    pub block: Block,
    /// The first instant not covered: where to go on, the asked end when nothing is left.
    pub until: Timestamp,
}

/// Readings.
#[async_trait]
pub trait Segments: Send + Sync {
    /// The readings of a meter from the start of `range`, as far as one piece reaches (at most some
    /// 32,768 readings). Sees every commit that returned before. To scan a whole range, call again
    /// from `until` as long as it lies before the range's end. An unknown meter has no readings.
    async fn scan(&self, meter: &MeterId, range: TimeRange, columns: Columns) -> Result<Piece>;

    /// How many readings a meter has, and their span; of an unknown meter none.
    async fn statistics(&self, meter: &MeterId) -> Result<MeterStatistics>;

    /// Folds what is in memory and journal into segments now. Changes nothing that can be seen.
    async fn fold(&self) -> Result<()>;
}

/// Records.
#[async_trait]
pub trait Records: Send + Sync {
    /// The record of an id. Sees every commit that returned before.
    async fn get(&self, table: Table, id: &str) -> Result<Option<Record>>;

    /// Records in the order of their ids (bytes): those that begin with `prefix` and come after
    /// `after`, at most `limit`.
    async fn list(
        &self,
        table: Table,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>>;
}

/// The audit ledger: entries numbered from 0, never changed.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Entries from `from` on, at most `limit`, as the JSON objects that they are kept as. Only
    /// durable ones are seen.
    async fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Arc<[u8]>)>>;

    /// Entries from `from` on, at most `limit`. Only durable ones are seen.
    async fn range(&self, from: u64, limit: usize) -> Result<Vec<(u64, AuditEvent)>> {
        let read = |(index, entry): (u64, Arc<[u8]>)| match serde_json::from_slice(&entry) {
            Ok(event) => Ok((index, event)),
            Err(error) => {
                let place = format!("ledger entry {index}");
                Err(Error::damaged(place, error.to_string()))
            }
        };
        let entries = self.entries(from, limit).await?;
        entries.into_iter().map(read).collect()
    }

    /// The number of durable entries, and a wake-up for each change of it.
    fn durable(&self) -> watch::Receiver<u64>;
}

/// Data subjects: each has a key of its own, whose end is the end of all that names it.
#[async_trait]
pub trait Subjects: Send + Sync {
    /// The pseudonym of a subject, for logs and the ledger: `m_` or `c_` and 26 characters, an HMAC
    /// under a key of the subject. `None` for a subject that has no key (not known, or erased).
    async fn pseudonym(&self, subject: &Subject) -> Result<Option<String>>;
}
