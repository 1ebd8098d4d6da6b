//! What one commit carries, and what it answers. A batch is applied whole or not at all.

use std::sync::Arc;

use ems_core::{audit::AuditEvent, meter::MeterId, reading::ReadingBatch, time::TimeRange};

use crate::answers::Repeatable;

/// One atomic write.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Readings to store. A meter not yet known comes into being with its record.
    pub readings: ReadingBatch,
    /// Readings to delete; done before `readings` are stored.
    pub deletions: Vec<Deletion>,
    /// Records to change, each with the revision it expects.
    pub records: Vec<RecordChange>,
    /// What the ledger is to keep of it. Entries of a batch with readings or deletions get their
    /// counts from the store.
    pub ledger: Vec<AuditEvent>,
    /// The name under which the same may be sent again: it is then answered as the first time, and
    /// nothing of the batch is applied.
    pub repeatable: Option<Repeatable>,
}

impl Batch {
    /// A batch that only notes an event, such as a look at data.
    pub fn note(event: AuditEvent) -> Self {
        Self {
            ledger: vec![event],
            ..Self::default()
        }
    }
}

/// Deletes a meter's readings in a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The meter.
    pub meter: MeterId,
    /// The half-open range.
    pub range: TimeRange,
}

/// The kinds of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Accounts of people.
    Users,
    /// API keys.
    Keys,
    /// Sessions of users, with the tokens issued in them.
    Sessions,
    /// Meters; one comes into being with its first reading.
    Meters,
    /// Destructions of keys that are under way; the store's own.
    Erasures,
    /// Answers to requests that may be sent again; the store's own.
    Answers,
    /// Addresses that are shut out.
    Bans,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Users,
        Self::Keys,
        Self::Sessions,
        Self::Meters,
        Self::Erasures,
        Self::Answers,
        Self::Bans,
    ];

    /// The stable name, which is bound into every sealed record.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Keys => "keys",
            Self::Sessions => "sessions",
            Self::Meters => "meters",
            Self::Erasures => "erasures",
            Self::Answers => "answers",
            Self::Bans => "bans",
        }
    }
}

/// What a change expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No such record.
    Absent,
    /// The record at this revision.
    Revision(u64),
    /// Whatever is there.
    Any,
}

/// Puts or removes one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordChange {
    /// Its table.
    pub table: Table,
    /// Its id.
    pub id: String,
    /// What must be there for the whole batch to be applied.
    pub expect: Expect,
    /// The new value; `None` removes the record.
    pub value: Option<Vec<u8>>,
}

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub id: Arc<str>,
    /// Grows with every change of the store; never used twice for one id.
    pub revision: u64,
    /// Its value, as it was put.
    pub value: Arc<[u8]>,
}

/// What became of the readings of a batch. Their sum is the number of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Readings at a (meter, timestamp) that had none.
    pub accepted: u64,
    /// Readings equal to the one that was there.
    pub unchanged: u64,
    /// Readings that replaced another.
    pub corrected: u64,
}

/// The answer to a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What became of the readings.
    pub counts: Counts,
    /// How many readings the deletions removed.
    pub deleted: u64,
    /// The revision that changed records now have.
    pub revision: u64,
    /// Of a request that was sent again: what the answer held beside the counts, which are those of
    /// the first time.
    pub repeated: Option<Vec<u8>>,
}
