//! Alerts that wait, kept over a restart: lines of JSON that say what waits and what is gone,
//! synced. Rewritten when most of it is gone, so that it stays small. What cannot be sent in the end
//! goes to a file of dead letters, which is bounded too.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, rename},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use ems_crypto::random::base62;
use ems_guard::alert::Alert;
use serde::{Deserialize, Serialize};

const NAME: &str = "alerts.spool";
/// The size from which it is rewritten, if half of it is gone.
const LARGE: usize = 256 * 1024;
/// The size from which dead letters are set aside; one such file is kept.
const DEAD_BYTES: u64 = 4 << 20;
/// Its owner's alone: alerts name people.
const MODE: u32 = 0o600;

/// An alert on its way to one channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// The same over all tries.
    pub(super) id: String,
    pub(super) channel: String,
    /// When it came into being, in seconds since 1970.
    pub(super) born: i64,
    pub(super) alert: Alert,
}

impl Waiting {
    pub(super) fn new(channel: &str, born: i64, alert: Alert) -> Self {
        Self {
            id: base62(22),
            channel: channel.to_owned(),
            born,
            alert,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Waits(Waiting),
    Gone(String),
}

/// The file of what waits.
pub(super) struct Spool {
    path: PathBuf,
    file: File,
    waiting: BTreeMap<String, Waiting>,
    bytes: usize,
}

impl Spool {
    /// Opens the file of a directory, and reads what waits. A line that a crash cut short was never
    /// synced, so it is nobody's loss.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut waiting = BTreeMap::new();
        for line in text.split(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Line::Waits(it)) => drop(waiting.insert(it.id.clone(), it)),
                Ok(Line::Gone(id)) => drop(waiting.remove(&id)),
                Err(_) => {}
            }
        }
        let (file, bytes) = rewrite(&path, &waiting)?;
        Ok(Self {
            path,
            file,
            waiting,
            bytes,
        })
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    /// Adds one; it is durable when this returns.
    pub(super) fn add(&mut self, waiting: &Waiting) -> io::Result<()> {
        self.waiting.insert(waiting.id.clone(), waiting.clone());
        self.append(&Line::Waits(waiting.clone()))
    }

    /// Lets one go.
    pub(super) fn remove(&mut self, id: &str) -> io::Result<()> {
        if self.waiting.remove(id).is_none() {
            return Ok(());
        }
        if self.bytes > LARGE && self.bytes > 1024 * self.waiting.len() {
            (self.file, self.bytes) = rewrite(&self.path, &self.waiting)?;
            return Ok(());
        }
        self.append(&Line::Gone(id.to_owned()))
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        if let Err(error) = self.file.write_all(&bytes) {
            // Half a line, as a full disk leaves it, would spoil the next.
            self.file
                .set_len(u64::try_from(self.bytes).unwrap_or(u64::MAX))?;
            return Err(error);
        }
        self.bytes += bytes.len();
        self.file.sync_data()
    }
}

/// Writes the file anew; it takes the old one's place whole or not at all.
fn rewrite(path: &Path, waiting: &BTreeMap<String, Waiting>) -> io::Result<(File, usize)> {
    let mut text = Vec::new();
    for it in waiting.values() {
        serde_json::to_writer(&mut text, &Line::Waits(it.clone()))?;
        text.push(b'\n');
    }
    replace(path, &text)?;
    let file = OpenOptions::new().append(true).open(path)?;
    Ok((file, text.len()))
}

/// Puts a file with this content in the place of another, durably; it is its owner's alone.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // Added to the whole name: names that differ in their last part alone are others' files.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(MODE);
    let mut file = options.open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    rename(&beside, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Adds a line to a file of dead letters.
pub(super) fn bury(path: &Path, letter: &impl Serialize) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.append(true).create(true).mode(MODE);
    let mut file = options.open(path)?;
    if file.metadata()?.len() > DEAD_BYTES {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        rename(path, aside)?;
        file = options.open(path)?;
    }
    let mut line = serde_json::to_vec(letter)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use ems_core::time::Timestamp;

    use super::*;

    fn waiting(channel: &str) -> Waiting {
        Waiting::new(channel, 7, Alert::test(Timestamp::MIN, "ada"))
    }

    #[test]
    fn what_waits_comes_back_and_what_is_gone_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (waiting("a"), waiting("b"));
        let mut spool = Spool::open(dir.path()).unwrap();
        spool.add(&one).unwrap();
        spool.add(&two).unwrap();
        spool.remove(&one.id).unwrap();
        drop(spool);
        // A crash in the middle of a line.
        let path = dir.path().join(NAME);
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"waits\":{\"id\":\"x\"");
        fs::write(&path, text).unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        assert_eq!(spool.waiting().collect::<Vec<_>>(), [&two]);
        let three = waiting("c");
        spool.add(&three).unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        assert_eq!(spool.waiting().count(), 2);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn it_stays_small_however_many_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(dir.path()).unwrap();
        for _ in 0..1500 {
            let it = waiting("a");
            spool.add(&it).unwrap();
            spool.remove(&it.id).unwrap();
        }
        assert!(fs::metadata(dir.path().join(NAME)).unwrap().len() < 300 * 1024);
    }

    #[test]
    fn dead_letters_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.dead");
        for _ in 0..7 {
            bury(&path, &"x".repeat(1 << 20)).unwrap();
        }
        let size = |name: &str| fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size("x.dead") < DEAD_BYTES && size("x.dead.1") < DEAD_BYTES + (2 << 20));
    }
}
