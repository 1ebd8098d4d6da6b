//! The wrapped data keys in a redb file of their own, beside the keyring.

use std::path::Path;

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use super::{
    fault::engine,
    vfs::{EngineFile, Ground},
};
use crate::{
    Result,
    readings::keys::{
        Token,
        place::{Change, Take, Wrapped},
    },
};

/// Token of a subject → page (u32), wrapped key.
const WRAPPED: TableDefinition<'_, Token, &[u8]> = TableDefinition::new("wrapped");
/// Page → how many keys lie on it.
const USED: TableDefinition<'_, u32, u32> = TableDefinition::new("used");
/// Bytes of the table of wrapped keys held by the engine.
const CACHE_BYTES: usize = 16 << 20;
/// Bytes of a row: token, page, nonce, wrapped key, tag.
const ROW: usize = 80;

/// The file of the wrapped keys.
pub(crate) struct Pages(EngineFile);

impl Pages {
    /// Opens the file of a directory, and makes it where it is not.
    pub(crate) fn open(ground: &Ground, dir: &Path) -> Result<Self> {
        let file = EngineFile::open(ground, &dir.join("pages.redb"), CACHE_BYTES)?;
        let write = file.begin_write()?;
        write.open_table(WRAPPED).map_err(engine)?;
        write.open_table(USED).map_err(engine)?;
        write.commit().map_err(engine)?;
        Ok(Self(file))
    }
}

impl Wrapped for Pages {
    fn count(&self) -> Result<u64> {
        let read = self.0.begin_read()?;
        let table = read.open_table(WRAPPED).map_err(engine)?;
        table.len().map_err(engine)
    }

    fn used(&self, pages: &[u32]) -> Result<Vec<u32>> {
        let read = self.0.begin_read()?;
        let table = read.open_table(USED).map_err(engine)?;
        let used = |page: &u32| {
            let found = table.get(*page).map_err(engine)?;
            Ok(found.map_or(0, |used| used.value()))
        };
        pages.iter().map(used).collect()
    }

    fn get(&self, tokens: &[Token], take: Take<'_>) -> Result<()> {
        let read = self.0.begin_read()?;
        get(&read.open_table(WRAPPED).map_err(engine)?, tokens, take)
    }

    fn each(&self, take: Take<'_>) -> Result<()> {
        let read = self.0.begin_read()?;
        let table = read.open_table(WRAPPED).map_err(engine)?;
        for row in table.iter().map_err(engine)? {
            let (token, row) = row.map_err(engine)?;
            take(token.value(), row.value());
        }
        Ok(())
    }

    fn expect_room(&self, rows: usize) -> Result<()> {
        self.0.expect_room(rows, rows * ROW)
    }

    fn close(&self, _pages: &[u32]) -> Result<()> {
        // Whoever lays a key on a page looks at the keyring first, in this process.
        Ok(())
    }

    fn change(&self, work: &mut dyn FnMut(&mut dyn Change) -> Result<bool>) -> Result<bool> {
        let mut change = Changing(self.0.begin_write()?);
        if !work(&mut change)? {
            change.0.abort().map_err(engine)?;
            return Ok(false);
        }
        change.0.commit().map_err(engine)?;
        Ok(true)
    }
}

fn get(
    table: &impl ReadableTable<Token, &'static [u8]>,
    of: &[Token],
    take: Take<'_>,
) -> Result<()> {
    for token in of {
        if let Some(row) = table.get(*token).map_err(engine)? {
            take(*token, row.value());
        }
    }
    Ok(())
}

struct Changing(WriteTransaction);

impl Change for Changing {
    fn get(&mut self, tokens: &[Token], take: Take<'_>) -> Result<()> {
        get(&self.0.open_table(WRAPPED).map_err(engine)?, tokens, take)
    }

    fn insert(&mut self, rows: &[(Token, Vec<u8>)]) -> Result<bool> {
        let mut table = self.0.open_table(WRAPPED).map_err(engine)?;
        for (token, row) in rows {
            let old = table.insert(*token, row.as_slice()).map_err(engine)?;
            if old.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn replace(&mut self, rows: &[(Token, Vec<u8>)]) -> Result<()> {
        let mut table = self.0.open_table(WRAPPED).map_err(engine)?;
        for (token, row) in rows {
            table.insert(*token, row.as_slice()).map_err(engine)?;
        }
        Ok(())
    }

    fn remove(&mut self, token: Token) -> Result<()> {
        let mut table = self.0.open_table(WRAPPED).map_err(engine)?;
        table.remove(token).map_err(engine)?;
        Ok(())
    }

    fn used(&mut self, page: u32) -> Result<u32> {
        let table = self.0.open_table(USED).map_err(engine)?;
        let used = table.get(page).map_err(engine)?;
        Ok(used.map_or(0, |used| used.value()))
    }

    fn set_used(&mut self, page: u32, before: u32, used: u32) -> Result<bool> {
        let mut table = self.0.open_table(USED).map_err(engine)?;
        let old = table.insert(page, used).map_err(engine)?;
        Ok(old.map_or(0, |old| old.value()) == before)
    }

    fn end_page(&mut self, page: u32) -> Result<()> {
        let mut table = self.0.open_table(USED).map_err(engine)?;
        table.remove(page).map_err(engine)?;
        Ok(())
    }
}
