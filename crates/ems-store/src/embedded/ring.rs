//! The keyring's file: read once, written anew and synced at each change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ems_crypto::keyring::{Keyring, RootKey};

use super::{
    journal::sync_dir,
    vfs::{Mode, Vfs},
};
use crate::{Error, Result, readings::keys::place::RingPlace};

/// Where the keyring lies.
pub(crate) struct RingFile {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
}

impl RingFile {
    pub(crate) fn new(vfs: &Arc<dyn Vfs>, dir: &Path) -> Self {
        Self {
            vfs: Arc::clone(vfs),
            dir: dir.to_owned(),
        }
    }

    fn names(&self) -> (PathBuf, PathBuf) {
        (self.dir.join("keyring.new"), self.dir.join("keyring"))
    }
}

impl RingPlace for RingFile {
    /// What a crash left half written beside it goes.
    fn read(&self, root: &RootKey) -> Result<Option<Keyring>> {
        let (new, file) = self.names();
        if self.vfs.exists(&new) {
            self.vfs.remove(&new).map_err(Error::io("keyring.new"))?;
        }
        if !self.vfs.exists(&file) {
            return Ok(None);
        }
        let bytes = self.vfs.read(&file).map_err(Error::io("keyring"))?;
        let ring = Keyring::decode(&bytes, root)?;
        // A killed process may have put it in place and not synced the directory: what is sealed from
        // now on must not be left without its key by a power cut.
        let opened = self.vfs.open(&file, Mode::Existing);
        let synced = opened.and_then(|file| file.sync_all());
        synced.map_err(Error::io("keyring"))?;
        sync_dir(self.vfs.as_ref(), &self.dir)?;
        Ok(Some(ring))
    }

    /// Writes the keyring beside the old one, syncs it, and puts it in the old one's place.
    fn write(&self, ring: &Keyring, _before: Option<u64>) -> Result<bool> {
        let (new, file) = self.names();
        self.vfs
            .open(&new, Mode::Fresh)
            .and_then(|out| out.write_at(&ring.encode(), 0).map(|()| out))
            .and_then(|out| out.sync_all())
            .map_err(Error::io("keyring.new"))?;
        self.vfs.rename(&new, &file).map_err(Error::io("keyring"))?;
        sync_dir(self.vfs.as_ref(), &self.dir)?;
        Ok(true)
    }

    fn newer(&self, _than: u64) -> Result<Option<Keyring>> {
        // The directory is one process's.
        Ok(None)
    }

    fn settled(&self, _root: &RootKey) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::vfs::simulated::{Operation, Plan, SimulatedDisk, Trouble};

    fn file(disk: &SimulatedDisk) -> RingFile {
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        RingFile::new(&vfs, Path::new("/keys"))
    }

    #[test]
    fn what_a_start_has_read_no_later_power_cut_takes_back() {
        let root = RootKey::generate();
        for seed in 0..32 {
            let mut disk = SimulatedDisk::new(seed);
            let mut ring = Keyring::new(&root, 0);
            file(&disk).write(&ring, None).unwrap();
            ring.add_journal_key(1);
            disk.plan(Some(Plan {
                trouble: Trouble::Fail,
                suffix: "/keys",
                operation: Some(Operation::Sync),
                after: 0,
            }));
            assert!(
                file(&disk).write(&ring, None).is_err(),
                "its name is not synced"
            );
            disk.restart();
            let read = |disk: &SimulatedDisk| file(disk).read(&root).unwrap().unwrap().generation();
            assert_eq!(read(&disk), ring.generation(), "a kill: it is seen");
            disk.cut();
            disk.restart();
            assert_eq!(read(&disk), ring.generation(), "and stays, seed {seed}");
        }
    }
}
