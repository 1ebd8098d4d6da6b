//! Parts of an embedded store, for the tests of the engine above it.

use std::{path::Path, sync::Arc};

use ems_core::time::Timestamp;
use ems_crypto::keyring::RootKey;

use super::{open_keys, tables::Tables, vfs::Ground};
use crate::{
    Result,
    readings::{disk::Disk, keys::KeyTree},
};

/// The key tree of a directory.
pub(crate) fn keys(dir: &Path, root: &RootKey, now: Timestamp) -> Result<KeyTree> {
    open_keys(&Ground::real(), dir, root.clone(), now)
}

/// The rows of a directory.
pub(crate) fn disk(dir: &Path, keys: &Arc<KeyTree>) -> Disk {
    let tables = Tables::open(&Ground::real(), dir).unwrap();
    Disk::open(Arc::new(tables), Arc::clone(keys)).unwrap()
}
