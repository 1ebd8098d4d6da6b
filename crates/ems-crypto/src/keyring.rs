//! The pure part of the key tree: the root key, key-encryption keys by page, journal keys, and the
//! sealed form of the keyring. Files are the store's business.

use std::{collections::BTreeMap, fmt, path::Path};

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use crate::{
    Error, Result, random,
    seal::{DataKey, Sealer, aad},
    secret_file::{NOT_THE_WORLD, OWNER_ALONE, read_guarded, write_new_secret_file},
};

const MAGIC: &[u8; 8] = b"EMSKEYRG";
const FORMAT: u16 = 1;

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

/// All key-encryption keys and journal keys of an instance.
#[derive(Debug, Clone)]
pub struct Keyring {
    instance: [u8; 16],
    generation: u64,
    next_page: u32,
    pages: BTreeMap<u32, Kek>,
    journals: BTreeMap<u64, DataKey>,
}

impl Keyring {
    /// An empty keyring of a new instance.
    pub fn new() -> Self {
        Self {
            instance: random::bytes(),
            generation: 0,
            next_page: 0,
            pages: BTreeMap::new(),
            journals: BTreeMap::new(),
        }
    }

    /// The random name of the instance, bound into all that it seals.
    pub fn instance(&self) -> [u8; 16] {
        self.instance
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The key of a page.
    pub fn page(&self, page: u32) -> Option<&Kek> {
        self.pages.get(&page)
    }

    /// Makes keys for the next pages.
    pub fn add_pages(&mut self, count: u32) {
        self.generation += 1;
        for _ in 0..count {
            self.pages.insert(self.next_page, Kek(DataKey::generate()));
            self.next_page += 1;
        }
    }

    /// Destroys the key of a page, here.
    pub fn remove_page(&mut self, page: u32) {
        self.generation += 1;
        self.pages.remove(&page);
    }

    /// The key of a journal.
    pub fn journal_key(&self, number: u64) -> Option<&DataKey> {
        self.journals.get(&number)
    }

    /// The numbers of the journals that have a key, ascending.
    pub fn journals(&self) -> impl Iterator<Item = u64> + '_ {
        self.journals.keys().copied()
    }

    /// Makes the key of a journal; one that has a key keeps it, or its file would be lost.
    pub fn add_journal_key(&mut self, number: u64) {
        self.generation += 1;
        self.journals
            .entry(number)
            .or_insert_with(DataKey::generate);
    }

    /// Destroys the key of a journal, here.
    pub fn remove_journal_key(&mut self, number: u64) {
        self.generation += 1;
        self.journals.remove(&number);
    }

    /// The keyring sealed under the root key.
    pub fn encode(&self, root: &RootKey) -> Vec<u8> {
        // Room for all of it at once: a vector that grows leaves copies of keys behind.
        let length = 12 + 36 * self.pages.len() + 40 * self.journals.len();
        let mut content = Zeroizing::new(Vec::with_capacity(length));
        content.extend_from_slice(&self.next_page.to_le_bytes());
        content.extend_from_slice(
            &u64::try_from(self.pages.len())
                .unwrap_or(u64::MAX)
                .to_le_bytes(),
        );
        for (page, kek) in &self.pages {
            content.extend_from_slice(&page.to_le_bytes());
            content.extend_from_slice(kek.0.expose());
        }
        for (number, key) in &self.journals {
            content.extend_from_slice(&number.to_le_bytes());
            content.extend_from_slice(key.expose());
        }
        let mut out = self.header();
        let sealed = Sealer::new(&root.0).seal(&aad(&[&out]), &content);
        out.extend_from_slice(&sealed);
        out
    }

    fn header(&self) -> Vec<u8> {
        [
            MAGIC.as_slice(),
            &FORMAT.to_le_bytes(),
            &self.instance,
            &self.generation.to_le_bytes(),
        ]
        .concat()
    }

    /// Opens a sealed keyring.
    ///
    /// # Errors
    /// [`Error::Root`] where the root key is another's or the bytes were changed; [`Error::Version`].
    pub fn decode(bytes: &[u8], root: &RootKey) -> Result<Self> {
        let (header, sealed) = bytes.split_at_checked(34).ok_or(Error::Root)?;
        let mut input = Input(header.strip_prefix(MAGIC).ok_or(Error::Root)?);
        let format = u16::from_le_bytes(input.take()?);
        if format != FORMAT {
            return Err(Error::Version(format));
        }
        let mut ring = Self {
            instance: input.take()?,
            generation: u64::from_le_bytes(input.take()?),
            ..Self::new()
        };
        let content = Sealer::new(&root.0)
            .open(&aad(&[header]), sealed)
            .map_err(|_| Error::Root)?;
        let content = Zeroizing::new(content);
        let mut input = Input(&content);
        ring.next_page = u32::from_le_bytes(input.take()?);
        for _ in 0..u64::from_le_bytes(input.take()?) {
            ring.pages.insert(
                u32::from_le_bytes(input.take()?),
                Kek(DataKey::from_bytes(input.take()?)),
            );
        }
        while !input.0.is_empty() {
            ring.journals.insert(
                u64::from_le_bytes(input.take()?),
                DataKey::from_bytes(input.take()?),
            );
        }
        Ok(ring)
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self::new()
    }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Error::Root)?;
        self.0 = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests;
