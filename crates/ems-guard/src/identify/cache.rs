//! Verified credentials, remembered by hash for a few seconds and forgotten by owner at once.
//!
//! Each owner falls into one of a few slots with a generation. An entry is good only in the
//! generation that its slot had before the records were read, so that a verification which
//! overtakes a revocation leaves nothing behind.

use std::{
    hash::{BuildHasher as _, RandomState},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ems_core::time::{SECOND, Timestamp};
use lru::LruCache;
use parking_lot::Mutex;

use super::Principal;

/// How many credentials are remembered.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not zero");
/// How long one is, in microseconds.
const LIFE: i64 = 5 * SECOND;
const SLOTS: u64 = 64;

pub(super) struct Cache {
    entries: Mutex<LruCache<[u8; 32], Entry>>,
    generations: Vec<AtomicU64>,
    /// How many changes other processes had made when everything was forgotten last.
    others: AtomicU64,
    hasher: RandomState,
}

/// The generation of an owner's slot at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    slot: usize,
    generation: u64,
}

struct Entry {
    principal: Arc<Principal>,
    mark: Mark,
    from: Timestamp,
    until: Timestamp,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            entries: Mutex::new(LruCache::new(CAPACITY)),
            generations: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            others: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Forgets everything, where other processes have changed users, keys or sessions since.
    pub(super) fn see(&self, others: u64) {
        if self.others.swap(others, Ordering::SeqCst) != others {
            self.forget_all();
        }
    }

    fn slot(&self, owner: &str) -> usize {
        usize::try_from(self.hasher.hash_one(owner) % SLOTS).unwrap_or(0)
    }

    fn generation(&self, slot: usize) -> u64 {
        self.generations
            .get(slot)
            .map_or(0, |generation| generation.load(Ordering::SeqCst))
    }

    /// What an entry of this owner has to be put with. To be taken before its records are read.
    pub(super) fn mark(&self, owner: &str) -> Mark {
        let slot = self.slot(owner);
        Mark {
            slot,
            generation: self.generation(slot),
        }
    }

    pub(super) fn get(&self, digest: &[u8; 32], now: Timestamp) -> Option<Arc<Principal>> {
        let mut entries = self.entries.lock();
        let entry = entries.get(digest)?;
        // `from` too: a clock that was set back must not lengthen a life.
        let good = entry.from <= now
            && now < entry.until
            && self.generation(entry.mark.slot) == entry.mark.generation;
        if good {
            return Some(Arc::clone(&entry.principal));
        }
        entries.pop(digest);
        None
    }

    pub(super) fn put(
        &self,
        digest: [u8; 32],
        mark: Mark,
        principal: &Arc<Principal>,
        now: Timestamp,
    ) {
        let until = now.saturating_add_micros(LIFE);
        let entry = Entry {
            principal: Arc::clone(principal),
            mark,
            from: now,
            until: principal.expires_at.map_or(until, |end| end.min(until)),
        };
        self.entries.lock().put(digest, entry);
    }

    /// Forgets an owner's credentials (and those of its slot).
    pub(super) fn forget(&self, owner: &str) {
        if let Some(generation) = self.generations.get(self.slot(owner)) {
            generation.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(super) fn forget_all(&self) {
        for generation in &self.generations {
            generation.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::saturating_from_micros(seconds * SECOND)
    }

    fn principal(expires: Option<i64>) -> Arc<Principal> {
        let mut principal = Principal::local(0);
        principal.expires_at = expires.map(at);
        Arc::new(principal)
    }

    #[test]
    fn forgets_when_another_process_has_changed_something() {
        let cache = Cache::new();
        cache.put([1; 32], cache.mark("a"), &principal(None), at(100));
        cache.see(0);
        assert!(cache.get(&[1; 32], at(101)).is_some());
        cache.see(1);
        assert!(cache.get(&[1; 32], at(101)).is_none());
    }

    #[test]
    fn remembers_for_five_seconds_and_never_past_the_expiry() {
        let cache = Cache::new();
        let mark = cache.mark("a");
        cache.put([1; 32], mark, &principal(None), at(100));
        cache.put([2; 32], mark, &principal(Some(103)), at(100));
        assert!(cache.get(&[1; 32], at(104)).is_some());
        assert!(cache.get(&[2; 32], at(102)).is_some());
        assert!(cache.get(&[2; 32], at(103)).is_none());
        assert!(cache.get(&[1; 32], at(105)).is_none());
    }

    #[test]
    fn a_clock_that_goes_back_forgets() {
        let cache = Cache::new();
        cache.put([1; 32], cache.mark("a"), &principal(None), at(100));
        assert!(cache.get(&[1; 32], at(99)).is_none());
    }

    #[test]
    fn what_was_read_before_a_revocation_is_not_remembered_after_it() {
        let cache = Cache::new();
        let mark = cache.mark("a");
        cache.forget("a");
        cache.put([1; 32], mark, &principal(None), at(100));
        assert!(cache.get(&[1; 32], at(100)).is_none());
    }

    #[test]
    fn forgetting_one_owner_keeps_those_of_other_slots() {
        let cache = Cache::new();
        let other = (0..1000)
            .map(|n| format!("b{n}"))
            .find(|b| cache.slot(b) != cache.slot("a"));
        cache.put([1; 32], cache.mark("a"), &principal(None), at(100));
        cache.put(
            [2; 32],
            cache.mark(&other.unwrap()),
            &principal(None),
            at(100),
        );
        cache.forget("a");
        assert!(cache.get(&[1; 32], at(101)).is_none());
        assert!(cache.get(&[2; 32], at(101)).is_some());
        cache.forget_all();
        assert!(cache.get(&[2; 32], at(101)).is_none());
    }
}
