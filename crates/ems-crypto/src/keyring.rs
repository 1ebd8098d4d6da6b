//! The pure part of the key tree: the root key, key-encryption keys by page, journal keys, and the
//! sealed form of the keyring. Files are the store's business.

mod envelope;
mod ring;

use std::{fmt, path::Path};

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

pub use self::ring::{Destroyed, Keyring, RootChange};
use crate::{
    Error, Result,
    seal::{DataKey, Sealer},
    secret_file::{NOT_THE_WORLD, OWNER_ALONE, read_guarded, write_new_secret_file},
};

/// The key at the root of the tree. It seals the keyring and nothing else.
#[derive(Clone)]
pub struct RootKey(DataKey);

impl RootKey {
    /// A new random root key.
    pub fn generate() -> Self {
        Self(DataKey::generate())
    }

    /// Reads a root key: 64 hex digits, or 32 bytes in Base64; white space around it is ignored.
    ///
    /// # Errors
    /// [`Error::Form`]: nothing of the text is repeated.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim().as_bytes();
        let bytes = HEXLOWER_PERMISSIVE
            .decode(text)
            .or_else(|_| BASE64.decode(text))
            .map(Zeroizing::new);
        let bytes = bytes
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        bytes
            .map(|bytes| Self(DataKey::from_bytes(bytes)))
            .ok_or(Error::Form(
                "a root key is 64 hex digits, or 32 bytes in Base64",
            ))
    }

    /// Reads a root key from a file that is its owner's alone.
    ///
    /// # Errors
    /// [`Error::Mode`], [`Error::Io`], [`Error::Form`].
    pub fn from_file(path: &Path) -> Result<Self> {
        Self::read(path, OWNER_ALONE)
    }

    /// Reads a root key from systemd's credentials directory (`$CREDENTIALS_DIRECTORY`), which
    /// systemd keeps private. The access list by which it lets the service in may show as
    /// permissions of the group; those of the world are refused.
    ///
    /// # Errors
    /// As [`RootKey::from_file`]; [`Error::Form`] for a name that leads out of the directory.
    pub fn from_credential(directory: &Path, name: &str) -> Result<Self> {
        if name.contains('/') || matches!(name, "" | "." | "..") {
            return Err(Error::Form("a credential's name is a plain file name"));
        }
        Self::read(&directory.join(name), NOT_THE_WORLD)
    }

    fn read(path: &Path, forbidden: u32) -> Result<Self> {
        let bytes = read_guarded(path, forbidden)?;
        let text = std::str::from_utf8(&bytes);
        Self::parse(text.map_err(|_| Error::Form("a root key file is text"))?)
    }

    /// Writes the key as hex to a new file of mode 0600; durable when it returns.
    ///
    /// # Errors
    /// [`Error::Io`], also where the file exists.
    pub fn write_new(&self, path: &Path) -> Result<()> {
        let hex = Zeroizing::new(HEXLOWER_PERMISSIVE.encode(self.0.expose()));
        let line = Zeroizing::new([hex.as_str(), "\n"].concat());
        write_new_secret_file(path, line.as_bytes())
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(…)")
    }
}

/// A key-encryption key: wraps the data keys of one page.
#[derive(Clone)]
pub struct Kek(DataKey);

impl Kek {
    /// Wraps a data key for its place.
    pub fn wrap(&self, place: &[u8], key: &DataKey) -> Vec<u8> {
        Sealer::new(&self.0).seal(place, key.expose())
    }

    /// Unwraps a data key of a place.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<DataKey> {
        let bytes = Zeroizing::new(Sealer::new(&self.0).open(place, wrapped)?);
        <[u8; 32]>::try_from(bytes.as_slice())
            .map(DataKey::from_bytes)
            .map_err(|_| Error::Open)
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(…)")
    }
}

#[cfg(test)]
mod tests;
