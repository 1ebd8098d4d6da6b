//! Folding: what is in memory and journal becomes a run or segments, manifests, records and ledger
//! chunks, in one transaction; then the journal and its key are destroyed. A crash at any point leaves
//! the old state and its journal, or the new one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Instant,
};

use ems_core::{block::Block, meter::MeterId, time::TimeRange};
use ems_crypto::seal::Sealer;
use parking_lot::Mutex;

use super::{
    ahead::Ahead,
    beside::{self, Settled},
    disk::FoldWrite,
    engine::Engine,
    guarded::guarded,
    keys::Token,
    manifest::{Head, Manifest},
    merge::Merge,
    meter::{Meter, State},
    months, run, segment,
    table::Layer,
    writer::retire,
};
use crate::{Error, Result, Table, subject::Subject};

/// Meters whose keys are looked up together.
const WARMED: usize = 256;

type RecordName = (Table, Arc<str>);

/// What a fold is to bring to disk.
pub(crate) struct FoldJob {
    /// The last journal whose content is in it.
    journal: u64,
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
}

/// A job, and the journal to make once it is done.
type Task = (FoldJob, Option<u64>);

/// The thread that folds, one job after the other.
pub(crate) struct Folder {
    /// `None` once it is to end.
    jobs: Option<mpsc::Sender<Task>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What became of each attempt at the job under way.
    attempts: mpsc::Receiver<Result<()>>,
    stop: Arc<AtomicBool>,
    busy: bool,
}

impl Folder {
    pub(crate) fn start(engine: Arc<Engine>, ahead: Arc<Mutex<Ahead>>) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Task>();
        let (told, attempts) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("ems-folder".into());
        let work = Work {
            engine,
            ahead,
            jobs: queue,
            told,
            stop: Arc::clone(&stop),
            merge: None,
            merged: 0,
            changed: false,
        };
        let work = move || work.run();
        let thread = thread.spawn(work).map_err(Error::io("folder thread"))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            attempts,
            stop,
            busy: false,
        })
    }

    /// Whether a job is under way.
    pub(crate) fn is_busy(&mut self) -> bool {
        while let (true, Ok(attempt)) = (self.busy, self.attempts.try_recv()) {
            self.busy = attempt.is_err();
        }
        self.busy
    }

    /// Waits for the job under way.
    ///
    /// # Errors
    /// What an attempt at it failed with, such as a full disk. It stays under way and is tried
    /// again; until then its journal holds everything.
    pub(crate) fn wait(&mut self) -> Result<()> {
        if self.is_busy() {
            let ended = |_| Error::Unavailable("the folder has ended".into());
            self.attempts.recv().map_err(ended)??;
            self.busy = false;
        }
        Ok(())
    }

    /// Hands over a job; none may be under way. Then the journal `next` is made.
    pub(crate) fn begin(&mut self, job: FoldJob, next: Option<u64>) {
        self.busy = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send((job, next)).is_ok());
    }
}

impl Drop for Folder {
    /// Ends the thread and waits for it: what it holds is free when this returns.
    fn drop(&mut self) {
        self.jobs = None;
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// What the thread does next.
enum Next {
    Fold(Task),
    /// No fold waits, and a merge is under way.
    Merge,
    /// Nothing has been waiting for a while.
    Compact,
    End,
}

/// The thread's side.
struct Work {
    engine: Arc<Engine>,
    ahead: Arc<Mutex<Ahead>>,
    jobs: mpsc::Receiver<Task>,
    told: mpsc::Sender<Result<()>>,
    stop: Arc<AtomicBool>,
    /// The merge under way.
    merge: Option<Merge>,
    /// The last run that a merge took in, or gave up.
    merged: u64,
    /// Whether the engine's file was written since it was compacted.
    changed: bool,
}

impl Work {
    fn run(mut self) {
        loop {
            let next = self.next();
            let began = Instant::now();
            match next {
                Next::Fold(task) if !self.do_task(&task) => return,
                Next::End => return self.compact(),
                Next::Compact => self.compact(),
                Next::Fold(_) | Next::Merge => self.changed = true,
            }
            // Under load a merge gets as much time as the folds, and all of it when runs pile up.
            let share = began.elapsed();
            let began = Instant::now();
            while self.merge_on() && (began.elapsed() < share || self.is_pressed()) {}
        }
    }

    fn next(&self) -> Next {
        if self.stop.load(Ordering::SeqCst) {
            return Next::End;
        }
        if self.merge.is_none() && self.changed {
            return match self.jobs.recv_timeout(self.engine.ground.idle) {
                Ok(job) => Next::Fold(job),
                Err(mpsc::RecvTimeoutError::Timeout) => Next::Compact,
                Err(mpsc::RecvTimeoutError::Disconnected) => Next::End,
            };
        }
        if self.merge.is_none() {
            return self.jobs.recv().map_or(Next::End, Next::Fold);
        }
        match self.jobs.try_recv() {
            Ok(job) => Next::Fold(job),
            Err(mpsc::TryRecvError::Empty) => Next::Merge,
            Err(mpsc::TryRecvError::Disconnected) => Next::End,
        }
    }

    /// Compacts the engine's file, if it was written.
    fn compact(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        if let Err(error) = guarded(|| self.engine.disk.compact()) {
            tracing::warn!(%error, "the engine's file could not be compacted");
        }
    }

    fn do_task(&self, (job, next): &Task) -> bool {
        let done = self.fold(job);
        if let (true, Some(next)) = (done, next) {
            // Where it fails, the writer tries again when it needs it, and says so.
            drop(guarded(|| self.ahead.lock().prepare(&self.engine, *next)));
        }
        done
    }

    /// Tries until it is done; false where nobody waits for it any more.
    fn fold(&self, job: &FoldJob) -> bool {
        loop {
            let attempt = guarded(|| fold(&self.engine, job));
            let failed = attempt.is_err();
            let heard = self.told.send(attempt).is_ok();
            if !failed {
                return heard;
            }
            if !heard || self.stop.load(Ordering::SeqCst) {
                return false;
            }
            std::thread::sleep(self.engine.ground.retry);
        }
    }

    /// One step of a merge, if one is due; whether there is more to do.
    fn merge_on(&mut self) -> bool {
        match guarded(|| self.try_merge()) {
            Ok(more) => more,
            Err(error) => {
                tracing::warn!(%error, "runs could not be merged; trying again with the next");
                self.merge = None;
                false
            }
        }
    }

    fn try_merge(&mut self) -> Result<bool> {
        if self.stop.load(Ordering::SeqCst) {
            return Ok(false);
        }
        if self.merge.is_none() {
            self.merge = Merge::due(&self.engine, self.merged)?;
        }
        let Some(merge) = &mut self.merge else {
            return Ok(false);
        };
        self.merged = merge.last();
        let more = merge.step(&self.engine)?;
        if !more {
            self.merge = None;
        }
        Ok(more)
    }

    /// Whether there are so many runs that the next fold has to wait for their merge.
    fn is_pressed(&self) -> bool {
        let head = self.engine.disk.head();
        head.is_ok_and(|head| next_run(&self.engine, &head).is_none())
    }
}

fn fold(engine: &Engine, job: &FoldJob) -> Result<()> {
    let old = engine.disk.head()?;
    if old.sequence == job.sequence {
        return retire_folded(engine, job);
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
    write.ledger = engine.disk.seal_ledger(write.head.ledger, &entries);
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
    retire_folded(engine, job)
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

/// Ends the journals that a fold made needless. It is tried again where it failed; where nobody was
/// told of the fold itself, as its commit failed and is there all the same, only another start helps.
fn retire_folded(engine: &Engine, job: &FoldJob) -> Result<()> {
    let untold = |meter: &Arc<Meter>| meter.state.read().frozen().is_some();
    if engine.ledger.read().first != job.ledger_end || job.meters.iter().any(untold) {
        let why = "a fold that seemed to fail is there: the store is to be opened again";
        return Err(Error::Unavailable(why.into()));
    }
    let journals = engine.keys.journals().into_iter();
    journals
        .filter(|number| *number <= job.journal)
        .try_for_each(|number| retire(engine, number))
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
fn next_run(engine: &Engine, head: &Head) -> Option<u64> {
    let stuck = engine.stuck.lock();
    let mut runs = head.runs.iter().map(|run| run.id);
    let oldest = runs.find(|run| !stuck.contains(run));
    let oldest = oldest.unwrap_or(head.next_run);
    (head.next_run - oldest < run::SPAN).then_some(head.next_run)
}
