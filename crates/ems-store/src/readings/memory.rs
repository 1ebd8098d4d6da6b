//! What is in memory beside the readings: all records, and the end of the ledger.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use crate::{Record, Table};

/// All records, in memory, and which of them the disk does not have yet.
#[derive(Default)]
pub(crate) struct RecordSet {
    pub(crate) tables: HashMap<Table, BTreeMap<Arc<str>, Record>>,
    pub(crate) changed: HashSet<(Table, Arc<str>)>,
}

impl RecordSet {
    /// The record of an id.
    pub(crate) fn get(&self, table: Table, id: &str) -> Option<&Record> {
        self.tables.get(&table)?.get(id)
    }

    /// Records in the order of their ids: those that begin with `prefix` and come after `after`, at
    /// most `limit`.
    pub(crate) fn list(
        &self,
        table: Table,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<Record> {
        let Some(rows) = self.tables.get(&table) else {
            return Vec::new();
        };
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let rows = rows
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(id, _)| id.starts_with(prefix));
        rows.take(limit).map(|(_, record)| record.clone()).collect()
    }

    /// Puts a record, or takes one away.
    pub(crate) fn apply(&mut self, table: Table, id: Arc<str>, record: Option<Record>) {
        let rows = self.tables.entry(table).or_default();
        match record {
            Some(record) => drop(rows.insert(Arc::clone(&id), record)),
            None => drop(rows.remove(&id)),
        }
        self.changed.insert((table, id));
    }
}

/// Ledger entries, each with its index.
pub(crate) type Entries = Vec<(u64, Arc<[u8]>)>;

/// Ledger entries that the disk does not have yet.
#[derive(Default)]
pub(crate) struct LedgerTail {
    /// The index of the first.
    pub(crate) first: u64,
    pub(crate) entries: Vec<Arc<[u8]>>,
}

impl LedgerTail {
    /// Entries from `from` on, at most `limit`; `None` where the first is not among these.
    pub(crate) fn range(&self, from: u64, limit: usize) -> Option<Entries> {
        let skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let rest = self.entries.get(skip..).unwrap_or_default();
        let entry = |(index, entry): (u64, &Arc<[u8]>)| (index, Arc::clone(entry));
        Some((from..).zip(rest).take(limit).map(entry).collect())
    }

    /// The index after the last.
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }
}
