//! The wrapped data keys: which page each lies on, and how many each page holds.

use std::collections::HashSet;

use ems_crypto::{
    keyring::{Kek, Keyring},
    seal::{DataKey, aad},
};
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::Token;
use crate::{
    Error, Result,
    embedded::{
        disk::{engine, hex},
        vfs::EngineFile,
    },
};

/// Token of a subject → page (u32), wrapped key.
const WRAPPED: TableDefinition<'_, Token, &[u8]> = TableDefinition::new("wrapped");
/// Page → how many keys lie on it.
const USED: TableDefinition<'_, u32, u32> = TableDefinition::new("used");
/// Keys that a page holds.
pub(super) const PAGE: u32 = 256;

/// Makes the tables of a new file.
pub(super) fn prepare(file: &EngineFile) -> Result<()> {
    let write = file.begin_write()?;
    write.open_table(WRAPPED).map_err(engine)?;
    write.open_table(USED).map_err(engine)?;
    write.commit().map_err(engine)
}

/// How many keys there are.
pub(super) fn count(file: &EngineFile) -> Result<u64> {
    let read = file.begin_read()?;
    let table = read.open_table(WRAPPED).map_err(engine)?;
    table.len().map_err(engine)
}

/// How many keys the pages hold, one after the other.
pub(super) fn used(file: &EngineFile, pages: &[u32]) -> Result<Vec<u32>> {
    let read = file.begin_read()?;
    let table = read.open_table(USED).map_err(engine)?;
    let used = |page: &u32| {
        let found = table.get(*page).map_err(engine)?;
        Ok(found.map_or(0, |used| used.value()))
    };
    pages.iter().map(used).collect()
}

/// A key by its token.
pub(super) fn find(file: &EngineFile, ring: &Keyring, token: Token) -> Result<Option<DataKey>> {
    let read = file.begin_read()?;
    let table = read.open_table(WRAPPED).map_err(engine)?;
    let row = table.get(token).map_err(engine)?;
    row.map(|row| unwrap(ring, token, row.value())).transpose()
}

/// Hands those keys of some tokens that there are, and that open, to `take`.
pub(super) fn find_all(
    file: &EngineFile,
    ring: &Keyring,
    tokens: &[Token],
    take: &mut dyn FnMut(Token, DataKey),
) -> Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    let read = file.begin_read()?;
    let table = read.open_table(WRAPPED).map_err(engine)?;
    for token in tokens {
        let row = table.get(*token).map_err(engine)?;
        // Whoever needs one that does not open is told by `find`.
        let key = row.and_then(|row| unwrap(ring, *token, row.value()).ok());
        key.into_iter().for_each(|key| take(*token, key));
    }
    Ok(())
}

/// The page that a token's key lies on; `None` for one that has no key.
pub(super) fn page(file: &EngineFile, token: Token) -> Result<Option<u32>> {
    let read = file.begin_read()?;
    let table = read.open_table(WRAPPED).map_err(engine)?;
    let row = table.get(token).map_err(engine)?;
    let cut = || Error::damaged(format!("pages.redb, key {}", hex(&token)), "it is cut");
    row.map(|row| page_of(row.value()).ok_or_else(cut))
        .transpose()
}

/// A wrapped key.
pub(super) struct Row<'a> {
    pub(super) token: Token,
    /// The page that it lies on; `None` where the row is cut.
    pub(super) page: Option<u32>,
    bytes: &'a [u8],
}

impl Row<'_> {
    /// Opens it.
    pub(super) fn unwrap(&self, ring: &Keyring) -> Result<DataKey> {
        unwrap(ring, self.token, self.bytes)
    }
}

/// Hands each wrapped key to `take`.
pub(super) fn each(file: &EngineFile, take: &mut dyn FnMut(Row<'_>)) -> Result<()> {
    let read = file.begin_read()?;
    let table = read.open_table(WRAPPED).map_err(engine)?;
    for row in table.iter().map_err(engine)? {
        let (token, bytes) = row.map_err(engine)?;
        take(Row {
            token: token.value(),
            page: page_of(bytes.value()),
            bytes: bytes.value(),
        });
    }
    Ok(())
}

/// The tokens whose keys lie on some pages.
pub(super) fn on_pages(file: &EngineFile, pages: &[u32]) -> Result<Vec<(u32, Token)>> {
    let pages: HashSet<u32> = pages.iter().copied().collect();
    let mut found = Vec::new();
    each(file, &mut |row| {
        let page = row.page.filter(|page| pages.contains(page));
        found.extend(page.map(|page| (page, row.token)));
    })?;
    Ok(found)
}

/// A change of the rows, whole or not at all.
pub(super) struct Change(WriteTransaction);

impl Change {
    pub(super) fn begin(file: &EngineFile) -> Result<Self> {
        file.begin_write().map(Self)
    }

    pub(super) fn commit(self) -> Result<()> {
        self.0.commit().map_err(engine)
    }

    pub(super) fn abort(self) -> Result<()> {
        self.0.abort().map_err(engine)
    }

    /// Those of some tokens that have no key, each once.
    pub(super) fn missing(&self, tokens: &[Token]) -> Result<Vec<Token>> {
        let table = self.0.open_table(WRAPPED).map_err(engine)?;
        let (mut missing, mut seen) = (Vec::new(), HashSet::new());
        for token in tokens {
            if table.get(*token).map_err(engine)?.is_none() && seen.insert(*token) {
                missing.push(*token);
            }
        }
        Ok(missing)
    }

    /// How many keys a page holds.
    pub(super) fn used(&self, page: u32) -> Result<u32> {
        let table = self.0.open_table(USED).map_err(engine)?;
        let used = table.get(page).map_err(engine)?;
        Ok(used.map_or(0, |used| used.value()))
    }

    /// Lays new keys on a page.
    pub(super) fn put(&self, kek: &Kek, page: u32, keys: &[(Token, DataKey)]) -> Result<()> {
        let mut table = self.0.open_table(WRAPPED).map_err(engine)?;
        for (token, key) in keys {
            let row = wrap(kek, *token, page, key);
            table.insert(*token, row.as_slice()).map_err(engine)?;
        }
        let used = self.used(page)? + u32::try_from(keys.len()).unwrap_or(u32::MAX);
        let mut table = self.0.open_table(USED).map_err(engine)?;
        table.insert(page, used).map_err(engine)?;
        Ok(())
    }

    /// Takes the key of a token from its page's key to another's. One that has none is passed over.
    pub(super) fn rewrap(&self, ring: &Keyring, token: Token, page: u32) -> Result<bool> {
        let mut table = self.0.open_table(WRAPPED).map_err(engine)?;
        let Some(row) = table
            .get(token)
            .map_err(engine)?
            .map(|row| row.value().to_vec())
        else {
            return Ok(false);
        };
        let key = unwrap(ring, token, &row)?;
        let kek = ring.page(page).ok_or_else(|| missing_page(page))?;
        let row = wrap(kek, token, page, &key);
        table.insert(token, row.as_slice()).map_err(engine)?;
        Ok(true)
    }

    /// Removes the key of a token.
    pub(super) fn remove(&self, token: Token) -> Result<()> {
        let mut table = self.0.open_table(WRAPPED).map_err(engine)?;
        table.remove(token).map_err(engine)?;
        Ok(())
    }

    /// Notes how many keys a page holds; nothing where it is no more.
    pub(super) fn set_used(&self, page: u32, used: Option<u32>) -> Result<()> {
        let mut table = self.0.open_table(USED).map_err(engine)?;
        match used {
            Some(used) => drop(table.insert(page, used).map_err(engine)?),
            None => drop(table.remove(page).map_err(engine)?),
        }
        Ok(())
    }
}

pub(super) fn missing_page(page: u32) -> Error {
    Error::damaged("keyring", format!("key-encryption key {page} is gone"))
}

fn page_of(row: &[u8]) -> Option<u32> {
    row.first_chunk().copied().map(u32::from_le_bytes)
}

/// A row: the page, then the key sealed under the page's key for this token.
fn wrap(kek: &Kek, token: Token, page: u32, key: &DataKey) -> Vec<u8> {
    let mut row = page.to_le_bytes().to_vec();
    row.extend_from_slice(&kek.wrap(&wrap_aad(token, page), key));
    row
}

fn unwrap(ring: &Keyring, token: Token, row: &[u8]) -> Result<DataKey> {
    let damaged = |why: String| Error::damaged(format!("pages.redb, key {}", hex(&token)), why);
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
