//! The store that the settings name: opened, verified, initialised. What differs between the backends
//! is known here alone.

use std::sync::Arc;

use ems_core::clock::Clock;
use ems_crypto::keyring::RootKey;
use ems_store::{
    Report, Store, Watch, embedded,
    mongo::{self, Address},
};

use crate::{
    Error, Result,
    config::{Secrets, Settings},
};

/// What a database says whose keyring another root key opens.
const OTHERS: &str = "the database is another instance's: the root key of store.root_key_file does not \
                      open the keyring in the database of store.mongo_uri";

/// Where a store lies, and its bounds.
pub(crate) enum Place {
    /// In directories of this process.
    Embedded(embedded::Options),
    /// In a database that several processes share.
    Mongo(mongo::Options),
}

impl Place {
    /// The place that the settings name.
    pub(crate) fn of(settings: &Settings, secrets: &Secrets) -> Self {
        let store = &settings.store;
        match &secrets.database {
            Some(address) => Self::Mongo(mongo_options(settings, address.clone())),
            None => Self::Embedded(embedded::Options {
                data_dir: store.dir.clone(),
                keyring_dir: store.keyring_dir.clone(),
                journal_bytes: store.checkpoint_bytes.get(),
                key_cache_bytes: store.key_cache_bytes.get(),
                reserve_bytes: store.reserve_bytes.get(),
            }),
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`Error::Usage`] where the settings name what must not be used; [`Error::Store`].
    pub(crate) fn open(self, root: RootKey, clock: Arc<dyn Clock>) -> Result<Store> {
        match self {
            Self::Embedded(options) => Ok(embedded::open(options, root, clock)?),
            Self::Mongo(options) => mongo::open(options, root, clock).map_err(refused),
        }
    }

    /// Reads and authenticates everything in it. An embedded one must not be in use.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn verify(
        self,
        root: RootKey,
        clock: Arc<dyn Clock>,
        watch: Watch<'_>,
    ) -> Result<Report> {
        match self {
            Self::Embedded(options) => Ok(embedded::verify(options, root, clock, watch)?),
            Self::Mongo(options) => mongo::verify(options, root, clock, watch).map_err(refused),
        }
    }
}

/// Makes the collections and keys of a database, at an address of its owner.
///
/// # Errors
/// As [`Place::open`].
pub(crate) fn init(
    settings: &Settings,
    owner: Address,
    root: RootKey,
    clock: &Arc<dyn Clock>,
) -> Result<()> {
    mongo::init(&mongo_options(settings, owner), root, clock).map_err(refused)
}

fn mongo_options(settings: &Settings, uri: Address) -> mongo::Options {
    mongo::Options {
        uri,
        journal_bytes: settings.store.checkpoint_bytes.get(),
        key_cache_bytes: settings.store.key_cache_bytes.get(),
    }
}

/// What the operator can mend is said as such.
fn refused(error: ems_store::Error) -> Error {
    match error {
        ems_store::Error::Refused(why) => Error::Usage(why),
        ems_store::Error::Key(ems_crypto::Error::Root) => Error::Usage(OTHERS.into()),
        other => other.into(),
    }
}
