//! Folding: what is in memory becomes a run or segments, manifests, records and ledger chunks, in one
//! step. A crash at any point leaves the old state and its journal, or the new one.

use std::sync::Arc;

use ems_core::{block::Block, meter::MeterId, time::TimeRange};
use ems_crypto::seal::Sealer;

use super::{
    beside::{self, Settled},
    disk::FoldWrite,
    engine::Engine,
    keys::Token,
    manifest::{Head, Manifest},
    meter::{Meter, State},
    months, run, segment,
    table::Layer,
};
use crate::{Error, Result, Table, subject::Subject};

/// Meters whose keys are looked up together.
const WARMED: usize = 256;

type RecordName = (Table, Arc<str>);

/// What a fold is to bring to disk.
pub(crate) struct FoldJob {
    /// The last journal whose content is in it.
    pub(crate) journal: u64,
    sequence: u64,
    meters: Vec<Arc<Meter>>,
    records: Vec<RecordName>,
    ledger_end: u64,
}

impl FoldJob {
    /// Freezes what is in memory. Only the writer may call it, between two groups.
    pub(crate) fn freeze(engine: &Engine, journal: u64, sequence: u64) -> Self {
        let mut meters = engine.loaded();
        meters.retain(|meter| {
            let mut state = meter.state.write();
            state.freeze()
        });
        let records = engine.records.write().changed.drain().collect();
        let ledger_end = engine.ledger.read().end();
        Self {
            journal,
            sequence,
            meters,
            records,
            ledger_end,
        }
    }

    /// The last commit that is in it.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The meters of which something is set aside.
    pub(crate) fn meters(&self) -> &[Arc<Meter>] {
        &self.meters
    }

    /// Lets go of the ledger entries that are in it.
    pub(crate) fn forget_ledger(&self, engine: &Engine) {
        let mut tail = engine.ledger.write();
        let count = self.ledger_end.saturating_sub(tail.first);
        let count = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(tail.entries.len());
        tail.entries.drain(..count);
        tail.first = self.ledger_end;
    }
}

/// Does a job. Where it is done already, that it was told of is all that is asked.
///
/// # Errors
/// [`Error::Unavailable`] where nobody was told of it, as its commit failed and is there all the same:
/// only another start helps.
pub(crate) fn fold(engine: &Engine, job: &FoldJob) -> Result<()> {
    let old = engine.disk.head()?;
    if old.sequence == job.sequence {
        return expect_told(engine, job);
    }
    let mut write = FoldWrite {
        run: next_run(engine, &old).map(|run| (run, Vec::new())),
        head: old,
        ..FoldWrite::default()
    };
    let folded = fold_meters(engine, job, &mut write)?;
    fold_records(engine, job, &mut write)?;
    let entries: Vec<Arc<[u8]>> = {
        let tail = engine.ledger.read();
        let count = usize::try_from(job.ledger_end - tail.first).unwrap_or(usize::MAX);
        tail.entries.iter().take(count).cloned().collect()
    };
    if engine.disk.folds_ledger() {
        write.ledger = engine.disk.seal_ledger(write.head.ledger, &entries);
    }
    write.head = Head {
        journal: job.journal,
        sequence: job.sequence,
        ledger: job.ledger_end,
        generation: engine.keys.generation(),
        ..write.head
    };
    write.begin_run();
    engine.disk.write(write, || {
        let meters = folded.into_iter();
        meters.for_each(|(meter, folded)| folded.tell(meter));
        let mut tail = engine.ledger.write();
        tail.entries.drain(..entries.len());
        tail.first = job.ledger_end;
    })?;
    expect_told(engine, job)
}

/// Brings the frozen layers to disk, in the order in which their keys lie there: neighbours are
/// looked up together.
fn fold_meters<'a>(
    engine: &Engine,
    job: &'a FoldJob,
    write: &mut FoldWrite,
) -> Result<Vec<(&'a Meter, Folded)>> {
    let token = |id: &MeterId| engine.keys.subject_token(&Subject::Meter(id.clone()));
    let meters = job.meters.iter().map(|meter| (token(&meter.id), &**meter));
    let mut meters: Vec<(Token, &Meter)> = meters.collect();
    meters.sort_unstable_by_key(|(token, _)| *token);
    let mut folded = Vec::with_capacity(meters.len());
    for meters in meters.chunks(WARMED) {
        engine.keys.warm(meters.iter().map(|(token, _)| *token))?;
        for (_, meter) in meters {
            folded.push((*meter, fold_meter(engine, meter, job.sequence, write)?));
        }
    }
    Ok(folded)
}

/// Brings the changed records to disk, in the order of their keys as well.
fn fold_records(engine: &Engine, job: &FoldJob, write: &mut FoldWrite) -> Result<()> {
    let token = |(table, id): &RecordName| {
        let meter = MeterId::parse(id).ok().filter(|_| *table == Table::Meters);
        meter.map(|id| engine.keys.subject_token(&Subject::Meter(id)))
    };
    let records = job.records.iter().map(|record| (token(record), record));
    let mut records: Vec<(Option<Token>, &RecordName)> = records.collect();
    records.sort_unstable_by_key(|(token, _)| *token);
    for records in records.chunks(WARMED) {
        engine
            .keys
            .warm(records.iter().filter_map(|(token, _)| *token))?;
        let all = engine.records.read();
        for (_, (table, id)) in records {
            let sealed = engine.disk.seal_record(*table, id, all.get(*table, id));
            write.records.push(sealed?);
        }
    }
    Ok(())
}

fn expect_told(engine: &Engine, job: &FoldJob) -> Result<()> {
    let untold = |meter: &Arc<Meter>| meter.state.read().frozen().is_some();
    if engine.ledger.read().first != job.ledger_end || job.meters.iter().any(untold) {
        let why = "a fold that seemed to fail is there: the store is to be opened again";
        return Err(Error::Unavailable(why.into()));
    }
    Ok(())
}

/// Where the rows of a meter went.
enum Folded {
    Run(u64),
    Settled(Settled),
}

impl Folded {
    fn tell(self, meter: &Meter) {
        match self {
            Self::Run(run) => meter.state.write().folded_to_run(run),
            Self::Settled(Settled::Segments(manifest)) => meter.state.write().folded_to(manifest),
            Self::Settled(Settled::Beside(beside)) => {
                let mut state = meter.state.write();
                state.folded_beside();
                beside.tell(&mut state);
            }
        }
    }
}

/// Brings the frozen layer of one meter to the new run, or to segments.
fn fold_meter(
    engine: &Engine,
    meter: &Meter,
    sequence: u64,
    write: &mut FoldWrite,
) -> Result<Folded> {
    let state = meter.state.read().below();
    let layer = state.frozen().unwrap_or_default();
    let sealer = engine.sealer(meter)?;
    if !layer.superseded().is_empty() {
        let content = segment::encode_superseded(layer.superseded());
        write.superseded.push(engine.disk.seal_superseded(
            &sealer,
            meter.token,
            sequence,
            &content,
        ));
    }
    // Rows in runs never stand for older ones: what is counted twice nowhere is counted at a glance.
    let new = layer.deleted().is_empty() && layer.superseded().is_empty();
    let few = layer.count(TimeRange::ALL) <= run::MOST;
    if let (true, Some((run, blocks))) = (new && few, &mut write.run) {
        let rows: Block = layer.rows(TimeRange::ALL).collect();
        let content = run::encode(&meter.id, &rows);
        let owner = engine.keys.subject_token(&Subject::Meter(meter.id.clone()));
        let place = (owner, meter.token);
        blocks.push(engine.disk.seal_block(&sealer, place, *run, &content));
        return Ok(Folded::Run(*run));
    }
    let (of, rows) = ((meter, &sealer), (&state, &layer));
    beside::settle(engine, of, rows, write, |write| {
        fold_to_segments(engine, of, rows, write)
    })
    .map(Folded::Settled)
}

/// Lays what the runs hold of a meter, and a layer over it, over its segments.
fn fold_to_segments(
    engine: &Engine,
    (meter, sealer): (&Meter, &Sealer),
    (state, layer): (&State, &Arc<Layer>),
    write: &mut FoldWrite,
) -> Result<Manifest> {
    let layer = match engine.young(meter, state)? {
        Some(mut young) => {
            young.absorb(Layer::clone(layer));
            Arc::new(young)
        }
        None => Arc::clone(layer),
    };
    let manifest = months::fold(engine, (meter, sealer), (&layer, state.segments()), write)?;
    write.spend(meter, state.runs());
    Ok(manifest)
}

/// The run that a fold may write: none as long as the oldest is so far behind that a merge must come
/// first.
pub(crate) fn next_run(engine: &Engine, head: &Head) -> Option<u64> {
    let stuck = engine.stuck.lock();
    let mut runs = head.runs.iter().map(|run| run.id);
    let oldest = runs.find(|run| !stuck.contains(run));
    let oldest = oldest.unwrap_or(head.next_run);
    (head.next_run - oldest < run::SPAN).then_some(head.next_run)
}
