//! The storage layer under journal, keyring and engine: the few operations that they need of a file
//! system. The real one is `std::fs`; the tests put a simulated disk in its place, which loses what
//! was not synced, tears, fails and fills up.
//!
//! What the layers above may count on, and no more: bytes are durable once `sync_data` or `sync_all`
//! of their file returned, a name (made, renamed, removed) once `sync_dir` of its directory did. A
//! sector of 512 bytes is written whole or not at all; anything else may be lost, torn or reordered.
//! After a sync that failed nothing is known of what was written since the one before.

mod database;
pub(crate) mod doubt;
mod real;
#[cfg(test)]
pub(crate) mod simulated;

use std::{fmt::Debug, io, path::Path, sync::Arc, time::Duration};

use redb::StorageBackend;

pub(crate) use self::{database::EngineFile, real::RealDisk};

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It must be there.
    Existing,
    /// It is made where it is not.
    Create,
    /// It is made, or emptied.
    Fresh,
}

/// A file system. Files that it makes are their owner's alone (0600), directories too (0700).
pub(crate) trait Vfs: Debug + Send + Sync {
    /// Makes a directory with those above it, where it is not.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>>;
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether there is a file of this name. Where that cannot be told, there is one.
    fn exists(&self, path: &Path) -> bool;
    /// The names in a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Puts a file in another's place.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Holds a file for this process as long as the value lives; `None` where another holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Debug + Send + Sync>>>;
    /// Bytes that can still be written.
    fn room(&self, dir: &Path) -> io::Result<u64>;
    /// An engine's file, made where it is not, with the engine's own lock on it.
    fn backend(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>>;
}

/// An open file.
pub(crate) trait File: Send + Sync {
    /// Reads bytes from an offset on, as many as there are and fit; returns how many.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at an offset; the file grows as needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the content durable, and what of the metadata is needed to read it.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and metadata durable.
    fn sync_all(&self) -> io::Result<()>;
}

/// What a store stands on, and what tests make small.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) vfs: Arc<dyn Vfs>,
    /// A new journal is filled with this many zeros; half as many are the reserve for notes when
    /// the disk is full.
    pub(crate) ahead: u64,
    /// How long after a failed attempt a fold is tried again.
    pub(crate) retry: Duration,
    /// How long the folder waits for more to do before it compacts the engine's file.
    pub(crate) idle: Duration,
    /// Whether each page of the engine's files is checked when they are opened.
    pub(crate) check: bool,
}

impl Ground {
    /// The real file system, and the figures that go with it.
    pub(crate) fn real() -> Self {
        Self {
            vfs: Arc::new(RealDisk),
            ahead: 4 << 20,
            retry: Duration::from_secs(1),
            idle: Duration::from_secs(5),
            check: false,
        }
    }
}
