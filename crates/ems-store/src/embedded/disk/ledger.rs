//! The ledger in the engine's file: sealed chunks of entries, found by the index of their first.

use std::sync::Arc;

use super::{Disk, LEDGER, engine};
use crate::{
    Error, Result,
    embedded::wire::{Malformed, Reader, Writer},
};

/// Entries of a chunk at most.
const CHUNK: usize = 256;

impl Disk {
    /// Seals ledger entries that begin at `first`, in chunks.
    pub(crate) fn seal_ledger(&self, first: u64, entries: &[Arc<[u8]>]) -> Vec<(u64, Vec<u8>)> {
        let mut index = first;
        let seal = |chunk: &[Arc<[u8]>]| {
            let mut out = Writer::default();
            out.count(chunk.len());
            chunk.iter().for_each(|entry| out.bytes(entry));
            let at = index;
            index += u64::try_from(chunk.len()).unwrap_or(0);
            (
                at,
                self.ledger_sealer
                    .seal(&self.aad(&[b"ledger", &at.to_le_bytes()]), &out.0),
            )
        };
        entries.chunks(CHUNK).map(seal).collect()
    }

    /// Ledger entries from `from` on, at most `limit`, of those folded.
    pub(crate) fn ledger(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let read = self.db.begin_read()?;
        let table = read.open_table(LEDGER).map_err(engine)?;
        let start = table
            .range(..=from)
            .map_err(engine)?
            .next_back()
            .transpose()
            .map_err(engine)?;
        let start = start.map_or(from, |(first, _)| first.value());
        let mut found = Vec::new();
        let mut expected = start;
        for row in table.range(start..).map_err(engine)? {
            let (first, sealed) = row.map_err(engine)?;
            let first = first.value();
            let damaged = |why: &str| {
                Error::damaged(format!("engine.redb, ledger entries from {first}"), why)
            };
            if first != expected {
                return Err(damaged("entries before these are gone"));
            }
            let aad = self.aad(&[b"ledger", &first.to_le_bytes()]);
            let content = self
                .ledger_sealer
                .open(&aad, sealed.value())
                .map_err(|_| damaged("they do not open"))?;
            self.note(sealed.value());
            let entries = ledger_entries(&content).map_err(|why| damaged(&why.to_string()))?;
            expected += u64::try_from(entries.len()).unwrap_or(u64::MAX);
            found.extend((first..).zip(entries).filter(|(index, _)| *index >= from));
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }
}

fn ledger_entries(content: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut input = Reader(content);
    (0..input.count()?)
        .map(|_| input.bytes().map(<[u8]>::to_vec))
        .collect()
}
