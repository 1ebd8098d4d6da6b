//! The head: how far the folded state reaches, and the tally of every row of the engine's file. A row
//! that is removed, put in twice or put back as it once was is missed by it, though each row opens.
//!
//! The tally is a count and a set hash over table, key and nonce of each row (no two seals share a
//! nonce, and only what was sealed with it opens), kept in the head's own seal and moved along by
//! each write. A start compares the counts, a verification the hash. Of a row with damaged content
//! the nonce is still known, so the tally is right again once that row is deleted.

use ems_crypto::set_hash::SetHash;

use super::{Disk, Kind, Look, segments};
use crate::{
    Result,
    readings::{
        manifest::Head,
        rows::{Change, HEAD_KEY, Told, Value},
    },
};

/// What a value begins with: in some tables the token of its key, then its nonce.
const OWNER: usize = 16;
const NONCE: usize = 12;

/// A count and a hash of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) hash: SetHash,
}

impl Tally {
    /// Adds a row.
    fn add(&mut self, disk: &Disk, kind: Kind, key: &[u8], value: Value<'_>) {
        self.rows += 1;
        let member = member(kind, key, value);
        self.hash.add(&disk.tally_key, &kind.name(), &member);
    }

    /// Takes a row away.
    fn remove(&mut self, disk: &Disk, kind: Kind, key: &[u8], value: Value<'_>) {
        self.rows = self.rows.saturating_sub(1);
        let member = member(kind, key, value);
        self.hash.remove(&disk.tally_key, &kind.name(), &member);
    }
}

/// What stands for a row: its key, its length, and the nonce that it was sealed with. That of a
/// segment is in its first piece; the others' keys are never used again.
fn member(kind: Kind, key: &[u8], value: Value<'_>) -> Vec<u8> {
    let start = match kind {
        _ if segments::is_later_piece(kind, key) => 0,
        Kind::Records(_) | Kind::Run(_) => OWNER + NONCE,
        _ => NONCE,
    };
    let length = u64::try_from(value.length).unwrap_or(u64::MAX);
    let mut member = key.to_vec();
    member.extend_from_slice(&length.to_le_bytes());
    member.extend_from_slice(value.start.get(..start).unwrap_or(value.start));
    member
}

/// A tally that a write moves along, and the head that it goes into.
struct Tallying<'a> {
    disk: &'a Disk,
    tally: Tally,
    head: &'a Head,
}

impl Told for Tallying<'_> {
    fn row(&mut self, kind: Kind, key: &[u8], old: Option<Value<'_>>, new: Option<Value<'_>>) {
        if let Some(old) = old {
            self.tally.remove(self.disk, kind, key, old);
        }
        if let Some(new) = new {
            self.tally.add(self.disk, kind, key, new);
        }
    }

    fn head(&mut self) -> Result<Vec<u8>> {
        let head = Head {
            spent: self.disk.spent_with_head(),
            tally: self.tally,
            ..self.head.clone()
        };
        let aad = self.disk.aad(&[b"head"]);
        Ok(self.disk.head_sealer.seal(&aad, &head.encode()))
    }
}

impl Disk {
    /// How far the folded state reaches.
    pub(crate) fn head(&self) -> Result<Head> {
        self.head_in(self.rows.look()?.as_ref())
    }

    fn head_in(&self, look: &dyn Look) -> Result<Head> {
        let damaged = |why: &str| self.damaged("head", why);
        let found = look.get(Kind::Head, HEAD_KEY)?;
        let found = found.ok_or_else(|| damaged("it is gone"))?;
        let opened = self.head_sealer.open(&self.aad(&[b"head"]), &found);
        let bytes =
            opened.map_err(|_| damaged("it does not open: another instance's, or damaged"))?;
        Head::decode(&bytes).map_err(|why| damaged(&why.to_string()))
    }

    /// Makes changes, and puts a head that tallies them. To be called by whoever holds `writing`.
    pub(super) fn put_head(&self, changes: Vec<Change>, head: &Head) -> Result<()> {
        let tally = if self.rows.is_new()? {
            Tally::default()
        } else {
            self.head()?.tally
        };
        let mut told = Tallying {
            disk: self,
            tally,
            head,
        };
        self.rows.write(changes, &mut told)
    }

    /// The tables whose rows are tallied.
    fn tallied(&self, runs: Vec<u64>) -> impl Iterator<Item = Kind> {
        let tables = [
            Kind::Segments,
            Kind::Manifests,
            Kind::Superseded,
            Kind::Ledger,
        ];
        let records = self.rows.records().iter().copied();
        let runs = runs.into_iter().map(Kind::Run);
        tables.into_iter().chain(records).chain(runs)
    }

    /// Whether there are as many rows as the head says: known at once, whatever their number.
    pub(crate) fn check_count(&self) -> Result<()> {
        let look = self.rows.look()?;
        let mut rows = 0;
        for kind in self.tallied(look.runs()?) {
            rows += look.count(kind)?;
        }
        let known = self.head_in(look.as_ref())?.tally.rows;
        if rows == known {
            return Ok(());
        }
        let why = format!("there are {rows}, and the head knows of {known}");
        Err(self.damaged("rows", why))
    }

    /// Whether the rows are those that the head tallies: reads all of them.
    pub(crate) fn check_tally(&self) -> Result<()> {
        let look = self.rows.look()?;
        let mut found = Tally::default();
        for kind in self.tallied(look.runs()?) {
            look.all(kind, &mut |key, value| {
                found.add(self, kind, key, value.into());
                Ok(())
            })?;
        }
        if found == self.head_in(look.as_ref())?.tally {
            return Ok(());
        }
        Err(self.damaged(
            "rows",
            "a row was removed, added or put back as it once was: \
             the rows are not those of the last write",
        ))
    }
}
