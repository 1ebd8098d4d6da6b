//! What to do about a sync that failed.
//!
//! The system drops what it could not write and forgets that it did: the pages of a process's view
//! look written, a later sync succeeds and brings nothing to disk. So a mark is left beside the file,
//! and the next opening writes the whole file again, over itself, before it trusts any of it. The mark
//! need not be durable: when the machine restarts, the view is gone too, and the file is what it is.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{Mode, Vfs};

/// Bytes that are written again at a time.
const PIECE: usize = 1 << 20;

fn mark(path: &Path) -> PathBuf {
    path.with_added_extension("unsynced")
}

/// Leaves the mark: a sync of this file failed.
pub(crate) fn raise(vfs: &dyn Vfs, path: &Path) {
    if let Err(error) = vfs.open(&mark(path), Mode::Create) {
        tracing::error!(%error, "a failed sync could not be noted");
    }
}

/// Takes the mark of a file away that is no more.
pub(crate) fn forget(vfs: &dyn Vfs, path: &Path) -> io::Result<()> {
    match vfs.remove(&mark(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a file that is marked durable as it looks now.
pub(crate) fn settle(vfs: &dyn Vfs, path: &Path) -> io::Result<()> {
    let mark = mark(path);
    if !vfs.exists(&mark) {
        return Ok(());
    }
    if vfs.exists(path) {
        let file = vfs.open(path, Mode::Existing)?;
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        loop {
            let count = file.read_at(&mut piece, at)?;
            let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else {
                break;
            };
            file.write_at(read, at)?;
            at += u64::try_from(count).unwrap_or(0);
        }
        file.sync_all()?;
    }
    forget(vfs, path)
}
