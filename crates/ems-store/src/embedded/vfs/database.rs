//! One redb file, opened again in place after an operation that failed without harm.
//!
//! redb stops for good at the first error of its file, reads included. That is right after a failed
//! sync: what it left behind is not known, and here too it is final. After a read, a write or a
//! growth that failed (a bad sector, a full disk) the file still holds its last commit, so it is
//! opened again and the store goes on. Whether the commit that failed is in it must be looked at.

use std::{
    fmt, io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use redb::{
    BackendError, CompactionError, Database, ReadTransaction, ReadableDatabase as _,
    StorageBackend, WriteTransaction,
};

use super::{Ground, Mode, Vfs, doubt};
use crate::{Error, Result, embedded::fault::engine};

/// Bytes that a write leaves free, so that what must go on finds room.
const KEPT_FREE: u64 = 1 << 20;
/// A file of more bytes than this is not compacted: its free pages are few beside it, and they are
/// used again.
const COMPACTED: u64 = 256 << 20;
/// What a row costs beside its own bytes at most: the pages above it, which are copied.
const TOUCHED: u64 = 8192;

/// An engine's file that is open.
pub(crate) struct EngineFile {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    name: String,
    cache_bytes: usize,
    check: bool,
    length: Arc<AtomicU64>,
    open: RwLock<Option<Open>>,
}

struct Open {
    db: Database,
    health: Arc<Health>,
}

/// What happened to a file since it was opened. Each operation on it holds the gate; no more come
/// through once it is shut.
#[derive(Debug, Default)]
struct Health {
    level: AtomicU8,
    shut: RwLock<bool>,
}

/// An operation failed, and the file is to be opened again.
const STOPPED: u8 = 1;
/// A sync failed: nothing more is done.
const UNKNOWN: u8 = 2;

impl Health {
    fn is(&self, level: u8) -> bool {
        self.level.load(Ordering::SeqCst) == level
    }

    /// Does an operation that, where it fails, brings the file to a level.
    fn watch<T>(&self, level: u8, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let shut = self.shut.read();
        if *shut {
            return Err(io::Error::other("the file was opened again"));
        }
        let done = work();
        if done.is_err() {
            self.level.fetch_max(level, Ordering::SeqCst);
        }
        done
    }
}

impl EngineFile {
    /// Opens a file, or makes it, its name durable; `cache_bytes` of its pages are held.
    pub(crate) fn open(ground: &Ground, path: &Path, cache_bytes: usize) -> Result<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy().into());
        let file = Self {
            vfs: Arc::clone(&ground.vfs),
            path: path.to_owned(),
            name: name.unwrap_or_default(),
            cache_bytes,
            check: ground.check,
            length: Arc::default(),
            open: RwLock::new(None),
        };
        if !file.vfs.exists(path) {
            file.make()?;
        }
        *file.open.write() = Some(file.open_again(path)?);
        Ok(file)
    }

    /// Makes an empty file beside and puts it in its place: redb does not open what a crash left of
    /// a file's first pages.
    fn make(&self) -> Result<()> {
        let name = || Error::io(self.name.as_str());
        let new = self.path.with_extension("new");
        self.vfs.open(&new, Mode::Fresh).map_err(name())?;
        drop(self.open_again(&new)?);
        let made = self.vfs.open(&new, Mode::Existing).and_then(|file| {
            file.sync_all()?;
            self.vfs.rename(&new, &self.path)
        });
        made.map_err(name())?;
        let dir = self.path.parent().unwrap_or(&self.path);
        self.vfs.sync_dir(dir).map_err(name())
    }

    fn open_again(&self, path: &Path) -> Result<Open> {
        let settled = doubt::settle(self.vfs.as_ref(), path);
        let inner = settled.and_then(|()| self.vfs.backend(path));
        let inner = inner.map_err(Error::io(self.name.as_str()))?;
        let health = Arc::<Health>::default();
        let backend = Watched {
            inner,
            health: Arc::clone(&health),
            length: Arc::clone(&self.length),
            vfs: Arc::clone(&self.vfs),
            path: path.to_owned(),
        };
        let mut builder = Database::builder();
        builder
            .set_cache_size(self.cache_bytes)
            .set_check_integrity_on_open(self.check);
        let db = builder.create_with_backend(backend).map_err(engine)?;
        Ok(Open { db, health })
    }

    /// Begins a snapshot.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction> {
        self.with(|db| db.begin_read().map_err(engine))
    }

    /// Begins a transaction. To be called by one thread at a time.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction> {
        self.with(|db| {
            let mut write = db.begin_write().map_err(engine)?;
            // The state of the allocator goes with each commit: a start after a crash need not read
            // the whole file to find it.
            write.set_quick_repair(true);
            Ok(write)
        })
    }

    /// Refuses a write of some rows and bytes that would fill the disk, before it is begun: a
    /// commit that fails half-way costs a reopening, with every page checked.
    pub(crate) fn expect_room(&self, rows: usize, bytes: usize) -> Result<()> {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        let file = self.length.load(Ordering::SeqCst);
        let copied = wide(rows).saturating_mul(TOUCHED).min(file);
        let bytes = wide(bytes).saturating_mul(2).saturating_add(copied);
        let dir = self.path.parent().unwrap_or(&self.path);
        let room = self.vfs.room(dir).map_err(Error::io(self.name.as_str()))?;
        if room >= bytes.saturating_add(KEPT_FREE) {
            return Ok(());
        }
        Err(Error::Unavailable(format!(
            "no room on the disk: {} needs {bytes} bytes",
            self.name
        )))
    }

    /// Moves what is stored to the front of the file and cuts off the rest, where that is a quarter
    /// of it or more. Others wait meanwhile, and a crash makes the next start read the whole file:
    /// only a small one is compacted. Does nothing while a snapshot is being read. To be called by
    /// the thread that writes.
    pub(crate) fn compact(&self) -> Result<()> {
        let length = self.length.load(Ordering::SeqCst);
        if length > COMPACTED || self.stored()?.saturating_mul(4) > length.saturating_mul(3) {
            return Ok(());
        }
        let mut open = self.open.write();
        let Some(Open { db, .. }) = open.as_mut().filter(|open| open.health.is(0)) else {
            return Ok(());
        };
        match db.compact() {
            Ok(_) => {}
            Err(CompactionError::TransactionInProgress) => return Ok(()),
            Err(error) => return Err(engine(error)),
        }
        drop(open);
        // With the state of the allocator, which a compaction leaves out.
        self.begin_write()?.commit().map_err(engine)
    }

    /// Bytes of the pages in use.
    fn stored(&self) -> Result<u64> {
        let write = self.begin_write()?;
        let stats = write.stats().map_err(engine)?;
        write.abort().map_err(engine)?;
        let page = u64::try_from(stats.page_size()).unwrap_or(u64::MAX);
        Ok(stats.allocated_pages().saturating_mul(page))
    }

    fn with<T>(&self, work: impl Fn(&Database) -> Result<T>) -> Result<T> {
        if let Some(open) = self.open.read().as_ref()
            && !open.health.is(STOPPED)
        {
            return work(&open.db);
        }
        let mut open = self.open.write();
        if let Some(old) = open.take_if(|open| open.health.is(STOPPED)) {
            // A transaction that is still alive on the old one must not reach the file any more.
            *old.health.shut.write() = true;
            if old.health.is(UNKNOWN) {
                *open = Some(old);
            }
        }
        if open.is_none() {
            *open = Some(self.open_again(&self.path)?);
            tracing::warn!(file = self.name, "opened again after a failed operation");
        }
        let closed = || Error::Unavailable(format!("{} is closed", self.name));
        work(&open.as_ref().ok_or_else(closed)?.db)
    }
}

impl fmt::Debug for EngineFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EngineFile").field(&self.path).finish()
    }
}

/// A backend that remembers what failed, and how long the file is.
#[derive(Debug)]
struct Watched {
    inner: Box<dyn StorageBackend>,
    health: Arc<Health>,
    length: Arc<AtomicU64>,
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        let length = self.health.watch(STOPPED, || self.inner.len())?;
        self.length.store(length, Ordering::SeqCst);
        Ok(length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.health.watch(STOPPED, || self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.health.watch(STOPPED, || self.inner.set_len(len))?;
        self.length.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.health.watch(UNKNOWN, || self.inner.sync_data());
        if synced.is_err() && self.health.is(UNKNOWN) {
            doubt::raise(self.vfs.as_ref(), &self.path);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.health
            .watch(STOPPED, || self.inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
