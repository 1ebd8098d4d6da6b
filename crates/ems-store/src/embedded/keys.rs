//! The key tree on disk, apart from the data: a small keyring file with the key-encryption keys and
//! journal keys, sealed under the root key and written anew at each change, and a table of wrapped
//! data keys, one a subject, in pages of 256 under one key-encryption key each.
//!
//! A key is durable before anything is sealed with it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use ems_crypto::{
    hash::IndexKey,
    keyring::{Kek, Keyring, RootKey},
    seal::{DataKey, aad},
};
use parking_lot::Mutex;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{
    disk::engine,
    journal::sync_dir,
    vfs::{EngineFile, Ground, Mode, Vfs},
};
use crate::{Error, Result, subject::Subject};

/// A keyed hash of a name: all that a key of the engine shows.
pub(crate) type Token = [u8; 16];

/// Token of a subject → page (u32), slot (u32), wrapped key.
const WRAPPED: TableDefinition<'_, Token, &[u8]> = TableDefinition::new("wrapped");
/// Subjects a page holds.
const PAGE: u64 = 256;
/// Pages are made this many at a time: each time rewrites the keyring.
const PAGES_AHEAD: u32 = 16;
/// Raw keys held: some 100 bytes each.
const CACHED: usize = 100_000;
/// Bytes of the table of wrapped keys held by the engine.
const CACHE_BYTES: usize = 16 << 20;
/// Bytes of a row: token, page, nonce, wrapped key, tag.
const ROW: usize = 80;
/// The key that tokens are made with is the first one, at a token that no hash gives.
const INDEX_TOKEN: Token = [0; 16];

/// The open key tree.
pub(crate) struct KeyTree {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    root: RootKey,
    wrapped: EngineFile,
    index: IndexKey,
    state: Mutex<State>,
}

struct State {
    ring: Keyring,
    /// How many subjects have a key.
    subjects: u64,
    cache: lru::LruCache<Token, DataKey>,
}

impl KeyTree {
    /// Opens the key tree of a directory; makes a new one in an empty directory.
    pub(crate) fn open(ground: &Ground, dir: &Path, root: RootKey) -> Result<Self> {
        let vfs = Arc::clone(&ground.vfs);
        let (file, pages) = (dir.join("keyring"), dir.join("pages.redb"));
        let fresh = !vfs.exists(&file) && !vfs.exists(&pages);
        let mut ring = if fresh {
            Keyring::new()
        } else {
            read_ring(vfs.as_ref(), &file, &root)?
        };
        if fresh {
            ring.add_pages(PAGES_AHEAD);
            write_ring(vfs.as_ref(), dir, &ring, &root)?;
        }
        let wrapped = EngineFile::open(ground, &pages, CACHE_BYTES)?;
        let subjects = count(&wrapped)?;
        let mut tree = Self {
            vfs,
            dir: dir.to_owned(),
            root,
            wrapped,
            index: IndexKey::derive(
                &DataKey::generate(),
                "placeholder until the index key is read",
            ),
            state: Mutex::new(State {
                ring,
                subjects,
                cache: cache(),
            }),
        };
        tree.ensure_tokens(&[INDEX_TOKEN])?;
        let key = tree
            .key_of(INDEX_TOKEN)?
            .ok_or_else(|| Error::damaged("pages.redb", "the index key is gone"))?;
        tree.index = IndexKey::derive(&key, "tokens");
        Ok(tree)
    }

    /// The instance that the keys belong to.
    pub(crate) fn instance(&self) -> [u8; 16] {
        self.state.lock().ring.instance()
    }

    /// Grows with every change of the keyring.
    pub(crate) fn generation(&self) -> u64 {
        self.state.lock().ring.generation()
    }

    /// The keyed hash of a name within a domain.
    pub(crate) fn token(&self, domain: &str, name: &str) -> Token {
        self.index.token(domain, name.as_bytes())
    }

    /// The token of a subject.
    pub(crate) fn subject_token(&self, subject: &Subject) -> Token {
        self.token("subject", &subject.token_input())
    }

    /// The key of a subject; `None` for one that has none.
    pub(crate) fn key(&self, subject: &Subject) -> Result<Option<DataKey>> {
        self.key_of(self.subject_token(subject))
    }

    /// The key of a subject that must have one.
    pub(crate) fn existing(&self, subject: &Subject) -> Result<DataKey> {
        self.key(subject)?
            .ok_or_else(|| Error::damaged("pages.redb", "a subject's key is gone"))
    }

    /// Gives keys to those subjects that have none. Durable when it returns.
    pub(crate) fn ensure(&self, subjects: &[Subject]) -> Result<()> {
        let tokens: Vec<Token> = subjects
            .iter()
            .map(|subject| self.subject_token(subject))
            .collect();
        self.ensure_tokens(&tokens)
    }

    fn key_of(&self, token: Token) -> Result<Option<DataKey>> {
        let mut state = self.state.lock();
        if let Some(key) = state.cache.get(&token) {
            return Ok(Some(key.clone()));
        }
        let read = self.wrapped.begin_read()?;
        let table = read.open_table(WRAPPED).map_err(engine)?;
        let Some(row) = table.get(token).map_err(engine)? else {
            return Ok(None);
        };
        let key = unwrap(&state.ring, token, row.value())?;
        state.cache.put(token, key.clone());
        Ok(Some(key))
    }

    fn ensure_tokens(&self, tokens: &[Token]) -> Result<()> {
        let mut state = self.state.lock();
        let room = self.wrapped.expect_room(tokens.len(), tokens.len() * ROW);
        let write = self.wrapped.begin_write()?;
        // What a commit of which the outcome was not told left behind counts too.
        state.subjects = write
            .open_table(WRAPPED)
            .map_err(engine)?
            .len()
            .map_err(engine)?;
        let mut made = Vec::new();
        {
            let mut table = write.open_table(WRAPPED).map_err(engine)?;
            for token in tokens {
                if table.get(*token).map_err(engine)?.is_some() {
                    continue;
                }
                let place = state.subjects + u64::try_from(made.len()).unwrap_or(u64::MAX);
                let page = u32::try_from(place / PAGE)
                    .map_err(|_| Error::Engine("no more key pages".into()))?;
                let key = DataKey::generate();
                let row = wrap(self.page(&mut state, page)?, *token, page, &key);
                table.insert(*token, row.as_slice()).map_err(engine)?;
                made.push((*token, key));
            }
        }
        if made.is_empty() {
            return write.abort().map_err(engine);
        }
        room?;
        write.commit().map_err(engine)?;
        state.subjects += u64::try_from(made.len()).unwrap_or(u64::MAX);
        for (token, key) in made {
            state.cache.put(token, key);
        }
        Ok(())
    }

    /// The key-encryption key of a page, made (and durable) where it is the next one.
    fn page<'a>(&self, state: &'a mut State, page: u32) -> Result<&'a Kek> {
        if state.ring.page(page).is_none() {
            state.ring.add_pages(PAGES_AHEAD);
            write_ring(self.vfs.as_ref(), &self.dir, &state.ring, &self.root)?;
        }
        state.ring.page(page).ok_or_else(|| missing_page(page))
    }

    /// The numbers of the journals that have a key, ascending.
    pub(crate) fn journals(&self) -> Vec<u64> {
        self.state.lock().ring.journals().collect()
    }

    /// The key of a journal that exists.
    pub(crate) fn journal_key(&self, number: u64) -> Result<DataKey> {
        let state = self.state.lock();
        let key = state.ring.journal_key(number).cloned();
        key.ok_or_else(|| {
            Error::damaged(
                format!("{number:016x}.journal"),
                "the keyring has no key of it",
            )
        })
    }

    /// Makes the key of a new journal; durable when it returns.
    pub(crate) fn new_journal_key(&self, number: u64) -> Result<DataKey> {
        let mut state = self.state.lock();
        state.ring.add_journal_key(number);
        write_ring(self.vfs.as_ref(), &self.dir, &state.ring, &self.root)?;
        state
            .ring
            .journal_key(number)
            .cloned()
            .ok_or_else(|| Error::damaged("keyring", "a new journal key is gone"))
    }

    /// Destroys the key of a journal; what it sealed is worthless when this returns.
    pub(crate) fn retire_journal_key(&self, number: u64) -> Result<()> {
        let mut state = self.state.lock();
        state.ring.remove_journal_key(number);
        write_ring(self.vfs.as_ref(), &self.dir, &state.ring, &self.root)
    }

    /// Opens every wrapped key; returns how many there are and what is wrong with which.
    pub(crate) fn verify(&self) -> Result<(u64, Vec<String>)> {
        let state = self.state.lock();
        let read = self.wrapped.begin_read()?;
        let table = read.open_table(WRAPPED).map_err(engine)?;
        let (mut count, mut faults) = (0, Vec::new());
        for row in table.iter().map_err(engine)? {
            let row = row.map_err(engine)?;
            let (token, value) = (row.0.value(), row.1.value());
            count += 1;
            if let Err(why) = unwrap(&state.ring, token, value) {
                faults.push(format!(
                    "pages.redb, key {}: {why}",
                    data_encoding::HEXLOWER.encode(&token)
                ));
            }
        }
        Ok((count, faults))
    }
}

fn cache() -> lru::LruCache<Token, DataKey> {
    lru::LruCache::new(std::num::NonZeroUsize::new(CACHED).unwrap_or(std::num::NonZeroUsize::MIN))
}

fn count(wrapped: &EngineFile) -> Result<u64> {
    let write = wrapped.begin_write()?;
    let count = write
        .open_table(WRAPPED)
        .map_err(engine)?
        .len()
        .map_err(engine)?;
    write.commit().map_err(engine)?;
    Ok(count)
}

fn missing_page(page: u32) -> Error {
    Error::damaged("keyring", format!("key-encryption key {page} is gone"))
}

/// A row: the page, then the key sealed under the page's key for this token.
fn wrap(kek: &Kek, token: Token, page: u32, key: &DataKey) -> Vec<u8> {
    let mut row = page.to_le_bytes().to_vec();
    row.extend_from_slice(&kek.wrap(&wrap_aad(token, page), key));
    row
}

fn unwrap(ring: &Keyring, token: Token, row: &[u8]) -> Result<DataKey> {
    let cut = || Error::damaged("pages.redb", "a wrapped key is cut");
    let (page, wrapped) = row.split_first_chunk::<4>().ok_or_else(cut)?;
    let page = u32::from_le_bytes(*page);
    let kek = ring.page(page).ok_or_else(|| missing_page(page))?;
    kek.unwrap(&wrap_aad(token, page), wrapped).map_err(|_| {
        Error::damaged(
            "pages.redb",
            format!("a wrapped key of page {page} does not open"),
        )
    })
}

fn wrap_aad(token: Token, page: u32) -> Vec<u8> {
    aad(&[b"data key", &token, &page.to_le_bytes()])
}

fn read_ring(vfs: &dyn Vfs, file: &Path, root: &RootKey) -> Result<Keyring> {
    let bytes = vfs.read(file).map_err(Error::io("keyring"))?;
    Ok(Keyring::decode(&bytes, root)?)
}

/// Writes the keyring beside the old one, syncs it, and puts it in the old one's place.
fn write_ring(vfs: &dyn Vfs, dir: &Path, ring: &Keyring, root: &RootKey) -> Result<()> {
    let (new, file) = (dir.join("keyring.new"), dir.join("keyring"));
    vfs.open(&new, Mode::Fresh)
        .and_then(|out| out.write_at(&ring.encode(root), 0).map(|()| out))
        .and_then(|out| out.sync_all())
        .map_err(Error::io("keyring.new"))?;
    vfs.rename(&new, &file).map_err(Error::io("keyring"))?;
    sync_dir(vfs, dir)
}
