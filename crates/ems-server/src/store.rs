//! The store that the settings name: opened, verified, initialised. What differs between the backends
//! is known here alone.

use std::sync::Arc;

use ems_core::clock::Clock;
use ems_crypto::{hash::IndexKey, keyring::RootKey};
use ems_store::{
    Report, Store, Watch, embedded,
    mongo::{self, Address},
    shared::{RedisOptions, RedisShared},
};

use crate::{
    Error, Result,
    config::{Loaded, Secrets, Settings},
    metrics::Metrics,
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

/// What the key of keys in Redis is derived for.
pub(crate) const SHARED_KEYS: &str = "shared keys";

/// Puts the state of the moment into Redis where the settings name one. Keys are named under `key`.
///
/// # Errors
/// [`Error::Usage`] where it cannot be used.
pub(crate) fn share(
    store: Store,
    settings: &Settings,
    key: IndexKey,
    metrics: &Metrics,
) -> Result<Store> {
    let Some(url) = &settings.shared.redis_url else {
        return Ok(store);
    };
    let shared = RedisShared::connect(RedisOptions {
        url: url.expose().to_owned(),
        ca_file: settings.shared.ca_file.clone(),
        key,
        figures: Arc::new(metrics.clone()),
    });
    let shared = Arc::new(shared.map_err(refused)?);
    Ok(Store { shared, ..store })
}

/// Whether the state of the moment can be in Redis now, where the settings name one.
pub(crate) fn can_share(loaded: &Loaded) -> bool {
    let Some(url) = &loaded.settings.shared.redis_url else {
        return true;
    };
    let tried = RedisShared::connect(RedisOptions {
        url: url.expose().to_owned(),
        ca_file: loaded.settings.shared.ca_file.clone(),
        key: loaded.secrets.pepper.derive(SHARED_KEYS),
        figures: Arc::new(Metrics::new()),
    });
    if let Err(error) = &tried {
        tracing::warn!(%error, "done without Redis: what it holds of bans stays there");
    }
    tried.is_ok()
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
