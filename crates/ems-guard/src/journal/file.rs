//! A log file: appended to, set aside by size, opened anew when it is asked for.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions, rename},
    io::{self, BufWriter, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Options;
use crate::{Error, Result};

/// Readable by the group, which is what log shippers are in.
const MODE: u32 = 0o640;
const DIR_MODE: u32 = 0o750;

pub(super) struct LogFile {
    path: PathBuf,
    rotate_bytes: u64,
    keep: u32,
    /// Grows with every wish to open anew.
    wishes: Arc<AtomicU64>,
    granted: u64,
    /// Nothing after a failure: it is opened anew for the next line.
    open: Option<BufWriter<File>>,
    size: u64,
}

impl LogFile {
    /// Opens a file of the log directory for appending; makes both if they are not there. A line
    /// that a crash cut short is cut off.
    pub(super) fn open(options: &Options, name: &str, wishes: Arc<AtomicU64>) -> Result<Self> {
        let path = options.dir.join(name);
        let mut file = Self {
            rotate_bytes: options.rotate_bytes,
            keep: options.keep,
            granted: wishes.load(Ordering::SeqCst),
            wishes,
            open: None,
            size: 0,
            path,
        };
        let opened = make_dir(&options.dir).and_then(|()| file.open_anew());
        match opened {
            Ok(()) => Ok(file),
            Err(source) => Err(file.error(source)),
        }
    }

    fn open_anew(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true).mode(MODE);
        let mut file = options.open(&self.path)?;
        // Whatever the umask has left of it, or an earlier file had.
        file.set_permissions(Permissions::from_mode(MODE))?;
        let whole = end_of_whole_lines(&mut file)?;
        file.set_len(whole)?;
        self.size = whole;
        self.open = Some(BufWriter::new(file));
        Ok(())
    }

    /// Appends a line, which is with the operating system after [`Self::flush`].
    pub(super) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let done = self.try_append(line);
        if done.is_err() {
            self.open = None;
        }
        done
    }

    fn try_append(&mut self, line: &[u8]) -> io::Result<()> {
        let wishes = self.wishes.load(Ordering::SeqCst);
        if wishes != self.granted {
            self.flush()?;
            self.open = None;
            self.granted = wishes;
        }
        if self.open.is_none() {
            self.open_anew()?;
        }
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let full = self.size.saturating_add(length) > self.rotate_bytes;
        if self.rotate_bytes > 0 && self.size > 0 && full {
            self.set_aside()?;
        }
        let Some(open) = &mut self.open else {
            return Err(io::Error::from(ErrorKind::NotFound));
        };
        open.write_all(line)?;
        self.size = self.size.saturating_add(length);
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let done = open.flush();
        if done.is_err() {
            self.open = None;
        }
        done
    }

    /// Moves the file to `.1`, `.1` to `.2`, and so on; the last falls off.
    pub(super) fn set_aside(&mut self) -> io::Result<()> {
        self.flush()?;
        self.open = None;
        for number in (1..self.keep).rev() {
            absent_is_fine(rename(
                aside(&self.path, number),
                aside(&self.path, number + 1),
            ))?;
        }
        if self.keep == 0 {
            std::fs::remove_file(&self.path)?;
        } else {
            rename(&self.path, aside(&self.path, 1))?;
        }
        self.open_anew()
    }

    /// The last line that was written, here or, where this file is empty, in the newest set aside.
    pub(super) fn last_line(&self) -> io::Result<Option<Vec<u8>>> {
        for path in [self.path.clone(), aside(&self.path, 1)] {
            let mut file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let end = end_of_whole_lines(&mut file)?;
            if end > 0 {
                let begin = find_line_end(&mut file, end - 1)?;
                file.seek(SeekFrom::Start(begin))?;
                let mut line = Vec::new();
                file.take(end - begin).read_to_end(&mut line)?;
                return Ok(Some(line));
            }
        }
        Ok(None)
    }

    pub(super) fn error(&self, source: io::Error) -> Error {
        Error::Log {
            path: self.path.clone(),
            source,
        }
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// The name of a file that was set aside.
pub(super) fn aside(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// The place behind the last line end of a file.
pub(super) fn end_of_whole_lines(file: &mut File) -> io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    find_line_end(file, length)
}

/// The place behind the last line end before `before`; 0 where there is none.
fn find_line_end(file: &mut File, before: u64) -> io::Result<u64> {
    const STEP: u64 = 64 * 1024;
    let mut end = before;
    while end > 0 {
        let begin = end.saturating_sub(STEP);
        file.seek(SeekFrom::Start(begin))?;
        let mut piece = Vec::new();
        (&*file).take(end - begin).read_to_end(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + u64::try_from(at).unwrap_or(0) + 1);
        }
        end = begin;
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
