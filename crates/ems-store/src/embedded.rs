//! The embedded backend: one directory, one process. Commits go to a sealed journal, then to memory;
//! a fold brings them to the engine's file. The key tree lies in a directory of its own.

mod ahead;
mod care;
mod erase;
mod fault;
mod folder;
mod journal;
mod pages;
mod ring;
mod tables;
#[cfg(test)]
pub(crate) mod testing;
mod vfs;
mod writer;

#[cfg(any(test, feature = "fuzz"))]
pub(crate) use journal::fuzz;

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use ems_core::{
    clock::Clock,
    meter::{MeterId, MeterStatistics},
    time::{TimeRange, Timestamp},
};
use ems_crypto::keyring::RootKey;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    ahead::Ahead,
    journal::{End, Journal, JournalId},
    pages::Pages,
    ring::RingFile,
    tables::Tables,
    vfs::{Ground, Vfs},
};
use crate::{
    Batch, Columns, Commit, Error, Ledger, Outcome, Piece, Record, Records, Report, Result,
    Segments, Store, Subjects, Superseded, Table, Watch,
    readings::{
        codec::Group,
        disk::Disk,
        engine::Engine,
        keys::{KeyTree, place::Wrapped},
        queue::Request,
        verify,
    },
    shared::local::LocalShared,
    subject::Subject,
};

/// Where an embedded store lies, and its bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Journals and the engine's file.
    pub data_dir: PathBuf,
    /// The key tree: to be backed up apart from the data.
    pub keyring_dir: PathBuf,
    /// Journal bytes after which what is in memory is folded. A start replays at most some
    /// three times as much: two in the journal that is written, one in that which is being folded.
    pub journal_bytes: u64,
    /// Memory for raw data keys, some 100 bytes each.
    pub key_cache_bytes: u64,
    /// Bytes of the disk kept for the ledger and all else that is not readings; these are refused
    /// where less is left.
    pub reserve_bytes: u64,
}

/// Opens the store of a directory, or makes one in an empty directory. Replays what was
/// acknowledged and not yet folded.
///
/// # Errors
/// [`Error::InUse`] where another process has it open; [`Error::Damaged`] naming what is not as it
/// was written; [`Error::Key`] where the root key is not the one of this keyring.
pub fn open(options: Options, root: RootKey, clock: Arc<dyn Clock>) -> Result<Store> {
    open_on(Ground::real(), options, root, clock)
}

/// Opens the store of a directory of some file system.
fn open_on(
    ground: Ground,
    options: Options,
    root: RootKey,
    clock: Arc<dyn Clock>,
) -> Result<Store> {
    let embedded = Arc::new(Embedded::open(ground, options, root, clock)?);
    erase::resume(&embedded.engine, &embedded.requests)?;
    care::resume(&embedded.engine)?;
    Ok(Store {
        commit: embedded.clone(),
        segments: embedded.clone(),
        records: embedded.clone(),
        ledger: embedded.clone(),
        subjects: embedded.clone(),
        keys: embedded,
        shared: Arc::new(LocalShared::new()),
    })
}

/// Reads and authenticates everything in a store that no process has open.
///
/// # Errors
/// As [`open`]: what is damaged so that the store does not open; all else is in the report.
pub fn verify(
    options: Options,
    root: RootKey,
    clock: Arc<dyn Clock>,
    watch: Watch<'_>,
) -> Result<Report> {
    let (base, ..) = prepare(Ground::real(), options, root, clock)?;
    verify::verify(&base.engine, watch)
}

#[cfg(test)]
fn verify_on(
    ground: Ground,
    options: Options,
    root: RootKey,
    clock: Arc<dyn Clock>,
) -> Result<Report> {
    let (base, ..) = prepare(ground, options, root, clock)?;
    verify::verify(&base.engine, &|_| {})
}

/// The engine, and where its files lie.
struct Base {
    engine: Arc<Engine>,
    options: Options,
    ground: Ground,
}

struct Embedded {
    engine: Arc<Engine>,
    requests: mpsc::Sender<Request>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// One erasure at a time.
    erasing: tokio::sync::Mutex<()>,
    _lock: Lock,
}

/// An engine with everything replayed; the open journal, its number, the last sequence; the lock.
type Prepared = (Arc<Base>, Option<(Journal, u64)>, u64, Lock);

/// Holds the directory for this process.
type Lock = Box<dyn Debug + Send + Sync>;

fn prepare(
    ground: Ground,
    options: Options,
    root: RootKey,
    clock: Arc<dyn Clock>,
) -> Result<Prepared> {
    let (data, keyring) = (&options.data_dir, &options.keyring_dir);
    for dir in [data, keyring] {
        let made = ground.vfs.make_dir(dir);
        made.map_err(Error::io(dir.display().to_string()))?;
    }
    let lock = ground.vfs.lock(&data.join("lock"));
    let lock = lock
        .map_err(Error::io("lock"))?
        .ok_or_else(|| Error::InUse(data.clone()))?;
    expect_files(ground.vfs.as_ref(), &options)?;
    let keys = Arc::new(open_keys(&ground, keyring, root, clock.now())?);
    keys.limit_cache(options.key_cache_bytes);
    let tables = Tables::open(&ground, data)?;
    let disk = Disk::open(Arc::new(tables), Arc::clone(&keys))?;
    let head = disk.head()?;
    disk.check_runs(&head)?;
    disk.check_count()?;
    if keys.generation() < head.generation {
        return Err(Error::damaged(
            "keyring",
            "it is older than the data: a copy from before the last fold",
        ));
    }
    let base = Arc::new(Base {
        engine: Arc::new(Engine::load(clock, keys, disk)?),
        options,
        ground,
    });
    let (journal, sequence) = replay(&base, head.journal, head.sequence)?;
    Ok((base, journal, sequence, lock))
}

/// Opens the key tree of a directory.
fn open_keys(ground: &Ground, dir: &Path, root: RootKey, now: Timestamp) -> Result<KeyTree> {
    let ring = Arc::new(RingFile::new(&ground.vfs, dir));
    let pages = || -> Result<Arc<dyn Wrapped>> { Ok(Arc::new(Pages::open(ground, dir)?)) };
    KeyTree::open(ring, pages, root, now)
}

/// The files of a store are made one after the other, each durable before the next: one that is
/// gone while a later one is there was taken away.
fn expect_files(vfs: &dyn Vfs, options: &Options) -> Result<()> {
    let (data, keyring) = (&options.data_dir, &options.keyring_dir);
    let journals = journal::list(vfs, data)?;
    let files = [
        ("keyring", vfs.exists(&keyring.join("keyring"))),
        ("pages.redb", vfs.exists(&keyring.join("pages.redb"))),
        ("engine.redb", vfs.exists(&data.join("engine.redb"))),
        ("journal", !journals.is_empty()),
    ];
    let last = files.iter().rposition(|(_, there)| *there).unwrap_or(0);
    match files.iter().take(last).find(|(_, there)| !there) {
        Some((name, _)) => Err(Error::damaged(*name, "it is gone")),
        None => Ok(()),
    }
}

impl Embedded {
    fn open(
        ground: Ground,
        options: Options,
        root: RootKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let (base, journal, sequence, lock) = prepare(ground, options, root, clock)?;
        let engine = Arc::clone(&base.engine);
        let (journal, number) = if let Some(open) = journal {
            open
        } else {
            let last = engine.keys.journals().last().copied().unwrap_or(0);
            let number = last.max(engine.disk.head()?.journal) + 1;
            (Ahead::default().take(&base, number)?, number)
        };
        let (requests, thread) = writer::start(base, journal, number, sequence)?;
        Ok(Self {
            engine,
            requests,
            thread: Mutex::new(Some(thread)),
            erasing: tokio::sync::Mutex::new(()),
            _lock: lock,
        })
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request,
    ) -> Result<T> {
        let (answer, wait) = oneshot::channel();
        let closed = || Error::Unavailable("it is closed".into());
        self.requests
            .send(request(answer))
            .await
            .map_err(|_| closed())?;
        wait.await.map_err(|_| closed())?
    }

    /// Runs what may read the disk off the asynchronous threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = Arc::clone(&self.engine);
        let done = tokio::task::spawn_blocking(move || work(&engine)).await;
        done.map_err(|error| Error::Engine(error.to_string()))?
    }
}

/// Replays the journals that are not folded, in order. Returns the last, open for appending if its
/// end is whole.
fn replay(base: &Base, folded: u64, sequence: u64) -> Result<(Option<(Journal, u64)>, u64)> {
    let engine = &base.engine;
    let dir = &base.options.data_dir;
    let with_key = engine.keys.journals();
    let vfs: &dyn Vfs = base.ground.vfs.as_ref();
    for number in journal::list(vfs, dir)? {
        // Folded wholly, or made and never used.
        if number <= folded || !with_key.contains(&number) {
            writer::retire(base, number)?;
        }
    }
    let mut sequence = sequence;
    let mut open = None;
    let open_numbers: Vec<u64> = with_key
        .into_iter()
        .filter(|number| *number > folded)
        .collect();
    if let Some(first) = open_numbers.first().filter(|first| **first != folded + 1) {
        return Err(Error::damaged(
            "engine.redb",
            format!("it is older than the journals: the next is {first}, folded is {folded}"),
        ));
    }
    for number in &open_numbers {
        if !vfs.exists(&journal::path(dir, *number)) {
            return Err(Error::damaged(
                format!("{number:016x}.journal"),
                "it is gone, and was never folded",
            ));
        }
        let id = JournalId {
            instance: engine.keys.instance(),
            number: *number,
        };
        let key = engine.keys.journal_key(*number)?;
        let mut apply = |record: u64, content: &[u8]| {
            let place = || format!("{number:016x}.journal, record {record}");
            let group =
                Group::decode(content).map_err(|why| Error::damaged(place(), why.to_string()))?;
            if group.sequence != sequence + 1 {
                return Err(Error::damaged(place(), "a commit before it is gone"));
            }
            sequence = group.sequence;
            group.apply(engine)
        };
        let (journal, end) = Journal::replay(&base.ground, dir, id, &key, &mut apply)?;
        if end == End::Torn {
            // Had a commit that was acknowledged been there, the next journal would miss it.
            tracing::warn!(
                journal = number,
                "the journal ends with a write that was never acknowledged"
            );
        }
        open = journal.map(|journal| (journal, *number));
    }
    Ok((open, sequence))
}

#[async_trait]
impl Commit for Embedded {
    async fn commit(&self, batch: Batch) -> Result<Outcome> {
        self.ask(|answer| Request::Commit(Box::new(batch), answer))
            .await
    }

    async fn fresh(&self) -> Result<()> {
        // One process has the store, and what it commits is seen at once.
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        let closed = self.ask(Request::Close).await;
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            joined
                .ok()
                .and_then(Result::ok)
                .ok_or_else(|| Error::Engine("the writer ended badly".into()))?;
        }
        closed
    }
}

#[async_trait]
impl Segments for Embedded {
    async fn scan(&self, meter: &MeterId, range: TimeRange, columns: Columns) -> Result<Piece> {
        if self.engine.is_in_memory(meter, range.start()) {
            return self.engine.scan(meter, range, columns);
        }
        let meter = meter.clone();
        self.blocking(move |engine| engine.scan(&meter, range, columns))
            .await
    }

    async fn statistics(&self, meter: &MeterId) -> Result<MeterStatistics> {
        self.engine.statistics(meter)
    }

    async fn superseded(&self, meter: &MeterId) -> Result<Vec<Superseded>> {
        let meter = meter.clone();
        self.blocking(move |engine| engine.superseded(&meter)).await
    }

    async fn fold(&self) -> Result<()> {
        self.ask(Request::Fold).await
    }
}

#[async_trait]
impl Records for Embedded {
    async fn get(&self, table: Table, id: &str) -> Result<Option<Record>> {
        Ok(self.engine.records.read().get(table, id).cloned())
    }

    async fn list(
        &self,
        table: Table,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Record>> {
        Ok(self.engine.records.read().list(table, prefix, after, limit))
    }
}

#[async_trait]
impl Ledger for Embedded {
    async fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Arc<[u8]>)>> {
        match self.engine.ledger_in_memory(from, limit) {
            Some(entries) => Ok(entries),
            None => {
                self.blocking(move |engine| engine.ledger(from, limit))
                    .await
            }
        }
    }

    fn durable(&self) -> watch::Receiver<u64> {
        self.engine.durable.subscribe()
    }
}

#[async_trait]
impl Subjects for Embedded {
    async fn pseudonym(&self, subject: &Subject) -> Result<Option<String>> {
        self.engine.pseudonym(subject)
    }
}

#[cfg(test)]
mod tests;
