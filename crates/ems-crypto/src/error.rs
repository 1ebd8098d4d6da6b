//! What can go wrong, without a detail that would help an attacker.

use std::{io, path::PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A sealed value did not open: it was damaged, moved, or sealed under another key.
    #[error("a sealed value does not open")]
    Open,
    /// The root key does not belong to this keyring.
    #[error("the root key does not belong to this keyring, or the keyring is damaged")]
    Root,
    /// A keyring was written by another version.
    #[error("the keyring has format {0}; this version reads format 2")]
    Version(u16),
    /// A key or secret has not the form it should.
    #[error("{0}")]
    Form(&'static str),
    /// A secret file can be read or changed by others.
    #[error("{path} has mode {mode:03o}: a secret is readable by its owner alone (chmod 600)")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate or its key is unfit.
    #[error("{path}: {why}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A library refused.
    #[error("{0}")]
    Library(String),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
