//! What the store should hold, kept in sorted maps, and what it should answer.

use std::collections::BTreeMap;

use ems_core::{meter::MeterId, reading::Reading, time::Timestamp};

use super::super::super::vfs::simulated::wide;
use crate::{Batch, Counts, Expect, RecordChange, Table};

/// The content of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) meters: BTreeMap<MeterId, BTreeMap<Timestamp, Reading>>,
    /// Value and revision; no revision where nobody was told it.
    pub(super) records: BTreeMap<(Table, String), (Vec<u8>, Option<u64>)>,
    /// The actions of the ledger's entries, with the number of readings accepted.
    pub(super) ledger: Vec<(String, Option<u64>)>,
    /// How many values of a meter were replaced.
    superseded: BTreeMap<MeterId, u64>,
}

/// What a commit should answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) counts: Counts,
    pub(super) deleted: u64,
}

impl Model {
    /// Applies a batch; `None` where a record is not as it expects.
    pub(super) fn apply(&mut self, batch: &Batch, revision: Option<u64>) -> Option<Expected> {
        if !batch.records.iter().all(|change| self.meets(change)) {
            return None;
        }
        let mut expected = Expected {
            counts: Counts::default(),
            deleted: 0,
        };
        for deletion in &batch.deletions {
            let rows = self.touch(&deletion.meter, revision);
            let before = rows.len();
            rows.retain(|at, _| !deletion.range.contains(*at));
            expected.deleted += wide(before - rows.len());
        }
        for (meter, readings) in batch.readings.groups() {
            let rows = self.touch(meter, revision);
            let mut corrected = 0;
            for reading in readings {
                match rows.insert(reading.at, reading.clone()) {
                    None => expected.counts.accepted += 1,
                    Some(old) if old == *reading => expected.counts.unchanged += 1,
                    Some(_) => {
                        expected.counts.corrected += 1;
                        corrected += 1;
                    }
                }
            }
            *self.superseded.entry(meter.clone()).or_default() += corrected;
        }
        for change in &batch.records {
            let key = (change.table, change.id.clone());
            match &change.value {
                Some(value) => drop(self.records.insert(key, (value.clone(), revision))),
                None => drop(self.records.remove(&key)),
            }
        }
        let accepted = (!batch.readings.is_empty()).then_some(expected.counts.accepted);
        let told = batch.ledger.iter().map(|event| event.action.clone());
        self.ledger.extend(told.map(|action| (action, accepted)));
        Some(expected)
    }

    fn meets(&self, change: &RecordChange) -> bool {
        let found = self.records.get(&(change.table, change.id.clone()));
        match change.expect {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Revision(revision) => {
                found.is_some_and(|(_, known)| known.is_none_or(|known| known == revision))
            }
        }
    }

    /// The rows of a meter, which has a record from now on.
    fn touch(
        &mut self,
        meter: &MeterId,
        revision: Option<u64>,
    ) -> &mut BTreeMap<Timestamp, Reading> {
        let key = (Table::Meters, meter.to_string());
        self.records
            .entry(key)
            .or_insert_with(|| (b"{}".to_vec(), revision));
        self.meters.entry(meter.clone()).or_default()
    }

    /// Number of replaced values. Those of a meter that was removed are kept until its key ends, and
    /// not looked at.
    pub(super) fn superseded(&self) -> u64 {
        let known = |id: &MeterId| self.records.contains_key(&(Table::Meters, id.to_string()));
        let known = self.superseded.iter().filter(|(id, _)| known(id));
        known.map(|(_, count)| count).sum()
    }

    /// Number of readings.
    pub(super) fn readings(&self) -> u64 {
        self.meters.values().map(|rows| wide(rows.len())).sum()
    }
}
