//! What can go wrong in a store, by what the caller can do about it.

use std::{io, path::PathBuf};

/// A store's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record was not at the revision that the change expected. Nothing was applied.
    #[error("the {table} record was changed by another")]
    Conflict {
        /// The table of the record.
        table: &'static str,
    },
    /// The name of a request that may be sent again was another's. Nothing was applied.
    #[error("the name of the request is another's")]
    NameTaken,
    /// The store takes no writes: it is closing, full, or a write failed before. Nothing of this
    /// batch was applied.
    #[error("the store takes no writes: {0}")]
    Unavailable(String),
    /// Something stored failed to open: it was damaged, moved, swapped, or cut.
    #[error("damaged: {place}: {why}")]
    Damaged {
        /// What it is and where it lies; no name of a meter or person.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// Another process holds the directory.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// A file was written by another version.
    #[error("{place} has format {found}; this version reads format {known}")]
    Version {
        /// The file.
        place: String,
        /// Its format.
        found: u16,
        /// The format read here.
        known: u16,
    },
    /// What the store is to stand on must not be used.
    #[error("{0}")]
    Refused(String),
    /// The operating system refused.
    #[error("{place}: {source}")]
    Io {
        /// The file.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// The engine failed.
    #[error("engine: {0}")]
    Engine(String),
    /// A key could not be had.
    #[error(transparent)]
    Key(#[from] ems_crypto::Error),
}

/// A store's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(place: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let place = place.into();
        move |source| Self::Io { place, source }
    }

    pub(crate) fn damaged(place: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged {
            place: place.into(),
            why: why.into(),
        }
    }
}
