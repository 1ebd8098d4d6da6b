//! The thread that folds and merges, beside the writer. A job that fails is tried again; meanwhile its
//! journal holds everything. Once it is done, the journal and its key are destroyed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Instant,
};

use parking_lot::Mutex;

use super::{Base, ahead::Ahead, writer::retire};
use crate::{
    Error, Result,
    readings::{
        fold::{FoldJob, fold, next_run},
        guarded::guarded,
        merge::Merge,
    },
};

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
    pub(crate) fn start(base: Arc<Base>, ahead: Arc<Mutex<Ahead>>) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Task>();
        let (told, attempts) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("ems-folder".into());
        let work = Work {
            base,
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
    base: Arc<Base>,
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
            return match self.jobs.recv_timeout(self.base.ground.idle) {
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
        if let Err(error) = guarded(|| self.base.engine.disk.compact()) {
            tracing::warn!(%error, "the engine's file could not be compacted");
        }
    }

    fn do_task(&self, (job, next): &Task) -> bool {
        let done = self.fold(job);
        if let (true, Some(next)) = (done, next) {
            // Where it fails, the writer tries again when it needs it, and says so.
            drop(guarded(|| self.ahead.lock().prepare(&self.base, *next)));
        }
        done
    }

    /// Tries until it is done; false where nobody waits for it any more.
    fn fold(&self, job: &FoldJob) -> bool {
        loop {
            let attempt = guarded(|| self.fold_and_retire(job));
            let failed = attempt.is_err();
            let heard = self.told.send(attempt).is_ok();
            if !failed {
                return heard;
            }
            if !heard || self.stop.load(Ordering::SeqCst) {
                return false;
            }
            std::thread::sleep(self.base.ground.retry);
        }
    }

    /// Does a job, and ends the journals that it made needless.
    fn fold_and_retire(&self, job: &FoldJob) -> Result<()> {
        fold(&self.base.engine, job)?;
        let journals = self.base.engine.keys.journals().into_iter();
        journals
            .filter(|number| *number <= job.journal)
            .try_for_each(|number| retire(&self.base, number))
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
            self.merge = Merge::due(&self.base.engine, self.merged)?;
        }
        let Some(merge) = &mut self.merge else {
            return Ok(false);
        };
        self.merged = merge.last();
        let more = merge.step(&self.base.engine)?;
        if !more {
            self.merge = None;
        }
        Ok(more)
    }

    /// Whether there are so many runs that the next fold has to wait for their merge.
    fn is_pressed(&self) -> bool {
        let head = self.base.engine.disk.head();
        head.is_ok_and(|head| next_run(&self.base.engine, &head).is_none())
    }
}
