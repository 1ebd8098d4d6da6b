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
    BackendError, Database, ReadTransaction, ReadableDatabase as _, StorageBackend,
    WriteTransaction,
};

use super::{Ground, Vfs};
use crate::{Error, Result, embedded::disk::engine};

/// Bytes that a write leaves free, so that what must go on finds room.
const KEPT_FREE: u64 = 1 << 20;
/// What a row costs beside its own bytes at most: the pages above it, which are copied.
const TOUCHED: u64 = 8192;

/// An engine's file that is open.
pub(crate) struct EngineFile {
    vfs: Arc<dyn Vfs>,
    path: PathBuf,
    name: String,
    cache_bytes: usize,
    check: bool,
    health: Arc<Health>,
    db: RwLock<Option<Database>>,
}

/// What happened to the file since it was opened, and how long it is.
#[derive(Debug, Default)]
struct Health {
    level: AtomicU8,
    length: AtomicU64,
}

/// An operation failed, and the file is to be opened again.
const STOPPED: u8 = 1;
/// A sync failed: nothing more is done.
const UNKNOWN: u8 = 2;

impl Health {
    fn watch<T>(&self, level: u8, done: io::Result<T>) -> io::Result<T> {
        if done.is_err() {
            self.level.fetch_max(level, Ordering::SeqCst);
        }
        done
    }
}

impl EngineFile {
    /// Opens a file, or makes it; `cache_bytes` of its pages are held.
    pub(crate) fn open(ground: &Ground, path: &Path, cache_bytes: usize) -> Result<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy().into());
        let file = Self {
            vfs: Arc::clone(&ground.vfs),
            path: path.to_owned(),
            name: name.unwrap_or_default(),
            cache_bytes,
            check: ground.check,
            health: Arc::default(),
            db: RwLock::new(None),
        };
        *file.db.write() = Some(file.open_again()?);
        Ok(file)
    }

    fn open_again(&self) -> Result<Database> {
        let backend = self
            .vfs
            .backend(&self.path)
            .map_err(Error::io(self.name.as_str()))?;
        let backend = Watched {
            inner: backend,
            health: Arc::clone(&self.health),
        };
        let mut builder = Database::builder();
        builder
            .set_cache_size(self.cache_bytes)
            .set_check_integrity_on_open(self.check);
        builder.create_with_backend(backend).map_err(engine)
    }

    /// Begins a snapshot.
    pub(crate) fn begin_read(&self) -> Result<ReadTransaction> {
        self.with(|db| db.begin_read().map_err(engine))
    }

    /// Begins a transaction. To be called by one thread at a time.
    pub(crate) fn begin_write(&self) -> Result<WriteTransaction> {
        self.with(|db| db.begin_write().map_err(engine))
    }

    /// Refuses a write of some rows and bytes that would fill the disk, before it is begun: a
    /// commit that fails half-way costs a reopening, with every page checked.
    pub(crate) fn expect_room(&self, rows: usize, bytes: usize) -> Result<()> {
        let wide = |count| u64::try_from(count).unwrap_or(u64::MAX);
        let file = self.health.length.load(Ordering::SeqCst);
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

    fn with<T>(&self, work: impl Fn(&Database) -> Result<T>) -> Result<T> {
        if self.health.level.load(Ordering::SeqCst) != STOPPED
            && let Some(db) = self.db.read().as_ref()
        {
            return work(db);
        }
        let mut db = self.db.write();
        if self.health.level.load(Ordering::SeqCst) == STOPPED {
            // The old one lets go of its lock before the new one takes it.
            drop(db.take());
            self.health.level.store(0, Ordering::SeqCst);
        }
        if db.is_none() && self.health.level.load(Ordering::SeqCst) != UNKNOWN {
            *db = Some(self.open_again()?);
            tracing::warn!(file = self.name, "opened again after a failed operation");
        }
        let closed = || Error::Unavailable(format!("{} is closed", self.name));
        work(db.as_ref().ok_or_else(closed)?)
    }
}

impl fmt::Debug for EngineFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EngineFile").field(&self.path).finish()
    }
}

/// A backend that remembers what failed.
#[derive(Debug)]
struct Watched {
    inner: Box<dyn StorageBackend>,
    health: Arc<Health>,
}

impl StorageBackend for Watched {
    fn len(&self) -> io::Result<u64> {
        let length = self.health.watch(STOPPED, self.inner.len())?;
        self.health.length.store(length, Ordering::SeqCst);
        Ok(length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.health.watch(STOPPED, self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.health.watch(STOPPED, self.inner.set_len(len))?;
        self.health.length.store(len, Ordering::SeqCst);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.health.watch(UNKNOWN, self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.health.watch(STOPPED, self.inner.write(offset, data))
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
