//! Rotating and destroying keys.
//!
//! The end of a page, in steps that each are durable before the next: the page takes no more keys,
//! and a page that follows it has a key (keyring); its keys are wrapped under the new page's key
//! (one change); the old page's key is gone (keyring). After a crash between
//! two of them the page is still marked, and the next start goes on from there.

use std::collections::BTreeMap;

use ems_core::time::Timestamp;
use ems_crypto::keyring::{Destroyed, Keyring, RootChange, RootKey};

use super::{KeyTree, Token, rows};
use crate::{Error, Result};

/// Pages that are rewritten in one step: those who need a new key wait for it, some milliseconds.
const STEP: usize = 8;

impl KeyTree {
    /// Brings to its end what a crash interrupted.
    pub(super) fn finish_changes(&self, root: &RootKey, now: Timestamp) -> Result<()> {
        let (arrived, retiring) = {
            let state = self.state.lock();
            let arrived = state.ring.root_change() == RootChange::Arrived;
            (arrived, state.ring.retiring())
        };
        if arrived {
            self.settle_root(root, now)?;
        }
        if retiring.is_empty() {
            return Ok(());
        }
        match self.replace_pages(&retiring, None, |_| {}) {
            // The old page still opens the rest of its keys.
            Err(error @ Error::Damaged { .. }) => {
                tracing::error!(%error, "a page of keys could not be replaced");
                Ok(())
            }
            other => other,
        }
    }

    /// Lets a new root key open the keyring beside the one in use. Durable when it returns.
    pub(crate) fn admit_root(&self, new: &RootKey) -> Result<()> {
        let mut changing = self.changing.lock();
        self.change_ring(&mut changing, |ring| Ok(ring.admit_root(new)?))
    }

    /// Closes the keyring to every root key but this one. Durable when it returns.
    pub(crate) fn settle_root(&self, root: &RootKey, now: Timestamp) -> Result<()> {
        let mut changing = self.changing.lock();
        self.change_ring(&mut changing, |ring| {
            ring.settle_root(root, now.as_micros());
            Ok(())
        })?;
        self.place.settled(root);
        Ok(())
    }

    /// Begins a rotation of all pages, unless one is under way; tells whether one was.
    pub(crate) fn begin_rotation(&self) -> Result<bool> {
        let mut changing = self.changing.lock();
        let resumed = self.is_rotating();
        if !resumed {
            self.change_ring(&mut changing, |ring| {
                ring.begin_rotation();
                Ok(())
            })?;
        }
        Ok(resumed)
    }

    /// Whether a rotation of the pages is under way.
    pub(crate) fn is_rotating(&self) -> bool {
        self.state.lock().ring.is_rotating()
    }

    /// Wraps the keys of every page that is to be rotated under a new page's key, and destroys the
    /// old ones. Returns how many pages were replaced and how many keys were wrapped anew.
    pub(crate) fn rotate(&self, now: Timestamp) -> Result<(u64, u64)> {
        let _one = self.care.lock();
        self.refresh(&[])?;
        let pages = self.state.lock().ring.to_rotate();
        let mut by_page: BTreeMap<u32, Vec<Token>> = BTreeMap::new();
        for page in &pages {
            by_page.insert(*page, Vec::new());
        }
        // From here on none of them takes a key, so nothing is missed.
        self.wrapped.close(&pages)?;
        for (page, token) in rows::on_pages(self.wrapped.as_ref(), &pages)? {
            by_page.entry(page).or_default().push(token);
        }
        let (mut replaced, mut moved) = (0, 0);
        let all: Vec<(u32, Vec<Token>)> = by_page.into_iter().collect();
        for step in all.chunks(STEP) {
            let pages: Vec<u32> = step.iter().map(|(page, _)| *page).collect();
            self.retire(&pages)?;
            moved += self.move_keys(step, None)?;
            self.remove(&pages, |_| {})?;
            replaced += u64::try_from(step.len()).unwrap_or(u64::MAX);
        }
        let mut changing = self.changing.lock();
        self.change_ring(&mut changing, |ring| {
            ring.end_rotation(now.as_micros());
            Ok(())
        })?;
        Ok((replaced, moved))
    }

    /// Destroys the key of a subject: wherever a copy of it lies, nothing unwraps it any more when
    /// this returns. `data` is the token that its data was stored under. One whose key is no more
    /// is only noted as destroyed.
    pub(crate) fn destroy(&self, subject: Token, data: Token, now: Timestamp) -> Result<()> {
        let _one = self.care.lock();
        self.refresh(&[])?;
        let entry = Destroyed {
            subject,
            data,
            at: now.as_micros(),
        };
        let note = |ring: &mut Keyring| ring.note_destroyed(entry);
        let page = rows::page(self.wrapped.as_ref(), subject)?;
        match page {
            Some(page) => self.replace_pages(&[page], Some(subject), note)?,
            None => self.remove(&[], note)?,
        }
        let mut state = self.state.lock();
        state.cache.pop(&subject);
        state.lives = super::lives(&state.ring);
        Ok(())
    }

    fn replace_pages(
        &self,
        pages: &[u32],
        without: Option<Token>,
        then: impl Fn(&mut Keyring),
    ) -> Result<()> {
        self.retire(pages)?;
        let mut by_page: BTreeMap<u32, Vec<Token>> = BTreeMap::new();
        for (page, token) in rows::on_pages(self.wrapped.as_ref(), pages)? {
            by_page.entry(page).or_default().push(token);
        }
        let all: Vec<(u32, Vec<Token>)> = by_page.into_iter().collect();
        self.move_keys(&all, without)?;
        self.remove(pages, then)
    }

    /// Lets pages take no more keys.
    pub(super) fn retire(&self, pages: &[u32]) -> Result<()> {
        let mut changing = self.changing.lock();
        self.change_ring(&mut changing, |ring| {
            ring.retire_pages(pages);
            Ok(())
        })?;
        self.wrapped.close(pages)
    }

    /// Moves the keys of retiring pages to new ones, and leaves one key out for ever.
    pub(super) fn move_keys(
        &self,
        pages: &[(u32, Vec<Token>)],
        without: Option<Token>,
    ) -> Result<u64> {
        let mut changing = self.changing.lock();
        let filled = |(_, tokens): &&(u32, Vec<Token>)| !tokens.is_empty();
        let wanted = u32::try_from(pages.iter().filter(filled).count()).unwrap_or(u32::MAX);
        let mut added = Vec::new();
        if wanted > 0 {
            added = self.change_ring(&mut changing, |ring| Ok(ring.add_pages(wanted)))?;
        }
        let ring = self.ring();
        let mut moved = 0;
        let done = self.wrapped.change(&mut |change| {
            moved = 0;
            for ((old, tokens), new) in pages.iter().filter(filled).zip(&added) {
                let kek = ring.page(*new).ok_or_else(|| rows::missing_page(*new))?;
                let (mut anew, mut fault) = (Vec::new(), Ok(()));
                change.get(tokens, &mut |token, row| {
                    if without == Some(token) {
                        return;
                    }
                    match rows::unwrap(&ring, token, row) {
                        Ok(key) => anew.push((token, rows::wrap(kek, token, *new, &key))),
                        Err(error) => fault = Err(error),
                    }
                })?;
                fault?;
                change.replace(&anew)?;
                for gone in tokens.iter().filter(|token| without == Some(**token)) {
                    change.remove(*gone)?;
                }
                let used = u32::try_from(anew.len()).unwrap_or(u32::MAX);
                let there = change.used(*new)?;
                change.end_page(*old)?;
                if !change.set_used(*new, there, there + used)? {
                    return Ok(false);
                }
                moved += u64::from(used);
            }
            for (empty, _) in pages.iter().filter(|page| !filled(page)) {
                change.end_page(*empty)?;
            }
            Ok(true)
        })?;
        changing.filling = 0;
        if done {
            return Ok(moved);
        }
        Err(Error::Unavailable(
            "the keys are being changed by another process".into(),
        ))
    }

    /// Destroys the keys of pages that hold nothing any more.
    pub(super) fn remove(&self, pages: &[u32], then: impl Fn(&mut Keyring)) -> Result<()> {
        let mut changing = self.changing.lock();
        self.change_ring(&mut changing, |ring| {
            ring.remove_pages(pages);
            then(ring);
            Ok(())
        })
    }
}
