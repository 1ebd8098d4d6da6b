//! Moving an instance's data into another instance. No other server may run on either side; the one
//! on the source may be ours, which then serves reads meanwhile.

use std::sync::Arc;

use ems_core::clock::Clock;
use ems_crypto::{api_key::Pepper, hash::constant_time_eq};
use ems_store::{Store, migrate};

use crate::{Error, Result, app::SystemClock, config::Loaded, serve::Server, store::Place};

pub use ems_store::migrate::{Content, Moved, Progress, Step, Watch};

/// One of the two instances: its store, open, and what its pepper is known by.
pub struct Side {
    store: Store,
    pepper: Mark,
}

/// What a pepper is known by.
#[derive(Clone, Copy)]
pub struct Mark([u8; 32]);

impl Mark {
    /// That of some settings.
    pub fn of(loaded: &Loaded) -> Self {
        let pepper: &Pepper = &loaded.secrets.pepper;
        Self(pepper.derive("migration").hash("pepper", b""))
    }
}

impl Side {
    /// Opens the store of an instance. To be called within a runtime.
    ///
    /// # Errors
    /// [`Error::Store`], also where a server has the store open.
    pub fn open(loaded: Loaded) -> Result<Self> {
        let pepper = Mark::of(&loaded);
        let clock = Arc::new(SystemClock);
        let place = Place::of(&loaded.settings, &loaded.secrets);
        let store = place.open(loaded.secrets.root_key, clock)?;
        Ok(Self { store, pepper })
    }

    /// The store of a server, from now on with its readings and meters held as they are: what would
    /// change them is answered 503.
    pub fn served(server: &Server, pepper: Mark) -> Self {
        let app = server.app();
        app.frozen.freeze();
        let store = app.store.clone();
        Self { store, pepper }
    }

    /// Closes it.
    ///
    /// # Errors
    /// [`Error::Store`]; what was moved is durable all the same.
    pub async fn close(&self) -> Result<()> {
        Ok(self.store.commit.close().await?)
    }
}

/// Moves the readings, as [`migrate::readings`] says.
///
/// # Errors
/// [`Error::Usage`] where the target would not know the source's API keys; [`Error::Store`].
pub async fn readings(source: &Side, target: &Side, watch: Watch<'_>) -> Result<Moved> {
    if !constant_time_eq(&source.pepper.0, &target.pepper.0) {
        let why = "the target has another pepper, under which no API key of the source would be \
                   known: give it the source's (auth.pepper_file)";
        return Err(Error::Usage(why.into()));
    }
    Ok(migrate::readings(&source.store, &target.store, watch).await?)
}

/// Moves all else, as [`migrate::rest`] says; of a server, once that has stopped.
///
/// # Errors
/// [`Error::Store`].
pub async fn rest(source: &Side, target: &Side, moved: Moved, watch: Watch<'_>) -> Result<Moved> {
    let clock: &dyn Clock = &SystemClock;
    let stores = (&source.store, &target.store);
    Ok(migrate::rest(stores, moved, clock, watch).await?)
}
