//! Texts that were judged before and found to be nothing: what a client's program says of itself is
//! the same in each of its requests.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Places;

/// Texts that are remembered at most; one takes the place of another.
const PLACES: usize = 4096;

/// A table of hashes under a key of this process: another text that is taken for one of these cannot
/// be found by who does not know the key, and by chance in one of 2^64.
#[derive(Debug)]
pub(super) struct Seen {
    hasher: RandomState,
    table: Box<[AtomicU64]>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            table: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The hash of a text at a place, and where it is kept.
    fn find(&self, place: Places, text: &[u8]) -> (u64, Option<&AtomicU64>) {
        let hash = self.hasher.hash_one((place, text)).max(1);
        let at = usize::try_from(hash).unwrap_or(0) % PLACES;
        (hash, self.table.get(at))
    }

    /// Whether a text was nothing at this place.
    pub(super) fn is_nothing(&self, place: Places, text: &[u8]) -> bool {
        let (hash, kept) = self.find(place, text);
        kept.is_some_and(|kept| kept.load(Relaxed) == hash)
    }

    /// Remembers that it was.
    pub(super) fn nothing(&self, place: Places, text: &[u8]) {
        let (hash, kept) = self.find(place, text);
        if let Some(kept) = kept {
            kept.store(hash, Relaxed);
        }
    }
}
