//! Runs in the engine's file: a table each, with a small block a meter. A value begins with the token
//! of the key that the block is sealed under, so that a merge finds it.

use std::collections::BTreeMap;

use ems_core::{block::Block, meter::MeterId};
use ems_crypto::seal::Sealer;
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle,
    WriteTransaction,
};

use super::{Disk, FoldWrite, Sealed, Tallying, engine, hex};
use crate::{
    Error, Result,
    embedded::{
        keys::Token,
        manifest::{Head, Manifest},
        run,
    },
};

const PREFIX: &str = "run-";

pub(super) fn name(run: u64) -> String {
    format!("{PREFIX}{run:016x}")
}

/// Whether a table is a run.
pub(super) fn is_run(table: &str) -> bool {
    table.starts_with(PREFIX)
}

fn number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()
}

pub(super) fn table(name: &str) -> TableDefinition<'_, Token, &'static [u8]> {
    TableDefinition::new(name)
}

/// The place of a block, as faults name it.
fn place(run: u64, token: Token) -> String {
    format!("engine.redb, run {run}, block {}", hex(&token))
}

impl Disk {
    /// Seals a meter's block for its place in a run. `owner` is the token of the sealer's key.
    pub(crate) fn seal_block(
        &self,
        sealer: &Sealer,
        (owner, token): (Token, Token),
        run: u64,
        content: &[u8],
    ) -> Sealed<Token> {
        let mut value = owner.to_vec();
        value.extend(sealer.seal(&self.block_aad(run, token, owner), content));
        Sealed {
            key: token,
            value: Some(value),
        }
    }

    fn block_aad(&self, run: u64, token: Token, owner: Token) -> Vec<u8> {
        self.aad(&[b"run", &run.to_le_bytes(), &token, &owner])
    }

    fn open_block(
        &self,
        sealer: &Sealer,
        (run, token): (u64, Token),
        value: &[u8],
    ) -> Result<(MeterId, Block)> {
        let damaged = |why: &str| Error::damaged(place(run, token), why);
        let (owner, block) = value
            .split_first_chunk()
            .ok_or_else(|| damaged("it is cut"))?;
        let content = sealer.open(&self.block_aad(run, token, *owner), block);
        let content = content.map_err(|_| damaged("it does not open"))?;
        run::decode(&content).map_err(|why| damaged(&why.to_string()))
    }

    /// A meter's rows in a run that is known to hold some.
    pub(crate) fn block(&self, sealer: &Sealer, run: u64, token: Token) -> Result<Block> {
        let gone = || Error::damaged(place(run, token), "it is gone");
        let value = self.get(table(&name(run)), token)?.ok_or_else(gone)?;
        self.open_block(sealer, (run, token), &value)
            .map(|(_, rows)| rows)
    }

    /// Whether a run holds a block of a meter.
    pub(crate) fn has_block(&self, run: u64, token: Token) -> Result<bool> {
        Ok(self.get(table(&name(run)), token)?.is_some())
    }

    /// Whose block it is: found by the token of its key, which the block itself names. `None` where
    /// there is no such block.
    pub(crate) fn meter_of(&self, run: u64, token: Token) -> Result<Option<MeterId>> {
        let damaged = |why: &str| Error::damaged(place(run, token), why);
        let Some(value) = self.get(table(&name(run)), token)? else {
            return Ok(None);
        };
        let owner = value.first_chunk().ok_or_else(|| damaged("it is cut"))?;
        let key = self.keys.key_of(*owner)?;
        let key = key.ok_or_else(|| damaged("its key is gone"))?;
        self.open_block(&Sealer::new(&key), (run, token), &value)
            .map(|(meter, _)| Some(meter))
    }

    /// The tokens of the blocks of a run, ascending.
    pub(crate) fn tokens(&self, run: u64) -> Result<Vec<Token>> {
        let read = self.db.begin_read()?;
        let name = name(run);
        let table = read.open_table(table(&name)).map_err(engine)?;
        let rows = table.iter().map_err(engine)?;
        rows.map(|row| row.map(|(token, _)| token.value()).map_err(engine))
            .collect()
    }

    /// What is stored of a meter at one moment: its manifest, and its rows in each run that has some.
    pub(crate) fn stored(
        &self,
        sealer: &Sealer,
        token: Token,
    ) -> Result<(Manifest, Vec<(u64, Block)>)> {
        let read = self.db.begin_read()?;
        let manifest = self.manifest(&read, sealer, token)?;
        let mut young = Vec::new();
        for run in runs(&read)? {
            let name = name(run);
            let rows = read.open_table(table(&name)).map_err(engine)?;
            let Some(value) = rows.get(token).map_err(engine)? else {
                continue;
            };
            self.note(value.value());
            let (_, rows) = self.open_block(sealer, (run, token), value.value())?;
            young.push((run, rows));
        }
        Ok((manifest, young))
    }

    /// Whether the runs are those that the head lists, each with as many blocks.
    pub(crate) fn check_runs(&self, head: &Head) -> Result<()> {
        let read = self.db.begin_read()?;
        for run in runs(&read)? {
            if !head.runs.iter().any(|meta| meta.id == run) {
                let place = format!("engine.redb, run {run}");
                return Err(Error::damaged(place, "the head does not list it"));
            }
        }
        for meta in &head.runs {
            let place = || format!("engine.redb, run {}", meta.id);
            let name = name(meta.id);
            let rows = read.open_table(table(&name));
            let rows = rows.map_err(|_| Error::damaged(place(), "it is gone"))?;
            if rows.len().map_err(engine)? != meta.blocks {
                return Err(Error::damaged(
                    place(),
                    "blocks of it are gone, or too many",
                ));
            }
        }
        Ok(())
    }
}

/// The runs that there are, ascending.
pub(super) fn runs(read: &ReadTransaction) -> Result<Vec<u64>> {
    let tables = read.list_tables().map_err(engine)?;
    let mut runs: Vec<u64> = tables.filter_map(|table| number(table.name())).collect();
    runs.sort_unstable();
    Ok(runs)
}

/// Writes a fold's run, takes away the blocks that are spent, and the runs that hold none any more.
pub(super) fn write(
    write: &WriteTransaction,
    fold: &mut FoldWrite,
    tally: &mut Tallying<'_>,
) -> Result<()> {
    if let Some((run, blocks)) = &mut fold.run {
        // In the order of the table: its pages are filled one after the other.
        blocks.sort_unstable_by_key(|block| block.key);
        let name = name(*run);
        let mut rows = write.open_table(table(&name)).map_err(engine)?;
        for block in blocks {
            let value = block.value.as_deref().unwrap_or_default();
            rows.insert(block.key, value).map_err(engine)?;
            tally.add(&name, &block.key, value);
        }
    }
    let mut spent: BTreeMap<u64, Vec<Token>> = BTreeMap::new();
    for (run, token) in fold.spent.drain(..) {
        spent.entry(run).or_default().push(token);
    }
    for (run, mut tokens) in spent {
        let name = name(run);
        if !fold.head.runs.iter().any(|meta| meta.id == run) {
            let rows = write.open_table(table(&name)).map_err(engine)?;
            for row in rows.iter().map_err(engine)? {
                let (token, value) = row.map_err(engine)?;
                tally.remove(&name, &token.value(), value.value());
            }
            drop(rows);
            write.delete_table(table(&name)).map_err(engine)?;
            continue;
        }
        tokens.sort_unstable();
        let mut rows = write.open_table(table(&name)).map_err(engine)?;
        for token in tokens {
            if let Some(old) = rows.remove(token).map_err(engine)? {
                tally.remove(&name, &token, old.value());
            }
        }
    }
    Ok(())
}
