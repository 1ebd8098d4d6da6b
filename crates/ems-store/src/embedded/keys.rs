//! The key tree: the root key seals the keyring, a small file apart from the data that holds one
//! key-encryption key a page and one key a journal; each page wraps the data keys of some 256
//! subjects. Destroying a page's key, in one small file, destroys every copy of what it wrapped.
//!
//! A key is durable before anything is sealed with it, and gone from the file before anybody is
//! told that it is destroyed.

mod care;
mod file;
mod rows;
mod status;

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ems_core::{meter::MeterId, time::Timestamp};
use ems_crypto::{
    hash::IndexKey,
    keyring::{Keyring, RootKey},
    seal::DataKey,
};
use parking_lot::Mutex;

use self::{
    file::RingFile,
    rows::{Change, PAGE, missing_page},
};
use super::vfs::{EngineFile, Ground};
use crate::{Error, Result, subject::Subject};

/// A keyed hash of a name: all that a key of the engine shows.
pub(crate) type Token = [u8; 16];

/// Pages are made this many at a time at least: each time rewrites the keyring.
const PAGES_AHEAD: u32 = 16;
/// What a raw key takes in the cache, about, in bytes.
const CACHED_BYTES: u64 = 100;
/// Bytes of the table of wrapped keys held by the engine.
const CACHE_BYTES: usize = 16 << 20;
/// Bytes of a row: token, page, nonce, wrapped key, tag.
const ROW: usize = 80;
/// The key that tokens are made with is the first one, at a token that no hash gives.
const INDEX_TOKEN: Token = [0; 16];

/// The open key tree.
pub(crate) struct KeyTree {
    file: RingFile,
    wrapped: EngineFile,
    index: IndexKey,
    /// Held by whoever changes the keyring or the pages, while the disk syncs too.
    changing: Mutex<Changing>,
    /// What readers see. Nobody waits for a sync while holding it: commits need it.
    state: Mutex<State>,
    /// One rotation or destruction at a time.
    care: Mutex<()>,
    hits: AtomicU64,
    misses: AtomicU64,
}

struct Changing {
    /// No page before this one has room.
    filling: u32,
}

struct State {
    ring: Arc<Keyring>,
    cache: lru::LruCache<Token, DataKey>,
    /// How often a subject's key was destroyed: the data of its next life has other tokens.
    lives: HashMap<Token, u64>,
}

impl KeyTree {
    /// Opens the key tree of a directory; makes a new one in an empty directory. A change of the
    /// root key that has come to the new one is brought to its end, and so is a page's end.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the root key is wiped from memory when this returns"
    )]
    pub(crate) fn open(ground: &Ground, dir: &Path, root: RootKey, now: Timestamp) -> Result<Self> {
        let file = RingFile::new(&ground.vfs, dir);
        let pages = dir.join("pages.redb");
        let ring = match file.read(&root)? {
            Some(ring) => ring,
            None if ground.vfs.exists(&pages) => {
                return Err(Error::damaged(
                    "keyring",
                    "it is gone, and its pages are not",
                ));
            }
            None => {
                let mut ring = Keyring::new(&root, now.as_micros());
                ring.add_pages(PAGES_AHEAD);
                file.write(&ring)?;
                ring
            }
        };
        let wrapped = EngineFile::open(ground, &pages, CACHE_BYTES)?;
        rows::prepare(&wrapped)?;
        let mut lives = HashMap::new();
        for entry in ring.destroyed() {
            *lives.entry(entry.subject).or_insert(0) += 1;
        }
        let mut tree = Self {
            file,
            wrapped,
            // Until the real one is read, below: nothing is named before that.
            index: IndexKey::derive(&DataKey::from_bytes([0; 32]), "tokens"),
            changing: Mutex::new(Changing { filling: 0 }),
            state: Mutex::new(State {
                ring: Arc::new(ring),
                cache: lru::LruCache::new(cached(0)),
                lives,
            }),
            care: Mutex::new(()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        tree.finish_changes(&root, now)?;
        tree.ensure_tokens(&[INDEX_TOKEN])?;
        let key = tree
            .key_of(INDEX_TOKEN)?
            .ok_or_else(|| Error::damaged("pages.redb", "the index key is gone"))?;
        tree.index = IndexKey::derive(&key, "tokens");
        Ok(tree)
    }

    /// Bounds the memory for raw keys; it holds one until this is said.
    pub(crate) fn limit_cache(&self, bytes: u64) {
        self.state.lock().cache.resize(cached(bytes));
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

    /// The token that a meter's data lies under: another one in each life, so that what an old copy
    /// holds of a destroyed one is never taken for the new one's.
    pub(crate) fn meter_token(&self, meter: &MeterId) -> Token {
        let state = self.state.lock();
        if state.lives.is_empty() {
            return self.token("meter", meter.as_str());
        }
        let subject = self.subject_token(&Subject::Meter(meter.clone()));
        match state.lives.get(&subject) {
            None => self.token("meter", meter.as_str()),
            // No meter's name holds a line end.
            Some(lives) => self.token("meter", &format!("{meter}\n{lives}")),
        }
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

    /// The key of a subject's token; `None` where it has none.
    pub(crate) fn key_of(&self, token: Token) -> Result<Option<DataKey>> {
        let mut state = self.state.lock();
        if let Some(key) = state.cache.get(&token) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(key.clone()));
        }
        let found = rows::find(&self.wrapped, &state.ring, token)?;
        if let Some(key) = &found {
            self.misses.fetch_add(1, Ordering::Relaxed);
            state.cache.put(token, key.clone());
        }
        Ok(found)
    }

    /// Takes the keys of some subjects' tokens, ascending, into the cache: together they cost a
    /// fraction of one by one. Others wait meanwhile, so they should be a few hundred at most.
    pub(crate) fn warm(&self, tokens: impl Iterator<Item = Token>) -> Result<()> {
        let mut state = self.state.lock();
        let tokens: Vec<Token> = tokens
            .filter(|token| !state.cache.contains(token))
            .collect();
        let ring = Arc::clone(&state.ring);
        rows::find_all(&self.wrapped, &ring, &tokens, &mut |token, key| {
            self.misses.fetch_add(1, Ordering::Relaxed);
            state.cache.put(token, key);
        })
    }

    fn ensure_tokens(&self, tokens: &[Token]) -> Result<()> {
        let mut changing = self.changing.lock();
        let room = self.wrapped.expect_room(tokens.len(), tokens.len() * ROW);
        let change = Change::begin(&self.wrapped)?;
        let missing = change.missing(tokens)?;
        if missing.is_empty() {
            return change.abort();
        }
        room?;
        let made: Vec<(Token, DataKey)> = missing
            .into_iter()
            .map(|token| (token, DataKey::generate()))
            .collect();
        let mut rest = made.as_slice();
        while !rest.is_empty() {
            let (page, free) = self.page_with_room(&mut changing, &change, rest.len())?;
            let (now, later) = rest.split_at(free.min(rest.len()));
            let ring = self.ring();
            let kek = ring.page(page).ok_or_else(|| missing_page(page))?;
            change.put(kek, page, now)?;
            rest = later;
        }
        change.commit()?;
        let mut state = self.state.lock();
        for (token, key) in made {
            state.cache.put(token, key);
        }
        Ok(())
    }

    /// The first page with room and how many keys it takes; made (and durable) where there is none.
    fn page_with_room(
        &self,
        changing: &mut Changing,
        change: &Change,
        wanted: usize,
    ) -> Result<(u32, usize)> {
        let free = |used: u32| usize::try_from(PAGE.saturating_sub(used)).unwrap_or(0);
        for page in self.ring().open_pages(changing.filling) {
            let used = change.used(page)?;
            if used < PAGE {
                changing.filling = page;
                return Ok((page, free(used)));
            }
        }
        let wanted = u32::try_from(wanted)
            .unwrap_or(u32::MAX)
            .div_ceil(PAGE)
            .max(PAGES_AHEAD);
        let added = self.change_ring(changing, |ring| Ok(ring.add_pages(wanted)))?;
        let page = added.first().copied();
        let page = page.ok_or_else(|| Error::Engine("no more key pages".into()))?;
        changing.filling = page;
        Ok((page, free(0)))
    }

    /// The keyring as it is now.
    fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.state.lock().ring)
    }

    /// Changes the keyring: in the file first, durably, then in memory.
    fn change_ring<T>(
        &self,
        _changing: &mut Changing,
        change: impl FnOnce(&mut Keyring) -> Result<T>,
    ) -> Result<T> {
        let mut ring = Keyring::clone(&self.ring());
        let changed = change(&mut ring)?;
        self.file.write(&ring)?;
        self.state.lock().ring = Arc::new(ring);
        Ok(changed)
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
        let mut changing = self.changing.lock();
        let made = self.change_ring(&mut changing, |ring| {
            ring.add_journal_key(number);
            Ok(ring.journal_key(number).cloned())
        })?;
        made.ok_or_else(|| Error::damaged("keyring", "a new journal key is gone"))
    }

    /// Destroys the key of a journal; what it sealed is worthless when this returns.
    pub(crate) fn retire_journal_key(&self, number: u64) -> Result<()> {
        let mut changing = self.changing.lock();
        self.change_ring(&mut changing, |ring| {
            ring.remove_journal_key(number);
            Ok(())
        })
    }

    /// Opens every wrapped key; returns how many there are and what is wrong with which.
    pub(crate) fn verify(&self) -> Result<(u64, Vec<String>)> {
        let ring = self.ring();
        let (mut count, mut faults) = (0, Vec::new());
        let mut on_page: HashMap<u32, u32> = HashMap::new();
        rows::each(&self.wrapped, &mut |row| {
            count += 1;
            row.page
                .into_iter()
                .for_each(|page| *on_page.entry(page).or_insert(0) += 1);
            if let Err(why) = row.unwrap(&ring) {
                faults.push(why.to_string());
            }
        })?;
        let pages: Vec<u32> = on_page.keys().copied().collect();
        for (page, used) in pages.iter().zip(rows::used(&self.wrapped, &pages)?) {
            if on_page.get(page) != Some(&used) {
                faults.push(format!(
                    "pages.redb, page {page}: the number of its keys is not as it was written"
                ));
            }
        }
        Ok((count, faults))
    }
}

/// How many raw keys some bytes hold; one at least.
fn cached(bytes: u64) -> NonZeroUsize {
    let count = usize::try_from(bytes / CACHED_BYTES).unwrap_or(usize::MAX);
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests;
