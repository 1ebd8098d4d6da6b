//! A wrapped data key as a row: the page that it lies on, then the key sealed under the page's key for
//! this token.

use std::collections::HashSet;

use ems_crypto::{
    keyring::{Kek, Keyring},
    seal::{DataKey, aad},
};

use super::{Token, place::Wrapped};
use crate::{Error, Result, readings::disk::hex};

/// Keys that a page holds.
pub(super) const PAGE: u32 = 256;

/// A key by its token.
pub(super) fn find(of: &dyn Wrapped, ring: &Keyring, token: Token) -> Result<Option<DataKey>> {
    let mut found = None;
    of.get(&[token], &mut |token, row| {
        found = Some(unwrap(ring, token, row));
    })?;
    found.transpose()
}

/// Hands those keys of some tokens that there are, and that open, to `take`.
pub(super) fn find_all(
    of: &dyn Wrapped,
    ring: &Keyring,
    tokens: &[Token],
    take: &mut dyn FnMut(Token, DataKey),
) -> Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    of.get(tokens, &mut |token, row| {
        // Whoever needs one that does not open is told by `find`.
        let key = unwrap(ring, token, row).ok();
        key.into_iter().for_each(|key| take(token, key));
    })
}

/// The page that a token's key lies on; `None` for one that has no key.
pub(super) fn page(of: &dyn Wrapped, token: Token) -> Result<Option<u32>> {
    let mut found = None;
    of.get(&[token], &mut |_, row| found = Some(page_of(row)))?;
    let cut = || Error::damaged(format!("wrapped key {}", hex(&token)), "it is cut");
    found.map(|page| page.ok_or_else(cut)).transpose()
}

/// Those of some tokens that have no key, each once.
pub(super) fn missing(of: &dyn Wrapped, tokens: &[Token]) -> Result<Vec<Token>> {
    let mut there = HashSet::new();
    of.get(tokens, &mut |token, _| {
        there.insert(token);
    })?;
    let new = |token: &&Token| there.insert(**token);
    Ok(tokens.iter().filter(new).copied().collect())
}

/// The tokens whose keys lie on some pages.
pub(super) fn on_pages(of: &dyn Wrapped, pages: &[u32]) -> Result<Vec<(u32, Token)>> {
    let pages: HashSet<u32> = pages.iter().copied().collect();
    let mut found = Vec::new();
    of.each(&mut |token, row| {
        let page = page_of(row).filter(|page| pages.contains(page));
        found.extend(page.map(|page| (page, token)));
    })?;
    Ok(found)
}

pub(super) fn missing_page(page: u32) -> Error {
    Error::damaged("keyring", format!("key-encryption key {page} is gone"))
}

/// The page that a row lies on; `None` where it is cut.
pub(super) fn page_of(row: &[u8]) -> Option<u32> {
    row.first_chunk().copied().map(u32::from_le_bytes)
}

/// Makes a row.
pub(super) fn wrap(kek: &Kek, token: Token, page: u32, key: &DataKey) -> Vec<u8> {
    let mut row = page.to_le_bytes().to_vec();
    row.extend_from_slice(&kek.wrap(&wrap_aad(token, page), key));
    row
}

/// Opens a row.
pub(super) fn unwrap(ring: &Keyring, token: Token, row: &[u8]) -> Result<DataKey> {
    let damaged = |why: String| Error::damaged(format!("wrapped key {}", hex(&token)), why);
    let cut = || damaged("it is cut".into());
    let (page, wrapped) = row.split_first_chunk::<4>().ok_or_else(cut)?;
    let page = u32::from_le_bytes(*page);
    let kek = ring
        .page(page)
        .ok_or_else(|| damaged(format!("the keyring has no page {page}")))?;
    kek.unwrap(&wrap_aad(token, page), wrapped)
        .map_err(|_| damaged(format!("it does not open under page {page}")))
}

fn wrap_aad(token: Token, page: u32) -> Vec<u8> {
    aad(&[b"data key", &token, &page.to_le_bytes()])
}
