//! `security.log` read back, the newest line first: this file, then those set aside.
//!
//! Memory is that of a few lines, however long the files are. A reading can be left and gone on
//! with at its [`Place`], also after the files were rotated meanwhile.

mod ocsf;

use std::{
    fs::File,
    hash::{DefaultHasher, Hasher as _},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use ems_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::file::{aside, end_of_whole_lines};

/// Bytes read at a time.
const STEP: u64 = 64 * 1024;
/// The longest line that is kept together; ours are far shorter.
const LONGEST: usize = 1024 * 1024;
/// Bytes of a file's first line that tell it from others.
const MARK: u64 = 4096;
/// Files set aside that are looked for at most.
const MOST_ASIDE: u32 = 10_000;

/// A line of `security.log`, by the security guide's field names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PastEvent {
    /// When.
    pub timestamp: Timestamp,
    /// `authentication`, `api_access` or `security_violation`.
    pub event_type: String,
    /// What was violated.
    #[serde(default)]
    pub violation_type: Option<String>,
    /// Of an authentication: `login`, `refresh` …
    #[serde(default)]
    pub action: Option<String>,
    /// Whose it was, `anonymous` or `system`.
    pub user: String,
    /// From where, or `system`.
    pub ip_address: String,
    /// Of an authentication: whether it was one.
    #[serde(default)]
    pub success: Option<bool>,
    /// Of a request: the route's template.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Of a request: its method.
    #[serde(default)]
    pub method: Option<String>,
    /// Of a request: how it was answered.
    #[serde(default)]
    pub status_code: Option<u16>,
    /// More on a violation.
    #[serde(default)]
    pub details: Option<Map<String, Value>>,
    /// More on an authentication.
    #[serde(default)]
    pub additional_data: Option<Map<String, Value>>,
    /// The request; empty in the summary of a flood.
    #[serde(default)]
    pub request_id: String,
    /// In the summary of a flood: how many events like this one have no line of their own.
    #[serde(default)]
    pub suppressed: Option<u64>,
}

impl PastEvent {
    /// Reads a line, in whichever form it was written; `None` for one that is neither.
    pub fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line)
            .ok()
            .or_else(|| ocsf::parse(line))
    }

    /// How many events the line stands for.
    pub fn count(&self) -> u64 {
        self.suppressed.unwrap_or(1)
    }
}

/// Where a reading stands: in which file, and before which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    inode: u64,
    mark: u64,
    end: u64,
}

impl Place {
    /// As bytes, for a cursor.
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        for (part, value) in bytes
            .chunks_exact_mut(8)
            .zip([self.inode, self.mark, self.end])
        {
            part.copy_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// From bytes; `None` for those of no place.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 24] = bytes.try_into().ok()?;
        let mut parts = bytes.chunks_exact(8).filter_map(|part| part.first_chunk());
        let mut next = || parts.next().copied().map(u64::from_be_bytes);
        Some(Self {
            inode: next()?,
            mark: next()?,
            end: next()?,
        })
    }
}

/// A reading of a log backwards.
pub struct Past {
    /// The files not read to their beginning, the oldest first.
    files: Vec<Backwards>,
    read: u64,
}

impl Past {
    /// Opens the log at `path` with what was set aside of it, at its end or at a place. Where the
    /// place's file is gone, what is older is gone too: nothing is read.
    pub(super) fn open(path: &Path, from: Option<Place>) -> io::Result<Self> {
        let mut files: Vec<Backwards> = Vec::new();
        let paths = std::iter::once(path.to_owned()).chain((1..MOST_ASIDE).map(|n| aside(path, n)));
        for (number, path) in paths.enumerate() {
            let file = match File::open(path) {
                Ok(file) => file,
                // There is no file while a rotation puts the next one in its place.
                Err(error) if error.kind() == ErrorKind::NotFound && number == 0 => continue,
                Err(error) if error.kind() == ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            let file = Backwards::open(file)?;
            // One that was set aside while the files were being opened is met twice.
            if files.iter().all(|known| known.inode != file.inode) {
                files.push(file);
            }
        }
        if let Some(place) = from {
            let same = |file: &Backwards| (file.inode, file.mark) == (place.inode, place.mark);
            let at = files.iter().position(same).unwrap_or(files.len());
            files.drain(..at);
            if let Some(file) = files.first_mut() {
                file.start = file.start.min(place.end);
            }
        }
        files.reverse();
        Ok(Self { files, read: 0 })
    }

    /// The line before the one that was given last, without its end; `None` at the beginning of
    /// the oldest file.
    pub fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(file) = self.files.last_mut() {
            if let Some(line) = file.line(&mut self.read)? {
                return Ok(Some(line));
            }
            self.files.pop();
        }
        Ok(None)
    }

    /// Where it stands: a reading from here gives the lines that this one has not given.
    pub fn place(&self) -> Option<Place> {
        self.files.last().map(Backwards::place)
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }
}

/// A file read from its end.
struct Backwards {
    file: File,
    inode: u64,
    mark: u64,
    /// Where `buffer` begins in the file.
    start: u64,
    /// What was read and not given; it ends with a line's end.
    buffer: Vec<u8>,
}

impl Backwards {
    fn open(mut file: File) -> io::Result<Self> {
        let inode = file.metadata()?.ino();
        let start = end_of_whole_lines(&mut file)?;
        let mark = mark(&mut file)?;
        Ok(Self {
            file,
            inode,
            mark,
            start,
            buffer: Vec::new(),
        })
    }

    fn place(&self) -> Place {
        let length = u64::try_from(self.buffer.len()).unwrap_or(0);
        Place {
            inode: self.inode,
            mark: self.mark,
            end: self.start + length,
        }
    }

    fn line(&mut self, read: &mut u64) -> io::Result<Option<Vec<u8>>> {
        loop {
            let before = self.buffer.split_last().map(|(_, before)| before);
            let end = before.and_then(|text| text.iter().rposition(|byte| *byte == b'\n'));
            if let Some(end) = end {
                return Ok(Some(self.take(end + 1)));
            }
            // A line of no end is given in pieces, which are none of ours.
            if self.start == 0 || self.buffer.len() > LONGEST {
                let rest = (!self.buffer.is_empty()).then(|| self.take(0));
                return Ok(rest);
            }
            self.extend(read)?;
        }
    }

    /// Takes what comes from `at` on, without the line end that closes it.
    fn take(&mut self, at: usize) -> Vec<u8> {
        let mut line = self.buffer.split_off(at);
        line.pop();
        line
    }

    /// Reads what lies before the buffer.
    fn extend(&mut self, read: &mut u64) -> io::Result<()> {
        let begin = self.start.saturating_sub(STEP);
        let mut piece = Vec::new();
        self.file.seek(SeekFrom::Start(begin))?;
        (&self.file)
            .take(self.start - begin)
            .read_to_end(&mut piece)?;
        *read += self.start - begin;
        self.start = begin;
        piece.append(&mut self.buffer);
        self.buffer = piece;
        Ok(())
    }
}

/// What tells a file from another that got its inode: its first line, which never changes.
fn mark(file: &mut File) -> io::Result<u64> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    (&*file).take(MARK).read_to_end(&mut head)?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    hasher.write(line);
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(dir: &Path, from: Option<Place>) -> Past {
        Past::open(&dir.join("a.log"), from).unwrap()
    }

    fn write(dir: &Path, name: &str, text: &str) {
        std::fs::write(dir.join(name), text).unwrap();
    }

    fn rest(past: &mut Past) -> Vec<String> {
        std::iter::from_fn(|| past.line().unwrap())
            .map(|line| String::from_utf8(line).unwrap())
            .collect()
    }

    proptest! {
        // Few cases: some lines are longer than what is read at a time.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gives_every_whole_line_backwards_and_goes_on_at_any_place(
            files in prop::collection::vec(prop::collection::vec("[a-z]{0,9}|x{70000}", 0..6), 1..4),
            left_at in 0_usize..12,
            torn in "[a-z]{0,5}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            for (number, lines) in files.iter().enumerate() {
                let name = if number == 0 { "a.log".to_owned() } else { format!("a.log.{number}") };
                let mut text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
                if number == 0 {
                    text.push_str(&torn);
                }
                write(dir.path(), &name, &text);
            }
            let expected: Vec<String> = files.iter().flat_map(|lines| lines.iter().rev()).cloned().collect();
            let mut past = open(dir.path(), None);
            let mut found = Vec::new();
            while found.len() < left_at {
                let Some(line) = past.line().unwrap() else { break };
                found.push(String::from_utf8(line).unwrap());
            }
            if let Some(place) = past.place() {
                let place = Place::from_bytes(&place.to_bytes()).unwrap();
                found.extend(rest(&mut open(dir.path(), Some(place))));
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn goes_on_where_it_was_after_the_files_were_rotated() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.log", "4\n5\n");
        write(dir.path(), "a.log.1", "1\n2\n3\n");
        let mut past = open(dir.path(), None);
        assert_eq!(past.line().unwrap().unwrap(), b"5");
        let place = past.place();
        for (from, to) in [("a.log.1", "a.log.2"), ("a.log", "a.log.1")] {
            std::fs::rename(dir.path().join(from), dir.path().join(to)).unwrap();
        }
        write(dir.path(), "a.log", "6\n");
        assert_eq!(rest(&mut open(dir.path(), place)), ["4", "3", "2", "1"]);
        // Its file fell off, and another may have its inode by now.
        std::fs::remove_file(dir.path().join("a.log.1")).unwrap();
        write(dir.path(), "a.log.1", "7\n8\n");
        assert_eq!(rest(&mut open(dir.path(), place)), Vec::<String>::new());
    }

    #[test]
    fn a_line_without_end_is_given_in_pieces_and_what_is_before_it_whole() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(3 * LONGEST);
        write(dir.path(), "a.log", &format!("first\n{long}\nlast\n"));
        let mut past = open(dir.path(), None);
        let found = rest(&mut past);
        assert_eq!(
            (&*found[0], found.last().unwrap().as_str()),
            ("last", "first")
        );
        assert!(found.iter().all(|line| line.len() <= LONGEST + 65_536));
    }
}
