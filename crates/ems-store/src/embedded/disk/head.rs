//! The head: how far the folded state reaches, and the tally of every row of the engine's file. A row
//! that is removed, put in twice or put back as it once was is missed by it, though each row opens.
//!
//! The tally is a count and a set hash over table, key and nonce of each row (no two seals share a
//! nonce, and only what was sealed with it opens), kept in the head's own seal and moved along by
//! each write. A start compares the counts, a verification the hash. Of a row with damaged content
//! the nonce is still known, so the tally is right again once that row is deleted.

use ems_crypto::set_hash::SetHash;
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata as _, TableDefinition, TableHandle as _,
    WriteTransaction,
};

use super::{Disk, HEAD, LEDGER, MANIFESTS, RECORDS, SEGMENTS, SUPERSEDED, engine, runs, segments};
use crate::{Error, Result, embedded::manifest::Head};

/// What a value begins with: in some tables the token of its key, then its nonce.
const OWNER: usize = 16;
const NONCE: usize = 12;

/// A count and a hash of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) hash: SetHash,
}

/// A tally that is moved along.
pub(super) struct Tallying<'a> {
    disk: &'a Disk,
    pub(super) tally: Tally,
}

impl Tallying<'_> {
    /// Adds a row.
    pub(super) fn add(&mut self, table: &str, key: &[u8], value: &[u8]) {
        self.tally.rows += 1;
        self.tally
            .hash
            .add(&self.disk.tally_key, table, &member(table, key, value));
    }

    /// Takes a row away.
    pub(super) fn remove(&mut self, table: &str, key: &[u8], value: &[u8]) {
        self.tally.rows = self.tally.rows.saturating_sub(1);
        self.tally
            .hash
            .remove(&self.disk.tally_key, table, &member(table, key, value));
    }

    fn add_table<K: redb::Key>(
        &mut self,
        read: &ReadTransaction,
        table: TableDefinition<'_, K, &'static [u8]>,
    ) -> Result<()> {
        let rows = read.open_table(table).map_err(engine)?;
        for row in rows.iter().map_err(engine)? {
            let (key, value) = row.map_err(engine)?;
            let key = key.value();
            self.add(table.name(), K::as_bytes(&key).as_ref(), value.value());
        }
        Ok(())
    }
}

/// What stands for a row: its key, its length, and the nonce that it was sealed with. That of a
/// segment is in its first piece; the others' keys are never used again.
fn member(table: &str, key: &[u8], value: &[u8]) -> Vec<u8> {
    let start = match table {
        _ if segments::is_later_piece(table, key) => 0,
        _ if table == RECORDS.name() || runs::is_run(table) => OWNER + NONCE,
        _ => NONCE,
    };
    let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
    let mut member = key.to_vec();
    member.extend_from_slice(&length.to_le_bytes());
    member.extend_from_slice(value.get(..start).unwrap_or(value));
    member
}

impl Disk {
    /// How far the folded state reaches.
    pub(crate) fn head(&self) -> Result<Head> {
        let read = self.db.begin_read()?;
        let table = read.open_table(HEAD).map_err(engine)?;
        self.open_head(&table)
    }

    fn open_head(&self, table: &impl ReadableTable<&'static str, &'static [u8]>) -> Result<Head> {
        let damaged = |why: &str| Error::damaged("engine.redb, head", why);
        let found = table.get("head").map_err(engine)?;
        let found = found.ok_or_else(|| damaged("it is gone"))?;
        let opened = self.head_sealer.open(&self.aad(&[b"head"]), found.value());
        let bytes =
            opened.map_err(|_| damaged("it does not open: another instance's, or damaged"))?;
        Head::decode(&bytes).map_err(|why| damaged(&why.to_string()))
    }

    /// The tally as this write finds it, to be moved along and put into its head.
    pub(super) fn tallying(&self, write: &WriteTransaction) -> Result<Tallying<'_>> {
        let table = write.open_table(HEAD).map_err(engine)?;
        let tally = self.open_head(&table)?.tally;
        Ok(Tallying { disk: self, tally })
    }

    pub(super) fn put_head(&self, write: &WriteTransaction, head: &Head) -> Result<()> {
        let head = Head {
            spent: self.spent_with_head(),
            ..head.clone()
        };
        let sealed = self.head_sealer.seal(&self.aad(&[b"head"]), &head.encode());
        write
            .open_table(HEAD)
            .map_err(engine)?
            .insert("head", sealed.as_slice())
            .map_err(engine)?;
        Ok(())
    }

    /// Puts a new tally into the head that is there.
    pub(super) fn put_tally(&self, write: &WriteTransaction, tally: Tally) -> Result<()> {
        let head = self.open_head(&write.open_table(HEAD).map_err(engine)?)?;
        self.put_head(write, &Head { tally, ..head })
    }

    /// Whether there are as many rows as the head says: known at once, whatever their number.
    pub(crate) fn check_count(&self) -> Result<()> {
        let read = self.db.begin_read()?;
        let mut rows = 0;
        for table in [MANIFESTS, RECORDS] {
            rows += read
                .open_table(table)
                .map_err(engine)?
                .len()
                .map_err(engine)?;
        }
        let table = read.open_table(SEGMENTS).map_err(engine)?;
        rows += table.len().map_err(engine)?;
        let table = read.open_table(SUPERSEDED).map_err(engine)?;
        rows += table.len().map_err(engine)?;
        let table = read.open_table(LEDGER).map_err(engine)?;
        rows += table.len().map_err(engine)?;
        for run in runs::runs(&read)? {
            let table = read.open_table(runs::table(&runs::name(run)));
            rows += table.map_err(engine)?.len().map_err(engine)?;
        }
        let known = self
            .open_head(&read.open_table(HEAD).map_err(engine)?)?
            .tally
            .rows;
        if rows == known {
            return Ok(());
        }
        Err(Error::damaged(
            "engine.redb",
            format!("it has {rows} rows, and the head knows of {known}"),
        ))
    }

    /// Whether the rows are those that the head tallies: reads all of them.
    pub(crate) fn check_tally(&self) -> Result<()> {
        let read = self.db.begin_read()?;
        let mut found = Tallying {
            disk: self,
            tally: Tally::default(),
        };
        found.add_table(&read, SEGMENTS)?;
        found.add_table(&read, MANIFESTS)?;
        found.add_table(&read, SUPERSEDED)?;
        found.add_table(&read, RECORDS)?;
        found.add_table(&read, LEDGER)?;
        for run in runs::runs(&read)? {
            let name = runs::name(run);
            found.add_table(&read, runs::table(&name))?;
        }
        let known = self
            .open_head(&read.open_table(HEAD).map_err(engine)?)?
            .tally;
        if found.tally == known {
            return Ok(());
        }
        Err(Error::damaged(
            "engine.redb",
            "a row was removed, added or put back as it once was: \
             the rows are not those of the last write",
        ))
    }
}
