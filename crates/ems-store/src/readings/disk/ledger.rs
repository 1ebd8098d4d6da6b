//! The ledger in the engine's file: sealed chunks of entries, found by the index of their first.

use std::sync::Arc;

use super::{Disk, Kind};
use crate::{
    Result,
    readings::wire::{Malformed, Reader, Writer},
};

/// Entries of a chunk at most.
const CHUNK: usize = 256;
/// Entries whose chunks are read at a time.
const STEP: u64 = 4096;

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
        if !self.rows.folds_ledger() {
            return self.rows.entries(from, limit);
        }
        let look = self.rows.look()?;
        let start = look.floor(Kind::Ledger, &from.to_be_bytes())?;
        let start = start.map_or(from, |key| index(key.as_slice()));
        let (mut found, mut expected) = (Vec::new(), start);
        while found.len() < limit {
            let before = expected;
            let until = expected.saturating_add(STEP);
            look.range(
                Kind::Ledger,
                &expected.to_be_bytes(),
                &until.to_be_bytes(),
                &mut |key, sealed| {
                    let first = index(key);
                    if first != expected {
                        return Err(self.damaged(place(first), "entries before these are gone"));
                    }
                    let entries = self.open_ledger(first, sealed)?;
                    expected += u64::try_from(entries.len()).unwrap_or(u64::MAX);
                    let wanted = (first..).zip(entries).filter(|(index, _)| *index >= from);
                    found.extend(wanted);
                    Ok(())
                },
            )?;
            if expected == before {
                // Nothing follows, or what does is not where these end.
                if look.count(Kind::Ledger)? > 0
                    && look
                        .floor(Kind::Ledger, &[0xff; 8])?
                        .is_some_and(|last| index(last.as_slice()) >= expected)
                {
                    return Err(self.damaged(place(expected), "entries are gone"));
                }
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    fn open_ledger(&self, first: u64, sealed: &[u8]) -> Result<Vec<Vec<u8>>> {
        let aad = self.aad(&[b"ledger", &first.to_le_bytes()]);
        let content = self.ledger_sealer.open(&aad, sealed);
        let content = content.map_err(|_| self.damaged(place(first), "they do not open"))?;
        self.note(sealed);
        ledger_entries(&content).map_err(|why| self.damaged(place(first), why.to_string()))
    }
}

fn place(first: u64) -> String {
    format!("ledger entries from {first}")
}

fn index(key: &[u8]) -> u64 {
    key.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

fn ledger_entries(content: &[u8]) -> Result<Vec<Vec<u8>>, Malformed> {
    let mut input = Reader(content);
    (0..input.count()?)
        .map(|_| input.bytes().map(<[u8]>::to_vec))
        .collect()
}
