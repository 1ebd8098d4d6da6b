//! What can be told of the key tree without a key being shown.

use std::sync::atomic::Ordering;

use ems_core::time::Timestamp;
use ems_crypto::keyring::{Keyring, RootChange};

use super::{KeyTree, rows::PAGE};
use crate::{KeyringStatus, Result};

impl KeyTree {
    /// How the key tree stands; what is sealed under its keys is not in it.
    pub(crate) fn status(&self) -> Result<KeyringStatus> {
        let state = self.state.lock();
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let subjects = self.wrapped.count()?;
        let open: Vec<u32> = state.ring.open_pages(0).collect();
        let used = self.wrapped.used(&open)?;
        let free = used.iter().map(|used| PAGE.saturating_sub(*used));
        Ok(KeyringStatus {
            instance: state.ring.instance(),
            generation: state.ring.generation(),
            format: Keyring::FORMAT,
            pages: wide(state.ring.page_count()),
            free_slots: free.map(u64::from).sum(),
            subjects,
            journal_keys: wide(state.ring.journals().count()),
            destroyed: wide(state.ring.destroyed().len()),
            root_changed: Timestamp::saturating_from_micros(state.ring.root_changed()),
            root_change_pending: state.ring.root_change() != RootChange::Settled,
            pages_rotated: Timestamp::saturating_from_micros(state.ring.pages_rotated()),
            pages_to_rotate: wide(state.ring.to_rotate().len()),
            cached_keys: wide(state.cache.len()),
            cache_limit: wide(state.cache.cap().get()),
            cache_hits: self.hits.load(Ordering::Relaxed),
            cache_misses: self.misses.load(Ordering::Relaxed),
            seals: Vec::new(),
        })
    }
}
