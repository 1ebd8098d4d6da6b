//! What the threads of a process share: the engine as of some number of the log, and the way to load
//! it anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use ems_core::clock::Clock;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{
    Options,
    fence::Fence,
    jobs::KEPT,
    log::{Content, Log, Mark},
    node::{Position, pairs},
    rows::MongoRows,
};
use crate::{
    Error, Result,
    readings::{
        disk::Disk,
        engine::Engine,
        fold::FoldJob,
        keys::{KeyTree, Token},
    },
};

/// The shared state of an open store.
pub(super) struct Base {
    pub(super) options: Options,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) keys: Arc<KeyTree>,
    pub(super) log: Arc<Log>,
    pub(super) rows: Arc<MongoRows>,
    pub(super) fence: Arc<Fence>,
    engine: RwLock<Arc<Engine>>,
    /// What is set aside to be folded, by whoever does the jobs.
    frozen: Mutex<Option<Arc<FoldJob>>>,
    /// The last number that is folded, and the last of a commit.
    folded: AtomicU64,
    committed: AtomicU64,
    /// Bytes of parts since something was last set aside.
    bytes: AtomicU64,
    durable: watch::Sender<u64>,
    /// Documents of other processes that changed users, keys or sessions.
    others: AtomicU64,
}

impl Base {
    /// Loads what is there; where the log stands in what is loaded, and with it what follows.
    pub(super) fn open(
        options: Options,
        clock: Arc<dyn Clock>,
        keys: Arc<KeyTree>,
        (log, rows, fence): (Arc<Log>, Arc<MongoRows>, Arc<Fence>),
    ) -> Result<(Self, Position)> {
        let (engine, at) = load(&clock, &keys, (&log, &rows, &fence))?;
        let end = engine.ledger.read().end();
        let base = Self {
            durable: watch::Sender::new(end),
            engine: RwLock::new(engine),
            options,
            clock,
            keys,
            log,
            rows,
            fence,
            frozen: Mutex::default(),
            folded: AtomicU64::new(at.sequence),
            committed: AtomicU64::new(at.sequence),
            bytes: AtomicU64::default(),
            others: AtomicU64::default(),
        };
        Ok((base, at))
    }

    /// The engine.
    pub(super) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine.read())
    }

    /// The number of durable ledger entries.
    pub(super) fn durable(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// Whether there is a version that this process does not know, so that parts it has not read may
    /// be folded and gone. Nothing is changed by it: a version counts once its rows are told of.
    pub(super) fn was_overtaken(&self) -> Result<bool> {
        Ok(self.fence.version()? > self.rows.current())
    }

    /// Loads everything anew: what this process knows is older than what is folded.
    pub(super) fn load(&self) -> Result<Position> {
        tracing::warn!("this process was away for long: all is read anew");
        let (engine, at) = load(
            &self.clock,
            &self.keys,
            (&self.log, &self.rows, &self.fence),
        )?;
        self.fence.lose();
        *self.frozen.lock() = None;
        *self.engine.write() = engine;
        self.was_changed();
        self.folded.store(at.sequence, Ordering::SeqCst);
        self.committed.store(at.sequence, Ordering::SeqCst);
        self.bytes.store(0, Ordering::SeqCst);
        Ok(at)
    }

    /// Notes a document of the log that is applied.
    pub(super) fn reached(&self, sequence: u64, content: &Content) {
        match content.mark {
            Mark::Commit => {
                let bytes: usize = content.parts.iter().map(|(_, bytes)| bytes.len()).sum();
                let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
                self.bytes.fetch_add(bytes, Ordering::SeqCst);
                if !content.parts.is_empty() {
                    self.committed.store(sequence, Ordering::SeqCst);
                }
            }
            Mark::Freeze { .. } => self.bytes.store(0, Ordering::SeqCst),
            _ => {}
        }
        let end = self.engine().ledger.read().end();
        self.durable.send_if_modified(|durable| {
            let more = *durable != end;
            *durable = end;
            more
        });
    }

    /// Notes that another process has changed users, keys or sessions.
    pub(super) fn was_changed(&self) {
        self.others.fetch_add(1, Ordering::SeqCst);
    }

    /// How often that was noted.
    pub(super) fn changed_by_others(&self) -> u64 {
        self.others.load(Ordering::SeqCst)
    }

    /// Bytes that wait to be set aside.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// The last commit that changed anything, and up to where all is folded.
    pub(super) fn progress(&self) -> (u64, u64) {
        let folded = self.folded.load(Ordering::SeqCst);
        (self.committed.load(Ordering::SeqCst), folded)
    }

    /// Whether something is set aside and not folded.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.lock().is_some()
    }

    /// The epoch whose key parts lie under now, where nothing is set aside.
    pub(super) fn epoch(&self) -> Result<u64> {
        Ok(self.engine().disk.head()?.journal + 1)
    }

    /// What is set aside.
    pub(super) fn frozen(&self) -> Option<Arc<FoldJob>> {
        self.frozen.lock().clone()
    }

    /// Sets something aside.
    pub(super) fn set_aside(&self, job: FoldJob) {
        *self.frozen.lock() = Some(Arc::new(job));
    }

    /// A version of the rows is there. What this process has folded itself, its folder tells.
    pub(super) fn arrive(
        &self,
        version: u64,
        (fold, meters): (bool, &[Token]),
        own: bool,
    ) -> Result<()> {
        if version <= self.rows.current() {
            return Ok(());
        }
        if own {
            self.rows.advance(version);
            return Ok(());
        }
        let engine = self.engine();
        let job = self.frozen().filter(|_| fold);
        let changed = match &job {
            Some(job) => job.meters().to_vec(),
            None => engine.loaded_of(meters),
        };
        let advance = || self.rows.advance(version);
        engine
            .disk
            .follow(advance, || engine.reload(&changed, fold))?;
        if let Some(job) = job {
            job.forget_ledger(&engine);
            self.fold_is_done(&job);
        }
        Ok(())
    }

    /// What was set aside is folded.
    pub(super) fn fold_is_done(&self, job: &FoldJob) {
        *self.frozen.lock() = None;
        self.folded.fetch_max(job.sequence(), Ordering::SeqCst);
    }

    /// Forgets subjects whose keys are no more.
    pub(super) fn forget(&self, subjects: &[Token]) -> Result<()> {
        let keys: Vec<Token> = pairs(subjects).map(|(subject, _)| subject).collect();
        self.keys.refresh(&keys)?;
        let engine = self.engine();
        pairs(subjects).for_each(|(_, data)| engine.forget(data));
        Ok(())
    }
}

/// The engine as of the last fold, and where the log stood there.
fn load(
    clock: &Arc<dyn Clock>,
    keys: &Arc<KeyTree>,
    (log, rows, fence): (&Arc<Log>, &Arc<MongoRows>, &Arc<Fence>),
) -> Result<(Arc<Engine>, Position)> {
    loop {
        let began = Instant::now();
        let version = fence.version()?;
        rows.advance(version);
        let disk = Disk::open(Arc::<MongoRows>::clone(rows), Arc::clone(keys))?;
        let head = disk.head()?;
        keys.refresh(&[])?;
        if keys.generation() < head.generation {
            return Err(Error::damaged(
                "keyring",
                "it is older than the data: a copy from before the last fold",
            ));
        }
        disk.check_runs(&head)?;
        let engine = Engine::load(Arc::clone(clock), Arc::clone(keys), disk);
        if began.elapsed() >= KEPT {
            // What was read may have been cleared away meanwhile.
            continue;
        }
        let mut at = Position {
            sequence: head.sequence,
            tag: [0; 16],
            token: fence.last_token()?,
            epoch: head.journal + 1,
        };
        if head.sequence > 0 {
            at.tag = log.tag_of(head.sequence)?;
        }
        return Ok((Arc::new(engine?), at));
    }
}
