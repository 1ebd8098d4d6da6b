//! Reads a log line by line over all its files, however they are moved: a file is known by its inode
//! and by the last line that was read of it, not by its name.
//!
//! Files that are not confirmed stay open, so that a rotation takes nothing away from a process that
//! runs. A file that is newer and has a line says that the one before is complete: only one is
//! written to at a time.

mod files;

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    io,
    path::PathBuf,
};

use ems_crypto::random::base62;
use serde::{Deserialize, Serialize};

use self::files::{Found, Id, NONE, count_lines, files, hash, identity, is_behind, whole_lines};

/// A place in a log, right behind a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The file.
    file: Id,
    /// The byte in it.
    offset: u64,
    /// A hash of the line before; empty at the beginning of a file.
    tail: String,
    /// Lines read of the file.
    lines: u64,
    /// Bytes of the whole log before this place, since it was first followed: the ids of lines.
    total: u64,
    /// Tells this following from another of the same log.
    epoch: String,
    /// The file, and those that were newer, in their order.
    files: Vec<Seen>,
}

/// A file that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    file: Id,
    bytes: u64,
    /// Counted once nothing more is written to it.
    lines: Option<u64>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The same whenever it is sent.
    pub(super) id: String,
    /// Without its end.
    pub(super) text: String,
    offset: u64,
    total: u64,
    number: u64,
}

/// Lines of one file, in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) lines: Vec<Line>,
    /// The place behind the last.
    pub(super) after: Position,
    /// Lines before them that were removed unread, at least.
    pub(super) missed: u64,
}

impl Position {
    /// The place behind a line of a batch that ends here.
    pub(super) fn at(&self, line: &Line) -> Self {
        Self {
            offset: line.offset,
            tail: hash(line.text.as_bytes()),
            lines: line.number,
            total: line.total,
            ..self.clone()
        }
    }
}

/// A log, being read.
pub(super) struct Follower {
    dir: PathBuf,
    name: String,
    position: Position,
    /// Files from the confirmed place on, in their order.
    files: Vec<Seen>,
    /// Those of them that are open.
    open: VecDeque<(Id, File)>,
    /// Files that were removed unread, and are counted.
    gone: HashSet<Id>,
    missed: u64,
}

impl Follower {
    /// Follows a log from a place, or from the beginning of its oldest file.
    pub(super) fn open(dir: PathBuf, log: &str, from: Option<Position>) -> io::Result<Self> {
        let position = from.unwrap_or_else(|| Position {
            file: NONE,
            offset: 0,
            tail: String::new(),
            lines: 0,
            total: 0,
            epoch: base62(8),
            files: Vec::new(),
        });
        let mut follower = Self {
            dir,
            name: format!("{log}.log"),
            files: position.files.clone(),
            position,
            open: VecDeque::new(),
            gone: HashSet::new(),
            missed: 0,
        };
        follower.look()?;
        follower.resume()?;
        Ok(follower)
    }

    /// Finds the file of the position again, and sees that it is what it was.
    fn resume(&mut self) -> io::Result<()> {
        if self.position.file == NONE {
            return self.step();
        }
        let Some(file) = self.find(self.position.file)? else {
            // The look has counted what was left of it.
            return self.step();
        };
        if !is_behind(&file, self.position.offset, &self.position.tail)? {
            tracing::warn!(
                log = self.name,
                "a log's file was written anew; it is shipped whole"
            );
            self.begin(self.position.file);
        }
        self.open.push_back((self.position.file, file));
        Ok(())
    }

    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// Reads again from a place that was confirmed.
    pub(super) fn go_back(&mut self, to: &Position) {
        self.position = to.clone();
    }

    /// Lets go of the files before a place.
    pub(super) fn forget_before(&mut self, place: &Position) {
        let at = self.files.iter().position(|it| it.file == place.file);
        let before: Vec<Seen> = self.files.drain(..at.unwrap_or(0)).collect();
        let is_before = |id: &Id| before.iter().any(|it| it.file == *id);
        self.open.retain(|(id, _)| !is_before(id));
        self.gone.retain(|id| !is_before(id));
    }

    /// Bytes behind a place that are in the files.
    pub(super) fn behind(&self, place: &Position) -> u64 {
        let from = self.files.iter().skip_while(|it| it.file != place.file);
        let bytes = from.map(|it| {
            let open = self.open.iter().find(|(id, _)| *id == it.file);
            let length = match open.map(|(_, file)| file.metadata()) {
                Some(Ok(metadata)) => metadata.len(),
                _ if self.gone.contains(&it.file) => 0,
                _ => it.bytes,
            };
            let read = if it.file == place.file {
                place.offset
            } else {
                0
            };
            length.saturating_sub(read)
        });
        bytes.sum()
    }

    /// The next lines, of about so many bytes; none where there are none yet.
    pub(super) fn next(&mut self, most: usize) -> io::Result<Batch> {
        loop {
            self.look()?;
            if self.position.file == NONE {
                self.step()?;
            }
            // Whether there is a newer file is asked before this one is read to its end.
            let newer = self.has_newer();
            let lines = self.read(most)?;
            let done = !lines.is_empty() || !newer;
            if done {
                let missed = std::mem::take(&mut self.missed);
                let own = self.position.file;
                let from = self.files.iter().skip_while(|it| it.file != own);
                self.position.files = from.cloned().collect();
                return Ok(Batch {
                    after: self.position.clone(),
                    lines,
                    missed,
                });
            }
            self.step()?;
        }
    }

    fn read(&mut self, most: usize) -> io::Result<Vec<Line>> {
        let id = self.position.file;
        let Some(file) = self.handle(id)? else {
            return Ok(Vec::new());
        };
        let length = file.metadata()?.len();
        if length < self.position.offset {
            tracing::warn!(
                log = self.name,
                "a log's file became shorter; it is shipped whole"
            );
            self.begin(id);
        }
        let from = self.position.offset;
        let Some(file) = self.handle(id)? else {
            return Ok(Vec::new());
        };
        let bytes = whole_lines(file, from, most)?;
        let mut lines = Vec::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let place = &mut self.position;
            let id = format!("{}-{:012}", place.epoch, place.total);
            let length = u64::try_from(line.len()).unwrap_or(0);
            place.offset += length;
            place.total += length;
            place.lines += 1;
            lines.push(Line {
                id,
                text: String::from_utf8_lossy(text).into_owned(),
                offset: place.offset,
                total: place.total,
                number: place.lines,
            });
        }
        if let Some(last) = lines.last() {
            self.position.tail = hash(last.text.as_bytes());
        }
        Ok(lines)
    }

    /// A file: open, or found again.
    fn handle(&mut self, id: Id) -> io::Result<Option<&File>> {
        if !self.open.iter().any(|(other, _)| *other == id)
            && let Some(file) = self.find(id)?
        {
            self.open.push_back((id, file));
        }
        let found = self.open.iter().find(|(other, _)| *other == id);
        Ok(found.map(|(_, file)| file))
    }

    /// Notes the files that there are, newer ones after those that are known, and which of those
    /// are gone.
    fn look(&mut self) -> io::Result<()> {
        let there = files(&self.dir, &self.name)?;
        let seen = &mut self.files;
        let known = |file: &Found| seen.iter().any(|it| it.file == file.id);
        // Everything behind the newest that is known is new.
        let from = there.iter().rposition(known).map_or(0, |at| at + 1);
        seen.extend(there.iter().skip(from).map(|file| Seen {
            file: file.id,
            bytes: file.bytes,
            lines: None,
        }));
        let written = self.dir.join(&self.name);
        for file in &there {
            let Some(it) = seen.iter_mut().find(|it| it.file == file.id) else {
                continue;
            };
            it.bytes = file.bytes;
            if it.lines.is_none() && file.path != written {
                it.lines = Some(count_lines(&file.path)?);
            }
        }
        let here = |id: Id| there.iter().any(|file| file.id == id);
        let absent = self.files.iter().filter(|it| !here(it.file)).cloned();
        for it in absent.collect::<Vec<_>>() {
            let open = self.open.iter().any(|(id, _)| *id == it.file);
            if !open && !self.gone.contains(&it.file) && self.find(it.file)?.is_none() {
                self.lose(&it);
            }
        }
        Ok(())
    }

    /// Counts what was not read of a file that is gone. Of one that was still written to, nobody
    /// knows the lines: it counts as one.
    fn lose(&mut self, it: &Seen) {
        let read = if it.file == self.position.file {
            self.position.lines
        } else {
            0
        };
        let lines = it.lines.map_or(1, |lines| lines.saturating_sub(read));
        tracing::error!(log = self.name, lines, "a log's file was removed unread");
        self.gone.insert(it.file);
        self.missed += lines;
    }

    /// The files behind the present one that can be read.
    fn newer(&self) -> impl Iterator<Item = &Seen> {
        let own = self.position.file;
        let at = self.files.iter().position(|it| it.file == own);
        let behind = self.files.iter().skip(at.map_or(0, |at| at + 1));
        behind.filter(|it| !self.gone.contains(&it.file))
    }

    /// Whether a newer file has something, so that the present one is complete.
    fn has_newer(&self) -> bool {
        self.newer().any(|it| it.bytes > 0)
    }

    /// Goes on with the next file that has something, or is the last.
    fn step(&mut self) -> io::Result<()> {
        let newer: Vec<Seen> = self.newer().cloned().collect();
        let last = newer.last().map(|it| it.file);
        for it in newer {
            if it.bytes == 0 && Some(it.file) != last {
                continue;
            }
            if self.handle(it.file)?.is_some() {
                self.begin(it.file);
                return Ok(());
            }
            // It went between two looks.
            self.lose(&it);
        }
        Ok(())
    }

    /// Stands at the beginning of a file.
    fn begin(&mut self, id: Id) {
        self.position.file = id;
        self.position.offset = 0;
        self.position.tail.clear();
        self.position.lines = 0;
    }

    /// Opens a file, whatever its name has become.
    fn find(&self, id: Id) -> io::Result<Option<File>> {
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let ours = entry.file_name().to_string_lossy().starts_with(&self.name);
            if ours
                && entry
                    .metadata()
                    .is_ok_and(|metadata| identity(&metadata) == id)
            {
                let file = File::open(entry.path())?;
                // It may have been moved between the two.
                if identity(&file.metadata()?) == id {
                    return Ok(Some(file));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
