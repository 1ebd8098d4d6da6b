//! The keyring's file: read once, written anew and synced at each change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ems_crypto::keyring::{Keyring, RootKey};

use crate::{
    Error, Result,
    embedded::{
        journal::sync_dir,
        vfs::{Mode, Vfs},
    },
};

/// Where the keyring lies.
pub(super) struct RingFile {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
}

impl RingFile {
    pub(super) fn new(vfs: &Arc<dyn Vfs>, dir: &Path) -> Self {
        Self {
            vfs: Arc::clone(vfs),
            dir: dir.to_owned(),
        }
    }

    /// The keyring; `None` where there is no file. What a crash left half written beside it goes.
    pub(super) fn read(&self, root: &RootKey) -> Result<Option<Keyring>> {
        let (new, file) = self.names();
        if self.vfs.exists(&new) {
            self.vfs.remove(&new).map_err(Error::io("keyring.new"))?;
        }
        if !self.vfs.exists(&file) {
            return Ok(None);
        }
        let bytes = self.vfs.read(&file).map_err(Error::io("keyring"))?;
        Ok(Some(Keyring::decode(&bytes, root)?))
    }

    /// Writes the keyring beside the old one, syncs it, and puts it in the old one's place.
    pub(super) fn write(&self, ring: &Keyring) -> Result<()> {
        let (new, file) = self.names();
        self.vfs
            .open(&new, Mode::Fresh)
            .and_then(|out| out.write_at(&ring.encode(), 0).map(|()| out))
            .and_then(|out| out.sync_all())
            .map_err(Error::io("keyring.new"))?;
        self.vfs.rename(&new, &file).map_err(Error::io("keyring"))?;
        sync_dir(self.vfs.as_ref(), &self.dir)
    }

    fn names(&self) -> (PathBuf, PathBuf) {
        (self.dir.join("keyring.new"), self.dir.join("keyring"))
    }
}
