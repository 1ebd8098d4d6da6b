//! What a group of batches will change, worked out before any of it is written: each batch is
//! checked and classified against the state and what the group's earlier batches do to it.

use std::{collections::HashMap, sync::Arc};

use ems_core::{
    audit::AuditEvent,
    meter::MeterId,
    reading::{Reading, ReadingBatch},
    time::{TimeRange, Timestamp},
};

use super::{
    codec::{Entry, Group, GroupWriter},
    disk::hex,
    engine::Engine,
    meter::{Load, Meter},
    table::Layer,
};
use crate::{
    Batch, Counts, Deletion, Error, Expect, Outcome, Record, RecordChange, Result, Table,
    answers::{Answered, Known},
    subject::Subject,
};

/// The profile of a meter that nobody has described.
const NO_PROFILE: &[u8] = b"{}";

/// Takes down what a plan will change, as it is to be written.
pub(crate) trait Written: Default {
    /// Takes down a batch, with all records that it changes and its ledger entries.
    fn add(&mut self, batch: &Batch, records: &[RecordChange], ledger: &[Vec<u8>]);

    /// Whether nothing is to be written.
    fn is_empty(&self) -> bool;
}

/// The changes of a group, not yet visible.
pub(crate) struct Plan<'a, W = GroupWriter> {
    engine: &'a Engine,
    /// The sequence number of the group: the revision of the records that it changes.
    sequence: u64,
    now: Timestamp,
    pub(crate) written: W,
    meters: HashMap<MeterId, Staged>,
    records: HashMap<(Table, String), Option<Record>>,
    /// Whether one of the batches begins to erase a meter.
    erases: bool,
    /// Whether damage on disk stops nothing: what comes was acknowledged, or takes a meter away.
    lenient: bool,
    ledger: Vec<Arc<[u8]>>,
}

/// What the group does to one meter.
struct Staged {
    meter: Arc<Meter>,
    layer: Layer,
    accepted: u64,
    deleted: u64,
    /// Earliest and latest of the readings put.
    span: Option<(Timestamp, Timestamp)>,
}

impl<'a, W: Written> Plan<'a, W> {
    pub(crate) fn new(engine: &'a Engine, sequence: u64, now: Timestamp) -> Self {
        Self {
            engine,
            sequence,
            now,
            written: W::default(),
            meters: HashMap::new(),
            records: HashMap::new(),
            erases: false,
            lenient: false,
            ledger: Vec::new(),
        }
    }

    /// Adds a batch. After an error that is no conflict the plan is of no use: something that the
    /// batch needed is damaged or cannot be written, and half of it may be staged.
    ///
    /// # Errors
    /// [`Error::Conflict`] and [`Error::NameTaken`], which stage nothing; others.
    pub(crate) fn add(&mut self, batch: &Batch) -> Result<Outcome> {
        if let Some(outcome) = self.answered(batch)? {
            return Ok(outcome);
        }
        batch
            .records
            .iter()
            .try_for_each(|change| self.expect(change))?;
        let described = described(&batch.records);
        let touched = batch.readings.groups().iter().map(|(id, _)| id);
        let touched: Vec<&MeterId> = touched
            .chain(batch.deletions.iter().map(|deletion| &deletion.meter))
            .chain(&described)
            .collect();
        self.refuse_erased(&touched)?;
        let mut records = self.new_meters(&touched);
        self.lenient = batch.records.iter().any(|r| r.table == Table::Erasures);
        self.stage(&touched)?;
        let (counts, deleted) = self.stage_readings(&batch.deletions, &batch.readings)?;
        let outcome = Outcome {
            counts,
            deleted,
            revision: self.sequence,
            repeated: None,
        };
        records.extend(batch.repeatable.iter().map(|name| name.keep(&outcome)));
        records.extend(batch.records.iter().cloned());
        records.iter().for_each(|change| self.record(change));
        let tell = |event: &AuditEvent| told(event.clone(), batch, &outcome);
        let ledger: Vec<Vec<u8>> = batch.ledger.iter().map(tell).collect::<Result<_>>()?;
        self.ledger
            .extend(ledger.iter().map(|entry| Arc::from(entry.as_slice())));
        self.written.add(batch, &records, &ledger);
        Ok(outcome)
    }

    /// Adds a batch as it was written before: nothing is expected, no record is made beside it.
    pub(crate) fn replay(&mut self, entry: Entry) -> Result<()> {
        let touched = entry.readings.groups().iter().map(|(id, _)| id);
        let touched: Vec<&MeterId> = touched
            .chain(entry.deletions.iter().map(|deletion| &deletion.meter))
            .collect();
        self.lenient = true;
        self.stage(&touched)?;
        self.stage_readings(&entry.deletions, &entry.readings)?;
        entry.records.iter().for_each(|change| self.record(change));
        self.tell(entry.ledger);
        Ok(())
    }

    /// Adds ledger entries as they were written before.
    pub(crate) fn tell(&mut self, ledger: Vec<Vec<u8>>) {
        self.ledger.extend(ledger.into_iter().map(Arc::from));
    }

    fn stage_readings(
        &mut self,
        deletions: &[Deletion],
        readings: &ReadingBatch,
    ) -> Result<(Counts, u64)> {
        let mut deleted = 0;
        for deletion in deletions {
            deleted += self.delete(deletion)?;
        }
        let mut counts = Counts::default();
        for (id, readings) in readings.groups() {
            self.put(id, readings, &mut counts)?;
        }
        Ok((counts, deleted))
    }

    fn current(&self, table: Table, id: &str) -> Option<u64> {
        if let Some(staged) = self.records.get(&(table, id.to_owned())) {
            return staged.as_ref().map(|record| record.revision);
        }
        self.engine
            .records
            .read()
            .get(table, id)
            .map(|record| record.revision)
    }

    /// What was answered to a batch that was sent before.
    fn answered(&self, batch: &Batch) -> Result<Option<Outcome>> {
        let Some(name) = &batch.repeatable else {
            return Ok(None);
        };
        let staged = self.records.get(&(Table::Answers, name.id.clone()));
        let records = self.engine.records.read();
        let record = match staged {
            Some(staged) => staged.as_ref(),
            None => records.get(Table::Answers, &name.id),
        };
        let known = name.known(record.map(|record| &*record.value), self.now);
        match known {
            Known::New => Ok(None),
            Known::Other => Err(Error::NameTaken),
            Known::Same(Answered { counts, answer }) => Ok(Some(Outcome {
                counts,
                repeated: Some(answer),
                ..Outcome::default()
            })),
        }
    }

    fn expect(&self, change: &RecordChange) -> Result<()> {
        let current = self.current(change.table, &change.id);
        let met = match change.expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current == Some(revision),
        };
        if met {
            Ok(())
        } else {
            Err(Error::Conflict {
                table: change.table.as_str(),
            })
        }
    }

    /// Refuses meters of which the key is being destroyed: what came now would end with it.
    fn refuse_erased(&self, touched: &[&MeterId]) -> Result<()> {
        let of_before = || {
            let records = self.engine.records.read();
            let erasures = records.tables.get(&Table::Erasures);
            erasures.is_some_and(|rows| !rows.is_empty())
        };
        if !self.erases && !of_before() {
            return Ok(());
        }
        let erased = |id: &&&MeterId| {
            let token = self
                .engine
                .keys
                .subject_token(&Subject::Meter((**id).clone()));
            self.current(Table::Erasures, &hex(&token)).is_some()
        };
        match touched.iter().find(erased) {
            Some(_) => Err(Error::Unavailable("a meter is being erased".into())),
            None => Ok(()),
        }
    }

    /// Records for those meters of a batch that have none yet.
    fn new_meters(&self, touched: &[&MeterId]) -> Vec<RecordChange> {
        let unknown = touched
            .iter()
            .filter(|id| self.current(Table::Meters, id.as_str()).is_none());
        let record = |id: &&MeterId| RecordChange {
            table: Table::Meters,
            id: id.as_str().to_owned(),
            expect: Expect::Absent,
            value: Some(NO_PROFILE.to_vec()),
        };
        unknown.map(record).collect()
    }

    /// Makes ready the meters that a batch touches: those that are new get a key first.
    fn stage(&mut self, touched: &[&MeterId]) -> Result<()> {
        let unseen: Vec<&MeterId> = touched
            .iter()
            .copied()
            .filter(|id| !self.meters.contains_key(*id))
            .collect();
        let new = unseen.iter().filter(|id| {
            self.engine
                .records
                .read()
                .get(Table::Meters, id.as_str())
                .is_none()
        });
        let subjects: Vec<Subject> = new.map(|id| Subject::Meter((*id).clone())).collect();
        // A key was durable before a commit that needed it: one that a replay misses is damage.
        if !subjects.is_empty() && !self.lenient {
            self.engine.keys.ensure(&subjects)?;
        }
        self.engine.load_all(&unseen)?;
        for id in unseen {
            let meter = if self.lenient {
                self.engine.load_any(id)?
            } else {
                let meter = self.engine.load_meter(id)?;
                meter.state.read().check()?;
                meter
            };
            let staged = Staged {
                meter,
                layer: Layer::default(),
                accepted: 0,
                deleted: 0,
                span: None,
            };
            self.meters.insert(id.clone(), staged);
        }
        Ok(())
    }

    fn delete(&mut self, deletion: &Deletion) -> Result<u64> {
        let Some(staged) = self.meters.get_mut(&deletion.meter) else {
            return Ok(0);
        };
        let engine = self.engine;
        let state = staged.meter.state.read();
        let count = || {
            let young = engine.young(&staged.meter, &state)?;
            let view = state.view(Some(&staged.layer), young.as_ref());
            let load: Load<'_> = &|meta, columns| engine.segment(&staged.meter, meta, columns);
            view.count(deletion.range, load).map(|found| found.readings)
        };
        let found = match count() {
            // All of a meter can be deleted, whatever is damaged.
            Err(Error::Damaged { .. }) if deletion.range == TimeRange::ALL => {
                (state.statistics.readings + staged.accepted).saturating_sub(staged.deleted)
            }
            Err(Error::Damaged { .. }) if self.lenient => 0,
            other => other?,
        };
        staged.layer.delete(deletion.range);
        staged.deleted += found;
        Ok(found)
    }

    fn put(&mut self, id: &MeterId, readings: &[Reading], counts: &mut Counts) -> Result<()> {
        let Some(staged) = self.meters.get_mut(id) else {
            return Ok(());
        };
        let engine = self.engine;
        let state = staged.meter.state.read();
        // Read once, and only if a row comes that is not the latest, where the runs hold others.
        let mut young: Option<Option<Layer>> = None;
        let mut last = state
            .statistics
            .span
            .map(|span| span.1)
            .max(staged.layer.last());
        for reading in readings {
            let newest = last.is_none_or(|last| last < reading.at);
            let old = if newest {
                None
            } else {
                let mut find = || {
                    let at = TimeRange::new(reading.at, reading.at.saturating_add_micros(1));
                    let young = match &young {
                        _ if !at.is_some_and(|at| state.has_runs_in(at)) => None,
                        Some(young) => young.as_ref(),
                        None => young.insert(engine.young(&staged.meter, &state)?).as_ref(),
                    };
                    let view = state.view(Some(&staged.layer), young);
                    view.find(reading.at, &|meta, columns| {
                        engine.segment(&staged.meter, meta, columns)
                    })
                };
                match find() {
                    Err(Error::Damaged { .. }) if self.lenient => None,
                    other => other?,
                }
            };
            match old {
                Some(old) if old == *reading => {
                    counts.unchanged += 1;
                    continue;
                }
                Some(old) => {
                    counts.corrected += 1;
                    staged.layer.supersede(self.now, old);
                }
                None => {
                    counts.accepted += 1;
                    staged.accepted += 1;
                }
            }
            last = last.max(Some(reading.at));
            let (first, latest) = staged.span.unwrap_or((reading.at, reading.at));
            staged.span = Some((first.min(reading.at), latest.max(reading.at)));
            staged.layer.put(reading.clone());
        }
        Ok(())
    }

    fn record(&mut self, change: &RecordChange) {
        self.erases |= change.table == Table::Erasures;
        let value = change.value.as_deref();
        let record = value.map(|value| Record {
            id: change.id.as_str().into(),
            revision: self.sequence,
            value: value.into(),
        });
        self.records
            .insert((change.table, change.id.clone()), record);
    }

    /// Makes the group visible. To be called once it is durable.
    pub(crate) fn apply(self) -> Result<()> {
        for staged in self.meters.into_values() {
            let meter = Arc::clone(&staged.meter);
            apply_to_meter(self.engine, &meter, staged)?;
        }
        {
            let mut records = self.engine.records.write();
            for ((table, id), record) in self.records {
                records.apply(table, id.into(), record);
            }
        }
        let mut tail = self.engine.ledger.write();
        tail.entries.extend(self.ledger);
        self.engine.durable.send_replace(tail.end());
        Ok(())
    }
}

impl Group {
    /// Applies a group that was written before.
    pub(crate) fn apply(self, engine: &Engine) -> Result<()> {
        let mut plan: Plan<'_> = Plan::new(engine, self.sequence, self.at);
        for entry in self.entries {
            plan.replay(entry)?;
        }
        plan.apply()
    }
}

/// The meters whose records a batch puts. They are made ready like those with readings: a meter that
/// is described before its first reading has a key, and so a pseudonym, from then on.
fn described(records: &[RecordChange]) -> Vec<MeterId> {
    let puts = records
        .iter()
        .filter(|change| change.table == Table::Meters && change.value.is_some());
    puts.filter_map(|change| MeterId::parse(&change.id).ok())
        .collect()
}

fn apply_to_meter(engine: &Engine, meter: &Meter, staged: Staged) -> Result<()> {
    let mut state = meter.state.write();
    state.absorb(staged.layer);
    if staged.deleted > 0 {
        let count = || {
            let young = engine.young(meter, &state)?;
            let view = state.view(None, young.as_ref());
            let load: Load<'_> = &|meta, columns| engine.segment(meter, meta, columns);
            view.count(TimeRange::ALL, load)
        };
        match count() {
            Ok(counted) => {
                state.statistics = counted;
                return Ok(());
            }
            // It is durable by now. What cannot be counted is worked out; the span may be too wide.
            Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let readings = state.statistics.readings + staged.accepted;
    state.statistics.readings = readings.saturating_sub(staged.deleted);
    if let Some((first, last)) = staged.span {
        let (old_first, old_last) = state.statistics.span.unwrap_or((first, last));
        state.statistics.span = Some((old_first.min(first), old_last.max(last)));
    }
    Ok(())
}

/// An event in its final form: with the counts that only the store knows.
fn told(mut event: AuditEvent, batch: &Batch, outcome: &Outcome) -> Result<Vec<u8>> {
    if let (false, Some(filters)) = (batch.readings.is_empty(), event.filters.as_object_mut()) {
        filters.insert("accepted".into(), outcome.counts.accepted.into());
        filters.insert("unchanged".into(), outcome.counts.unchanged.into());
        filters.insert("corrected".into(), outcome.counts.corrected.into());
    }
    if !batch.deletions.is_empty() {
        event.record_count = outcome.deleted;
    }
    serde_json::to_vec(&event).map_err(|error| Error::Engine(error.to_string()))
}
