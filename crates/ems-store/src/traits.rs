//! The capabilities of a store. Each is small and object-safe; each doc says what is durable and
//! what is visible when.

use std::sync::Arc;

use async_trait::async_trait;
use ems_core::{
    audit::AuditEvent,
    block::Block,
    meter::{MeterId, MeterStatistics},
    reading::Reading,
    time::{TimeRange, Timestamp},
};
use ems_crypto::keyring::RootKey;
use tokio::sync::watch;

use crate::{
    Batch, Error, KeyringStatus, Outcome, Record, Result, RotatedPages, Table, subject::Subject,
};

/// Writes.
#[async_trait]
pub trait Commit: Send + Sync {
    /// Applies a batch whole or not at all. Durable (fsync, or a majority) when it returns; visible
    /// to every read that begins after it returned. Concurrent commits share one fsync.
    async fn commit(&self, batch: Batch) -> Result<Outcome>;

    /// When it returns, reads see every commit that had returned when it was called, in whichever
    /// process. Without it they see those of this process, and those of others a moment later.
    async fn fresh(&self) -> Result<()>;

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

/// A value that was replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct Superseded {
    /// When it was replaced.
    pub at: Timestamp,
    /// What it was.
    pub reading: Reading,
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

    /// The values of a meter that corrections replaced, each with the instant when, in that order.
    /// They are kept with the meter until its key is destroyed. Reads all of them: for audits.
    async fn superseded(&self, meter: &MeterId) -> Result<Vec<Superseded>>;

    /// Folds what is in memory and journal into segments now. Changes nothing that can be seen.
    async fn fold(&self) -> Result<()>;
}

/// Records.
#[async_trait]
pub trait Records: Send + Sync {
    /// The record of an id. Sees every commit that returned before.
    async fn get(&self, table: Table, id: &str) -> Result<Option<Record>>;

    /// Grows whenever another process has changed a user, a key or a session, once that can be seen
    /// here.
    fn changed_by_others(&self) -> u64 {
        0
    }

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

/// The care of keys. Reads and commits go on beside all of it.
#[async_trait]
pub trait Keys: Send + Sync {
    /// How the key tree stands.
    async fn status(&self) -> Result<KeyringStatus>;

    /// Wraps the keys of every page under a new key-encryption key and destroys the old ones. What
    /// is done is durable page by page; one that was interrupted is gone on with. No data is
    /// rewritten.
    async fn rotate_pages(&self) -> Result<RotatedPages>;

    /// Lets a new root key open the keyring beside the one in use; durable when it returns. A start
    /// with the new one completes the change by itself.
    async fn admit_root(&self, new: RootKey) -> Result<()>;

    /// Closes the keyring to every root key but this one; durable when it returns. To be called
    /// once nothing but this one will be found at the next start.
    async fn settle_root(&self, root: RootKey) -> Result<()>;

    /// Destroys the key of a meter's subject, with all that is stored of it: when this returns no
    /// file of the store holds anything of it that could be opened, nor does an older copy of the
    /// data. `false` for a meter that has no key. `note` goes into the ledger twice, as begun and
    /// as completed. Until it is completed, writes to the meter are refused
    /// ([`crate::Error::Unavailable`]); after that the meter is unknown, and a reading for it makes
    /// a new one, with a new key.
    async fn destroy(&self, meter: &MeterId, note: AuditEvent) -> Result<bool>;
}
