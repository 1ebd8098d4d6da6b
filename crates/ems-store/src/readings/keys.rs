//! The key tree: the root key seals the keyring, a small file apart from the data that holds one
//! key-encryption key a page and one key a journal; each page wraps the data keys of some 256
//! subjects. Destroying a page's key, in one small file, destroys every copy of what it wrapped.
//!
//! A key is durable before anything is sealed with it, and gone from the file before anybody is
//! told that it is destroyed.

mod care;
pub(crate) mod place;
mod rows;
mod status;

use std::{
    collections::HashMap,
    num::NonZeroUsize,
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
    place::{RingPlace, Wrapped},
    rows::{PAGE, missing_page},
};
use crate::{Error, Result, subject::Subject};

/// A keyed hash of a name: all that a key of the engine shows.
pub(crate) type Token = [u8; 16];

/// Pages are made this many at a time at least: each time rewrites the keyring.
const PAGES_AHEAD: u32 = 16;
/// What a raw key takes in the cache, about, in bytes.
const CACHED_BYTES: u64 = 100;
/// The key that tokens are made with is the first one, at a token that no hash gives.
const INDEX_TOKEN: Token = [0; 16];

/// The open key tree.
pub(crate) struct KeyTree {
    place: Arc<dyn RingPlace>,
    wrapped: Arc<dyn Wrapped>,
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

impl State {
    /// Takes over a keyring that another process has changed.
    fn take(&mut self, ring: Keyring) {
        self.lives = lives(&ring);
        self.ring = Arc::new(ring);
    }
}

/// How often each subject's key was destroyed.
fn lives(ring: &Keyring) -> HashMap<Token, u64> {
    let mut lives = HashMap::new();
    for entry in ring.destroyed() {
        *lives.entry(entry.subject).or_insert(0) += 1;
    }
    lives
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
    /// Opens a key tree; makes a new one where there is none. `wrapped` is called once the keyring is
    /// durable. A change of the root key that has come to the new one is brought to its end, and so is
    /// a page's end.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the root key is wiped from memory when this returns"
    )]
    pub(crate) fn open(
        place: Arc<dyn RingPlace>,
        wrapped: impl FnOnce() -> Result<Arc<dyn Wrapped>>,
        root: RootKey,
        now: Timestamp,
    ) -> Result<Self> {
        let ring = loop {
            if let Some(ring) = place.read(&root)? {
                break ring;
            }
            let mut ring = Keyring::new(&root, now.as_micros());
            ring.add_pages(PAGES_AHEAD);
            if place.write(&ring, None)? {
                break ring;
            }
        };
        let wrapped = wrapped()?;
        let lives = lives(&ring);
        let mut tree = Self {
            place,
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
        if tree.wrapped.count()? == 0 {
            tree.ensure_tokens(&[INDEX_TOKEN])?;
        }
        let key = tree
            .key_of(INDEX_TOKEN)?
            .ok_or_else(|| Error::damaged("wrapped keys", "the index key is gone"))?;
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
            .ok_or_else(|| Error::damaged("wrapped keys", "a subject's key is gone"))
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
        let found = match rows::find(self.wrapped.as_ref(), &state.ring, token) {
            Err(error @ Error::Damaged { .. }) => {
                // It may lie under a page that another process has made.
                let Some(ring) = self.place.newer(state.ring.generation())? else {
                    return Err(error);
                };
                state.take(ring);
                rows::find(self.wrapped.as_ref(), &state.ring, token)?
            }
            found => found?,
        };
        if let Some(key) = &found {
            self.misses.fetch_add(1, Ordering::Relaxed);
            state.cache.put(token, key.clone());
        }
        Ok(found)
    }

    /// Takes over what other processes have changed of the keyring, and forgets the keys of some
    /// subjects: they may be destroyed.
    pub(crate) fn refresh(&self, forgotten: &[Token]) -> Result<()> {
        let mut state = self.state.lock();
        if let Some(ring) = self.place.newer(state.ring.generation())? {
            state.take(ring);
        }
        forgotten
            .iter()
            .for_each(|token| drop(state.cache.pop(token)));
        Ok(())
    }

    /// Takes the keys of some subjects' tokens, ascending, into the cache: together they cost a
    /// fraction of one by one. Others wait meanwhile, so they should be a few hundred at most.
    pub(crate) fn warm(&self, tokens: impl Iterator<Item = Token>) -> Result<()> {
        let mut state = self.state.lock();
        let tokens: Vec<Token> = tokens
            .filter(|token| !state.cache.contains(token))
            .collect();
        let ring = Arc::clone(&state.ring);
        rows::find_all(self.wrapped.as_ref(), &ring, &tokens, &mut |token, key| {
            self.misses.fetch_add(1, Ordering::Relaxed);
            state.cache.put(token, key);
        })
    }

    fn ensure_tokens(&self, tokens: &[Token]) -> Result<()> {
        let mut changing = self.changing.lock();
        loop {
            let missing = rows::missing(self.wrapped.as_ref(), tokens)?;
            if missing.is_empty() {
                return Ok(());
            }
            self.wrapped.expect_room(missing.len())?;
            let made: Vec<(Token, DataKey)> = missing
                .into_iter()
                .map(|token| (token, DataKey::generate()))
                .collect();
            let pages = self.pages_with_room(&mut changing, made.len())?;
            if self.lay(&made, &pages)? {
                let mut state = self.state.lock();
                for (token, key) in made {
                    state.cache.put(token, key);
                }
                return Ok(());
            }
            self.refresh(&[])?;
            changing.filling = 0;
        }
    }

    /// Lays new keys on pages, whole or not at all. False where another process was first.
    fn lay(&self, made: &[(Token, DataKey)], pages: &[(u32, u32)]) -> Result<bool> {
        let ring = self.ring();
        self.wrapped.change(&mut |change| {
            let mut rest = made;
            for (page, used) in pages {
                let free = usize::try_from(PAGE.saturating_sub(*used)).unwrap_or(0);
                let (now, later) = rest.split_at(free.min(rest.len()));
                rest = later;
                let kek = ring.page(*page).ok_or_else(|| missing_page(*page))?;
                let row =
                    |(token, key): &(Token, DataKey)| (*token, rows::wrap(kek, *token, *page, key));
                let laid: Vec<(Token, Vec<u8>)> = now.iter().map(row).collect();
                let more = u32::try_from(laid.len()).unwrap_or(u32::MAX);
                if !change.insert(&laid)? || !change.set_used(*page, *used, used + more)? {
                    return Ok(false);
                }
            }
            Ok(rest.is_empty())
        })
    }

    /// Pages with room for some keys, and how many each holds; made (and durable) where there are
    /// too few.
    fn pages_with_room(&self, changing: &mut Changing, wanted: usize) -> Result<Vec<(u32, u32)>> {
        let mut left = u32::try_from(wanted).unwrap_or(u32::MAX);
        let mut found = Vec::new();
        let open: Vec<u32> = self.ring().open_pages(changing.filling).collect();
        for (page, used) in open.iter().zip(self.wrapped.used(&open)?) {
            if used < PAGE && left > 0 {
                if found.is_empty() {
                    changing.filling = *page;
                }
                found.push((*page, used));
                left = left.saturating_sub(PAGE - used);
            }
        }
        if left > 0 {
            let pages = left.div_ceil(PAGE).max(PAGES_AHEAD);
            let added = self.change_ring(changing, |ring| Ok(ring.add_pages(pages)))?;
            let added = added.into_iter().map(|page| (page, 0));
            found.extend(added.take(usize::try_from(left.div_ceil(PAGE)).unwrap_or(usize::MAX)));
        }
        Ok(found)
    }

    /// The keyring as it is now.
    fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.state.lock().ring)
    }

    /// Changes the keyring: in its place first, durably, then in memory. Where another process was
    /// first, the change is made to what that one left.
    fn change_ring<T>(
        &self,
        _changing: &mut Changing,
        change: impl Fn(&mut Keyring) -> Result<T>,
    ) -> Result<T> {
        loop {
            let mut ring = Keyring::clone(&self.ring());
            let before = ring.generation();
            let changed = change(&mut ring)?;
            if self.place.write(&ring, Some(before))? {
                self.state.lock().ring = Arc::new(ring);
                return Ok(changed);
            }
            self.refresh(&[])?;
        }
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
        self.wrapped.each(&mut |token, row| {
            count += 1;
            rows::page_of(row)
                .into_iter()
                .for_each(|page| *on_page.entry(page).or_insert(0) += 1);
            if let Err(why) = rows::unwrap(&ring, token, row) {
                faults.push(why.to_string());
            }
        })?;
        let pages: Vec<u32> = on_page.keys().copied().collect();
        for (page, used) in pages.iter().zip(self.wrapped.used(&pages)?) {
            if on_page.get(page) != Some(&used) {
                faults.push(format!(
                    "wrapped keys, page {page}: their number is not as it was written"
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
