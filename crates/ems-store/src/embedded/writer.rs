//! The one thread that writes: takes what is queued, plans it, writes one journal record, syncs
//! once, makes it visible, answers. Nothing waits for a timer as long as the folder keeps up; concurrent
//! commits share the sync.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    Base,
    ahead::Ahead,
    folder::Folder,
    journal::{self, Journal},
    vfs::doubt,
};
use crate::{
    Batch, Error, Outcome, Result,
    readings::{
        fold::FoldJob,
        guarded::guarded,
        plan::{Plan, Written as _},
        queue::{Next, Queue, Request, Waiting},
    },
};

/// How many times its size at a fold a journal grows to at most while the fold before is under way.
const MOST_FOLDS: u64 = 2;
/// The longest pause between two groups while the folder does not keep up.
const MOST_PAUSE_MICROS: u64 = 30_000;

/// The writer's own state.
pub(crate) struct Writer {
    base: Arc<Base>,
    queue: Queue,
    folder: Folder,
    journal: Journal,
    number: u64,
    sequence: u64,
    /// The journal that comes next.
    ahead: Arc<Mutex<Ahead>>,
    /// Why nothing is written any more: a write of which the outcome is not known.
    broken: Option<String>,
}

/// Starts the writer; it ends with a [`Request::Close`], or when nobody can ask it any more.
pub(crate) fn start(
    base: Arc<Base>,
    journal: Journal,
    number: u64,
    sequence: u64,
) -> Result<(mpsc::Sender<Request>, JoinHandle<()>)> {
    let (sender, queue) = Queue::new();
    let ahead = Arc::<Mutex<Ahead>>::default();
    let folder = Folder::start(Arc::clone(&base), Arc::clone(&ahead))?;
    let writer = Writer {
        base,
        queue,
        folder,
        journal,
        number,
        sequence,
        ahead,
        broken: None,
    };
    let thread = std::thread::Builder::new().name("ems-writer".into());
    let thread = thread
        .spawn(move || writer.run())
        .map_err(Error::io("writer thread"))?;
    Ok((sender, thread))
}

impl Writer {
    fn run(mut self) {
        loop {
            match self.queue.next() {
                Next::Order(never) => match never {},
                Next::Commit(group) => {
                    self.commit(group);
                    self.fold_if_full();
                }
                Next::Fold(answer) => drop(answer.send(self.fold(true))),
                Next::Close(answer) => return drop(answer.send(self.fold(false))),
                Next::End => return drop(self.fold(false)),
            }
        }
    }

    fn commit(&mut self, group: Vec<Waiting>) {
        let mut group = self.within_reserve(group);
        loop {
            match self.try_commit(&group) {
                Ok(outcomes) => {
                    group
                        .into_iter()
                        .zip(outcomes)
                        .for_each(|((_, answer), outcome)| drop(answer.send(outcome)));
                    return;
                }
                // What this one needed is damaged or cannot be written: the others go on without it.
                Err(Failed::One(place, error)) => {
                    let (_, answer) = group.remove(place);
                    let error = match error {
                        Error::Io { .. } | Error::Engine(_) => {
                            Error::Unavailable(error.to_string())
                        }
                        error => error,
                    };
                    drop(answer.send(Err(error)));
                }
                Err(Failed::All(why)) => {
                    group.into_iter().for_each(|(_, answer)| {
                        drop(answer.send(Err(Error::Unavailable(why.clone()))));
                    });
                    return;
                }
            }
        }
    }

    /// Refuses readings where less of the disk is left than is kept for the ledger, and hands back
    /// the others. Where that cannot be told, the write itself will tell.
    fn within_reserve(&self, group: Vec<Waiting>) -> Vec<Waiting> {
        let options = &self.base.options;
        let brings_readings = |(batch, _): &Waiting| !batch.readings.is_empty();
        let left = || self.base.ground.vfs.room(&options.data_dir);
        if !group.iter().any(brings_readings)
            || left().map_or(true, |left| left >= options.reserve_bytes)
        {
            return group;
        }
        let (refused, others): (Vec<_>, _) = group.into_iter().partition(brings_readings);
        for (_, answer) in refused {
            let why = "the disk has no more left than is kept for the ledger".to_owned();
            drop(answer.send(Err(Error::Unavailable(why))));
        }
        others
    }

    /// Plans, writes, applies. The answers are in the group's order.
    fn try_commit(&mut self, group: &[Waiting]) -> Result<Vec<Result<Outcome>>, Failed> {
        if let Some(why) = &self.broken {
            return Err(Failed::All(why.clone()));
        }
        let engine = Arc::clone(&self.base.engine);
        let (sequence, now) = (self.sequence + 1, engine.clock.now());
        let mut plan: Plan<'_> = Plan::new(&engine, sequence, now);
        let mut outcomes = Vec::with_capacity(group.len());
        for (place, (batch, _)) in group.iter().enumerate() {
            match guarded(|| plan.add(batch)) {
                Err(error) if !matches!(error, Error::Conflict { .. } | Error::NameTaken) => {
                    return Err(Failed::One(place, error));
                }
                outcome => outcomes.push(outcome),
            }
        }
        if plan.written.is_empty() {
            return Ok(outcomes);
        }
        let content = plan.written.finish(sequence, now);
        self.make_room(&content, group)?;
        let written = self.journal.append(&content).and_then(|()| plan.apply());
        if let Err(error) = written {
            tracing::error!(%error, "a write failed; the store takes no more until it is opened again");
            let why = format!("a write failed ({error})");
            self.broken = Some(why.clone());
            return Err(Failed::All(why));
        }
        self.sequence = sequence;
        Ok(outcomes)
    }

    /// Room in the journal. When the disk is full, what is filled already is kept for batches that
    /// only note something, so that reads can go on.
    fn make_room(&mut self, content: &[u8], group: &[Waiting]) -> Result<(), Failed> {
        let Err(error) = self.journal.reserve(content.len()) else {
            return Ok(());
        };
        let notes = |batch: &Batch| {
            batch.readings.is_empty() && batch.deletions.is_empty() && batch.records.is_empty()
        };
        if let Some(place) = group.iter().position(|(batch, _)| !notes(batch)) {
            return Err(Failed::One(
                place,
                Error::Unavailable(format!("no room on the disk ({error})")),
            ));
        }
        if self.journal.has_room(content.len()) {
            Ok(())
        } else {
            Err(Failed::All(format!("no room on the disk ({error})")))
        }
    }

    fn fold_if_full(&mut self) {
        let limit = self.base.options.journal_bytes;
        if self.journal.length() < limit {
            return;
        }
        if self.folder.is_busy() && self.journal.length() < limit.saturating_mul(MOST_FOLDS) {
            // The folder does not keep up: large commits are slowed down, before all have to be
            // stopped.
            let over = self.journal.length() - limit;
            let share = over.saturating_mul(MOST_PAUSE_MICROS) / limit.max(1);
            let pause = Duration::from_micros(share.min(MOST_PAUSE_MICROS));
            return self.queue.hold(pause);
        }
        if let Err(error) = self.rotate(true) {
            tracing::warn!(%error, "the journal could not be folded; trying again");
        }
    }

    /// Folds everything and waits for it.
    fn fold(&mut self, more: bool) -> Result<()> {
        self.rotate(more)?;
        self.folder.wait()
    }

    /// Begins a new journal and hands what the old ones hold to the folder. Waits for a fold that is
    /// under way. `more`: whether commits are expected after this.
    fn rotate(&mut self, more: bool) -> Result<()> {
        self.folder.wait()?;
        // An empty journal may follow one whose fold a crash cut short.
        let empty = self.journal.length() == 0;
        if self.broken.is_some() || empty && self.base.engine.disk.head()?.sequence == self.sequence
        {
            return Ok(());
        }
        let next = self.number + 1;
        let fresh = self.ahead.lock().take(&self.base, next)?;
        let job = FoldJob::freeze(&self.base.engine, self.number, self.sequence);
        self.journal = fresh;
        self.number = next;
        self.folder.begin(job, more.then_some(next + 1));
        Ok(())
    }
}

enum Failed {
    /// The batch at this place cannot be committed.
    One(usize, Error),
    /// None can.
    All(String),
}

/// Removes a journal that is folded: its key first.
pub(crate) fn retire(base: &Base, number: u64) -> Result<()> {
    base.engine.keys.retire_journal_key(number)?;
    let path = journal::path(&base.options.data_dir, number);
    let vfs = base.ground.vfs.as_ref();
    doubt::forget(vfs, &path).map_err(Error::io("journal"))?;
    match vfs.remove(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("journal")(error))
        }
        _ => Ok(()),
    }
}
