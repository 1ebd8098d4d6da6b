//! A disk in memory for the tests: it keeps what was synced apart from what was only written, and
//! loses, tears and reorders the rest when its power is cut. All of it follows from a seed.
//!
//! - A cut keeps, of each file, any subset of the unsynced sectors (512 bytes), and of each
//!   directory's unsynced changes the first few: the order in which a file system's own journal
//!   brings them to disk.
//! - A failed sync leaves each sector durable or not; the page cache goes on to show all of them as
//!   if they were, and a later sync has nothing more to write.
//! - A full disk fails the write that needs another block of 4 KiB; a hole costs nothing.
//!
//! The dice are thrown when something is lost, so which threads ran when matters only for what was
//! unsynced at that moment.

mod dice;
mod inode;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fmt::Debug,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use redb::StorageBackend;

pub(crate) use self::dice::Dice;
use self::inode::Inode;
use super::{File, Mode, Vfs};

pub(crate) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

pub(crate) fn narrow(count: u64) -> usize {
    usize::try_from(count).unwrap()
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The power is cut: this operation and all later ones fail, until the disk is started again.
    Cut,
    /// This operation fails, once.
    Fail,
}

/// An operation by its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Read,
    Write,
    Sync,
    Name,
}

/// When something goes wrong: at the `after`-th operation from now of those that match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) trouble: Trouble,
    /// Only operations on files whose name ends so.
    pub(crate) suffix: &'static str,
    /// Only of this kind; reads are counted only where they are named.
    pub(crate) operation: Option<Operation>,
    pub(crate) after: u64,
}

/// The disk, as one run of a process sees it: what was cloned before a restart is dead after it.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    epoch: u64,
}

#[derive(Debug)]
struct State {
    dice: Dice,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    locks: HashSet<PathBuf>,
    /// Grows at each cut: handles of before are dead.
    epoch: u64,
    cut: bool,
    /// Whether the power was cut since it was last asked.
    cuts: bool,
    plan: Option<Plan>,
    /// Whether something went wrong since it was last asked.
    troubled: bool,
    /// Bytes that fit.
    capacity: u64,
    /// What [`Vfs::room`] says, where it is not the truth.
    told_room: Option<u64>,
    read: BTreeMap<PathBuf, BTreeSet<u64>>,
}

/// The unit of what was read.
pub(crate) const READ_UNIT: u64 = 64;

/// An unsynced change of names: what each of them led to after it.
#[derive(Debug, Clone)]
struct Change(Vec<(PathBuf, Option<usize>)>);

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, BTreeMap::new())
    }

    /// A disk on which these files are durable.
    pub(crate) fn of(seed: u64, files: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        let (paths, contents): (Vec<_>, Vec<_>) = files.into_iter().unzip();
        let names: BTreeMap<PathBuf, usize> = paths.into_iter().zip(0..).collect();
        let state = State {
            dice: Dice::new(seed),
            inodes: contents.into_iter().map(Inode::of).collect(),
            durable_names: names.clone(),
            names,
            changes: Vec::new(),
            locks: HashSet::new(),
            epoch: 0,
            cut: false,
            cuts: false,
            plan: None,
            troubled: false,
            capacity: u64::MAX,
            told_room: None,
            read: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            epoch: 0,
        }
    }

    /// The files as a process sees them now.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.state.lock();
        let content =
            |(path, inode): (&PathBuf, &usize)| (path.clone(), state.inodes[*inode].now.clone());
        state.names.iter().map(content).collect()
    }

    /// The pieces (of [`READ_UNIT`] bytes) of each file that were read.
    pub(crate) fn pieces_read(&self) -> BTreeMap<PathBuf, BTreeSet<u64>> {
        self.state.lock().read.clone()
    }

    pub(crate) fn plan(&self, plan: Option<Plan>) {
        self.state.lock().plan = plan;
    }

    /// Whether something went wrong since this was last asked.
    pub(crate) fn was_troubled(&self) -> bool {
        std::mem::take(&mut self.state.lock().troubled)
    }

    /// Bounds the disk at what is used now and some bytes more; `None`: no bound.
    pub(crate) fn bound(&self, more: Option<u64>, told: Option<u64>) {
        let mut state = self.state.lock();
        let used = state.used();
        state.capacity = more.map_or(u64::MAX, |more| used + more);
        state.told_room = told;
    }

    /// Cuts the power.
    pub(crate) fn cut(&self) {
        self.state.lock().cut_power();
    }

    /// Whether the power was cut since this was last asked.
    pub(crate) fn was_cut(&self) -> bool {
        std::mem::take(&mut self.state.lock().cuts)
    }

    /// Starts the machine again, after a cut or without one: the files are as the cut left them.
    /// Handles and locks of before are dead.
    pub(crate) fn restart(&mut self) {
        let mut state = self.state.lock();
        state.cut = false;
        state.plan = None;
        state.epoch += 1;
        self.epoch = state.epoch;
        state.locks.clear();
    }
}

impl State {
    fn used(&self) -> u64 {
        let live: BTreeSet<usize> = self.names.values().copied().collect();
        live.iter().map(|inode| self.inodes[*inode].used()).sum()
    }

    fn cut_power(&mut self) {
        if self.cut {
            return;
        }
        (self.cut, self.troubled, self.cuts) = (true, true, true);
        let kept = self.dice.below(wide(self.changes.len()) + 1);
        for change in self.changes.drain(..).take(narrow(kept)) {
            apply(&mut self.durable_names, &change);
        }
        self.names = self.durable_names.clone();
        for inode in &mut self.inodes {
            inode.lose(&mut self.dice);
        }
    }

    /// Lets an operation pass, or not.
    fn ask(&mut self, epoch: u64, path: &Path, operation: Operation) -> io::Result<()> {
        if self.cut || epoch != self.epoch {
            return Err(io::Error::other("the power is cut"));
        }
        let name = path.to_string_lossy();
        let Some(plan) = self.plan.as_mut().filter(|plan| {
            let kind = plan
                .operation
                .map_or(operation != Operation::Read, |kind| kind == operation);
            kind && name.ends_with(plan.suffix)
        }) else {
            return Ok(());
        };
        if plan.after > 0 {
            plan.after -= 1;
            return Ok(());
        }
        let trouble = plan.trouble;
        (self.plan, self.troubled) = (None, true);
        if trouble == Trouble::Cut {
            self.cut_power();
        }
        Err(io::Error::from_raw_os_error(5))
    }

    fn change(&mut self, change: Vec<(PathBuf, Option<usize>)>) {
        let change = Change(change);
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    fn inode(&self, path: &Path) -> io::Result<usize> {
        let found = self.names.get(path).copied();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn open(&mut self, path: &Path, mode: Mode) -> io::Result<usize> {
        match (self.inode(path), mode) {
            (Err(error), Mode::Existing) => Err(error),
            (Err(_), _) => {
                self.inodes.push(Inode::default());
                let inode = self.inodes.len() - 1;
                self.change(vec![(path.to_owned(), Some(inode))]);
                Ok(inode)
            }
            (Ok(inode), Mode::Fresh) => {
                self.inodes[inode].set_len(0);
                Ok(inode)
            }
            (Ok(inode), _) => Ok(inode),
        }
    }

    fn write(&mut self, inode: usize, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.capacity != u64::MAX {
            let free = self.capacity.saturating_sub(self.used());
            if self.inodes[inode].needs(bytes.len(), offset) > free {
                self.troubled = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        self.inodes[inode].write(bytes, offset);
        Ok(())
    }
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    for (path, inode) in &change.0 {
        match inode {
            Some(inode) => drop(names.insert(path.clone(), *inode)),
            None => drop(names.remove(path)),
        }
    }
}

impl Vfs for SimulatedDisk {
    fn make_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn File>> {
        Ok(Box::new(self.handle(path, mode)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let handle = self.handle(path, Mode::Existing)?;
        let mut bytes = vec![0; narrow(handle.length()?)];
        handle.read_at(0, &mut bytes)?;
        Ok(bytes)
    }

    fn exists(&self, path: &Path) -> bool {
        let state = self.state.lock();
        self.epoch != state.epoch || state.names.contains_key(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.ask(self.epoch, dir, Operation::Read)?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        Ok(inside.map(name).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.ask(self.epoch, to, Operation::Name)?;
        let inode = state.inode(from)?;
        state.change(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.ask(self.epoch, path, Operation::Name)?;
        state.inode(path)?;
        state.change(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.ask(self.epoch, dir, Operation::Sync)?;
        let of_dir = |change: &Change| change.0[0].0.parent() == Some(dir);
        let (synced, rest): (Vec<_>, Vec<_>) = state.changes.drain(..).partition(of_dir);
        synced
            .iter()
            .for_each(|change| apply(&mut state.durable_names, change));
        state.changes = rest;
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Debug + Send + Sync>>> {
        let handle = self.handle(path, Mode::Create)?;
        if !self.state.lock().locks.insert(path.to_owned()) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held(handle))))
    }

    fn room(&self, _: &Path) -> io::Result<u64> {
        let state = self.state.lock();
        let left = state.capacity.saturating_sub(state.used());
        Ok(state.told_room.unwrap_or(left))
    }

    fn backend(&self, path: &Path) -> io::Result<Box<dyn StorageBackend>> {
        Ok(Box::new(self.handle(path, Mode::Create)?))
    }
}

impl SimulatedDisk {
    fn handle(&self, path: &Path, mode: Mode) -> io::Result<Handle> {
        let mut state = self.state.lock();
        state.ask(self.epoch, path, Operation::Name)?;
        Ok(Handle {
            disk: self.clone(),
            path: path.to_owned(),
            inode: state.open(path, mode)?,
        })
    }
}

/// A file of the simulated disk that is open.
#[derive(Debug)]
struct Handle {
    disk: SimulatedDisk,
    path: PathBuf,
    inode: usize,
}

/// A file that is held.
#[derive(Debug)]
struct Held(Handle);

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.disk.state.lock();
        if state.epoch == self.0.disk.epoch {
            state.locks.remove(&self.0.path);
        }
    }
}

impl Handle {
    fn with<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        state.ask(self.disk.epoch, &self.path, operation)?;
        work(&mut state)
    }

    fn length(&self) -> io::Result<u64> {
        self.with(Operation::Read, |state| {
            Ok(wide(state.inodes[self.inode].now.len()))
        })
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(Operation::Read, |state| {
            let end = offset + wide(out.len());
            let pieces = state.read.entry(self.path.clone()).or_default();
            pieces.extend(offset / READ_UNIT..end.div_ceil(READ_UNIT));
            let found = state.inodes[self.inode]
                .now
                .get(narrow(offset)..narrow(end));
            let found = found.ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(found);
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let asked = state.ask(self.disk.epoch, &self.path, Operation::Sync);
        let State {
            inodes, dice, cut, ..
        } = &mut *state;
        match asked {
            Ok(()) => inodes[self.inode].sync(),
            Err(_) if !*cut => inodes[self.inode].fail_to_sync(dice),
            Err(_) => {}
        }
        asked
    }
}

impl File for Handle {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = self.length()?.saturating_sub(offset);
        let count = out.len().min(narrow(left));
        self.read_at(offset, &mut out[..count])?;
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(Operation::Write, |state| {
            state.write(self.inode, bytes, offset)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }
}

impl StorageBackend for Handle {
    fn len(&self) -> io::Result<u64> {
        self.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(Operation::Write, |state| {
            state.inodes[self.inode].set_len(len);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_at(data, offset)
    }
}
