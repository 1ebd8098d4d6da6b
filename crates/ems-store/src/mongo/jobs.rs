//! The jobs of the store, by whichever process has the fence: what waits is set aside and folded, runs
//! are merged, what was replaced is cleared away, and erasures are brought to their end.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    base::Base,
    fence::{DEAD, Lease},
    log::Mark,
    node::{Order, Requests, ask},
};
use crate::{
    Error, Result,
    readings::{
        erasure::{Erasure, own_note},
        fold::fold,
        guarded::guarded,
        keys::Token,
        merge::Merge,
        queue::Request,
    },
};

/// How often it is looked for something to do.
const TICK: Duration = Duration::from_millis(100);
/// How often the holder gives a sign of life.
const BEAT: Duration = Duration::from_secs(2);
/// How long what was replaced is kept for those who still read it. Short in tests, where one that was
/// away for longer is to be met.
pub(super) const KEPT: Duration = Duration::from_secs(if cfg!(test) { 4 } else { 60 });

/// How long no more commits come before what waits is folded, if it is a part worth it.
const IDLE: Duration = Duration::from_secs(10);
const WORTH: u64 = 16;

/// The threads of the jobs.
pub(super) struct Jobs {
    base: Arc<Base>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// Starts them; `work`: whether this process may come to do the jobs.
    pub(super) fn start(base: &Arc<Base>, requests: &Requests, work: bool) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let folding = Arc::<AtomicBool>::default();
        let (told, asked, fold) = (Arc::clone(base), requests.clone(), Arc::clone(&folding));
        base.rows.publish_by(Some(Box::new(move |version, meters| {
            let meters = (!fold.load(Ordering::SeqCst)).then_some(meters);
            publish(&told, &asked, version, meters)
        })));
        let worker = Work {
            base: Arc::clone(base),
            requests: requests.clone(),
            stop: Arc::clone(&stop),
            folding,
            merge: None,
            merged: 0,
            replaced: VecDeque::new(),
            waits: (0, Instant::now()),
        };
        let pulse = Pulse {
            base: Arc::clone(base),
            requests: requests.clone(),
            stop: Arc::clone(&stop),
        };
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into());
            thread
                .spawn(work)
                .map_err(Error::io("a thread of the jobs"))
        };
        let mut threads = vec![start("ems-pulse", Box::new(move || pulse.run()))?];
        if work {
            threads.push(start("ems-folder", Box::new(move || worker.run()))?);
        }
        let base = Arc::clone(base);
        Ok(Self {
            base,
            stop,
            threads,
        })
    }

    /// Ends them; another process takes over at once.
    pub(super) fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            drop(thread.join());
        }
        // It holds the base, which holds it.
        self.base.rows.publish_by(None);
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.end();
    }
}

/// Makes a version of the rows what is there, by the log: of some meters, or a fold of all that was
/// set aside.
fn publish(
    base: &Base,
    requests: &Requests,
    version: u64,
    meters: Option<Vec<Token>>,
) -> Result<()> {
    let mark = Mark::Version {
        token: base.fence.token(),
        version,
        fold: meters.is_none(),
        meters: meters.unwrap_or_default(),
    };
    ask(requests, |answer| Request::Order(Order::Mark(mark, answer)))?;
    base.fence.first(version)
}

/// Looks at the log now and then, and gives the holder's sign of life.
struct Pulse {
    base: Arc<Base>,
    requests: Requests,
    stop: Arc<AtomicBool>,
}

impl Pulse {
    fn run(self) {
        let mut beat = Instant::now();
        while !self.stop.load(Ordering::SeqCst) {
            drop(self.requests.try_send(Request::Order(Order::Look)));
            if self.base.fence.token() != 0 && beat.elapsed() >= BEAT {
                beat = Instant::now();
                if let Err(error) = self.base.fence.beat() {
                    tracing::warn!(%error, "no sign of life could be given");
                }
            }
            std::thread::park_timeout(TICK);
        }
    }
}

/// The thread's own state.
struct Work {
    base: Arc<Base>,
    requests: Requests,
    stop: Arc<AtomicBool>,
    /// Whether what is written is a fold of what was set aside.
    folding: Arc<AtomicBool>,
    /// The merge under way, and the last run that one took in, or gave up.
    merge: Option<Merge>,
    merged: u64,
    /// Versions, each with the epoch that its fold ended, and since when they are there.
    replaced: VecDeque<(Instant, u64, Option<u64>)>,
    /// How many bytes wait, and since when they are as many.
    waits: (u64, Instant),
}

impl Work {
    fn run(mut self) {
        while !self.stop.load(Ordering::SeqCst) {
            let more = match guarded(|| self.step()) {
                Ok(more) => more,
                Err(error) => {
                    self.merge = None;
                    tracing::warn!(%error, "a job of the store is tried again");
                    std::thread::park_timeout(TICK);
                    false
                }
            };
            if !more {
                std::thread::park_timeout(TICK);
            }
        }
        if self.base.fence.token() != 0 {
            drop(self.base.fence.release());
        }
    }

    /// Does one thing, if there is one to do; whether there may be another.
    fn step(&mut self) -> Result<bool> {
        let wanted = match self.base.fence.look()? {
            Lease::Others => return Ok(false),
            Lease::Free => return self.take_over().map(|()| true),
            Lease::Own(wanted) => wanted,
        };
        if self.fold(wanted)? {
            return Ok(true);
        }
        self.clear()?;
        if self.erase()? {
            return Ok(true);
        }
        self.merge()
    }

    /// Becomes the one who does the jobs. What the one before left half done is removed.
    fn take_over(&mut self) -> Result<()> {
        let token = ask(&self.requests, |answer| {
            Request::Order(Order::Takeover(answer))
        })?;
        self.base.fence.take(token)?;
        self.merge = None;
        self.replaced.clear();
        // What it published last may not be noted yet.
        self.base.fence.first(self.base.rows.current())?;
        self.base.rows.clear_unpublished()?;
        let version = self.base.rows.current();
        let folded = self.base.engine().disk.head()?.journal;
        self.replaced
            .push_back((Instant::now(), version, Some(folded)));
        Ok(())
    }

    /// Folds what is set aside, or sets something aside; whether there was anything.
    fn fold(&mut self, wanted: u64) -> Result<bool> {
        if let Some(job) = self.base.frozen() {
            let engine = self.base.engine();
            self.folding.store(true, Ordering::SeqCst);
            let folded = guarded(|| fold(&engine, &job));
            self.folding.store(false, Ordering::SeqCst);
            folded?;
            self.base.fold_is_done(&job);
            let version = self.base.rows.current();
            self.replaced
                .push_back((Instant::now(), version, Some(job.journal)));
            return Ok(true);
        }
        let (committed, folded) = self.base.progress();
        let full = self.base.bytes() >= self.base.options.journal_bytes;
        let erasing = Erasure::pending(&self.base.engine())
            .iter()
            .any(|erasure| erasure.begun(&self.base.engine()) > folded);
        let idle = self.is_idle();
        if committed <= folded || !(full || idle || erasing || wanted > folded) {
            return Ok(false);
        }
        let epoch = self.base.epoch()? + 1;
        self.base.log.begin_epoch(epoch)?;
        let token = self.base.fence.token();
        let mark = Mark::Freeze { token, epoch };
        ask(&self.requests, |answer| {
            Request::Order(Order::Mark(mark, answer))
        })?;
        Ok(true)
    }

    /// Whether nothing has come for a while, and what came before is worth a fold.
    fn is_idle(&mut self) -> bool {
        let bytes = self.base.bytes();
        if self.waits.0 != bytes {
            self.waits = (bytes, Instant::now());
        }
        let worth = bytes >= self.base.options.journal_bytes / WORTH;
        worth && self.waits.1.elapsed() >= IDLE
    }

    /// Clears away what was replaced a while ago.
    fn clear(&mut self) -> Result<()> {
        while let Some((since, version, epoch)) = self.replaced.front().copied() {
            if since.elapsed() < KEPT {
                break;
            }
            self.base.rows.clear_replaced(version)?;
            if let Some(epoch) = epoch {
                self.base.log.end_epochs(epoch)?;
            }
            self.replaced.pop_front();
        }
        Ok(())
    }

    /// Brings an erasure to its end that is folded; whether there was one.
    fn erase(&mut self) -> Result<bool> {
        let engine = self.base.engine();
        let folded = self.base.progress().1;
        let mut pending = Erasure::pending(&engine).into_iter();
        let Some(erasure) = pending.find(|erasure| erasure.begun(&engine) <= folded) else {
            return Ok(false);
        };
        let head = engine.disk.head()?;
        // What names the meter in parts is under a key that ends now, and nobody waits for it.
        self.base.log.end_epochs(head.journal)?;
        engine.disk.purge(erasure.data)?;
        self.base.rows.clear_replaced(self.base.rows.current())?;
        engine
            .keys
            .destroy(erasure.subject, erasure.data, engine.clock.now())?;
        let mark = Mark::Forget {
            subjects: vec![erasure.subject, erasure.data],
        };
        ask(&self.requests, |answer| {
            Request::Order(Order::Mark(mark, answer))
        })?;
        let end = Box::new(erasure.end(&own_note(&engine)));
        ask(&self.requests, |answer| Request::Commit(end, answer))?;
        Ok(true)
    }

    /// One step of a merge, if one is due; whether there is more to do.
    fn merge(&mut self) -> Result<bool> {
        let engine = self.base.engine();
        if self.merge.is_none() {
            self.merge = Merge::due(&engine, self.merged)?;
        }
        let Some(merge) = &mut self.merge else {
            return Ok(false);
        };
        self.merged = merge.last();
        if !merge.step(&engine)? {
            self.merge = None;
        }
        let version = self.base.rows.current();
        self.replaced.push_back((Instant::now(), version, None));
        Ok(true)
    }
}

/// How long a fold that was asked for may take at most before whoever asked is told.
pub(super) const FOLD_PATIENCE: Duration = Duration::from_secs(60 + DEAD.as_secs());
