//! The files of a log: which there are, what each is known by, and what is read of them.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use data_encoding::HEXLOWER;
use ems_crypto::hash::sha256;

/// A file whatever its name: its inode, and when that came into being, since inodes are used again.
pub(super) type Id = (u64, u64);
/// No file.
pub(super) const NONE: Id = (0, 0);

/// A file of a log.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) id: Id,
    pub(super) bytes: u64,
}

/// The files of a log, the oldest first: `.3`, `.2`, `.1`, and the one that is written to.
pub(super) fn files(dir: &Path, name: &str) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(rest) = file_name.to_str().and_then(|it| it.strip_prefix(name)) else {
            continue;
        };
        let number = match rest.strip_prefix('.') {
            Some(number) => number.parse::<u32>().ok(),
            None if rest.is_empty() => Some(0),
            None => None,
        };
        // One that is moved at this moment is found at the next look.
        let Some((number, metadata)) = number.zip(entry.metadata().ok()) else {
            continue;
        };
        let file = Found {
            path: entry.path(),
            id: identity(&metadata),
            bytes: metadata.len(),
        };
        found.push((number, file));
    }
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    Ok(found.into_iter().map(|(_, file)| file).collect())
}

/// Whole lines from a place on: about so many bytes, one line at least if there is one.
pub(super) fn whole_lines(file: &File, from: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut want = most.max(1);
    loop {
        bytes.resize(want, 0);
        let read = read_at(file, &mut bytes, from)?;
        bytes.truncate(read);
        if let Some(end) = memchr::memrchr(b'\n', &bytes) {
            bytes.truncate(end + 1);
            return Ok(bytes);
        }
        if read < want {
            bytes.clear();
            return Ok(bytes);
        }
        want = want.saturating_mul(2);
    }
}

fn read_at(file: &File, into: &mut [u8], from: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let at = from + u64::try_from(done).unwrap_or(0);
        match file.read_at(rest, at) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether a file has, right before a place, the line that was there by its hash.
pub(super) fn is_behind(file: &File, offset: u64, tail: &str) -> io::Result<bool> {
    if offset == 0 {
        return Ok(true);
    }
    // A line and the end of the one before it.
    let mut reach = 4096_u64;
    loop {
        let from = offset.saturating_sub(reach);
        let wanted = usize::try_from(offset - from).unwrap_or(0);
        let mut bytes = vec![0; wanted];
        if read_at(file, &mut bytes, from)? < wanted {
            return Ok(false);
        }
        let Some(line) = bytes.strip_suffix(b"\n") else {
            return Ok(false);
        };
        match memchr::memrchr(b'\n', line) {
            Some(before) => {
                return Ok(line.get(before + 1..).is_some_and(|it| hash(it) == tail));
            }
            None if from == 0 => return Ok(hash(line) == tail),
            None => reach = reach.saturating_mul(4),
        }
    }
}

/// How many lines a file has; none where it is gone.
pub(super) fn count_lines(path: &Path) -> io::Result<u64> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let mut lines = 0;
    let mut piece = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(lines);
        }
        let found = memchr::memchr_iter(b'\n', piece.get(..read).unwrap_or_default());
        lines += u64::try_from(found.count()).unwrap_or(0);
    }
}

/// A file's identity.
pub(super) fn identity(metadata: &Metadata) -> Id {
    let born = metadata.created().ok();
    let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    let nanos = born.map_or(0, |born| born.as_nanos());
    (metadata.ino(), u64::try_from(nanos).unwrap_or(0))
}

/// What a line is known by.
pub(super) fn hash(line: &[u8]) -> String {
    let hash = sha256(line);
    HEXLOWER.encode(hash.get(..16).unwrap_or_default())
}
