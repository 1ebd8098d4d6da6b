//! Why a server could not start, or could not end well.

use std::{fmt, io};

use crate::config::ConfigErrors;

/// An error of this crate, outside of requests.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are not sound.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// A combination that cannot work, said so that it can be mended.
    #[error("{0}")]
    Usage(String),
    /// The store could not be opened or closed.
    #[error(transparent)]
    Store(#[from] ems_store::Error),
    /// A log could not be opened.
    #[error(transparent)]
    Guard(#[from] ems_guard::Error),
    /// A certificate could not be used.
    #[error(transparent)]
    Crypto(#[from] ems_crypto::Error),
    /// An address could not be bound, or a file could not be made.
    #[error("{place}: {source}")]
    Io {
        /// Which.
        place: String,
        /// Why.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(place: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            place: place.to_string(),
            source,
        }
    }

    /// Whether another process holds the store.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Store(ems_store::Error::InUse(_)))
    }
}
