//! Runs of young rows: a table each, with a small block a meter. A value begins with the token of the
//! key that the block is sealed under, so that a merge finds it.

use std::collections::{BTreeMap, HashMap};

use ems_core::{block::Block, meter::MeterId};
use ems_crypto::seal::Sealer;

use super::{Disk, FoldWrite, Sealed, hex};
use crate::{
    Error, Result,
    readings::{
        keys::Token,
        manifest::{Head, Manifest},
        rows::{Change, Key, Kind},
        run,
    },
};

/// The place of a block, as faults name it.
fn place(run: u64, token: Token) -> String {
    format!("run {run}, block {}", hex(&token))
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
        let damaged = |why: &str| self.damaged(place(run, token), why);
        let (owner, block) = value
            .split_first_chunk()
            .ok_or_else(|| damaged("it is cut"))?;
        let content = sealer.open(&self.block_aad(run, token, *owner), block);
        let content = content.map_err(|_| damaged("it does not open"))?;
        run::decode(&content).map_err(|why| damaged(&why.to_string()))
    }

    /// A meter's rows in a run that is known to hold some.
    pub(crate) fn block(&self, sealer: &Sealer, run: u64, token: Token) -> Result<Block> {
        let gone = || self.damaged(place(run, token), "it is gone");
        let value = self.get(Kind::Run(run), &token)?.ok_or_else(gone)?;
        self.open_block(sealer, (run, token), &value)
            .map(|(_, rows)| rows)
    }

    /// Whether a run holds a block of a meter.
    pub(crate) fn has_block(&self, run: u64, token: Token) -> Result<bool> {
        Ok(self.get(Kind::Run(run), &token)?.is_some())
    }

    /// Whose block it is: found by the token of its key, which the block itself names. `None` where
    /// there is no such block.
    pub(crate) fn meter_of(&self, run: u64, token: Token) -> Result<Option<MeterId>> {
        let damaged = |why: &str| self.damaged(place(run, token), why);
        let Some(value) = self.get(Kind::Run(run), &token)? else {
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
        let mut tokens = Vec::new();
        self.rows.look()?.all(Kind::Run(run), &mut |key, _| {
            tokens.extend(key.first_chunk().copied());
            Ok(())
        })?;
        Ok(tokens)
    }

    /// What is stored of a meter at one moment: its manifest, and its rows in each run that has some.
    pub(crate) fn stored(&self, sealer: &Sealer, token: Token) -> Result<Stored> {
        let mut found = Err(Error::Engine("a meter was not looked for".into()));
        let of = HashMap::from([(token, sealer)]);
        self.stored_all(&of, &mut |_, stored| found = stored)?;
        found
    }

    /// As [`Self::stored`], of many meters at once: each by its token and what opens it.
    pub(crate) fn stored_all(
        &self,
        of: &HashMap<Token, &Sealer>,
        take: &mut dyn FnMut(Token, Result<Stored>),
    ) -> Result<()> {
        let look = self.rows.look()?;
        let mut keys: Vec<Key> = of.keys().map(|token| (*token).into()).collect();
        keys.sort_unstable();
        let mut found: HashMap<Token, Result<Stored>> = HashMap::new();
        let known = |key: &[u8]| {
            let token: Token = *key.first_chunk()?;
            of.get(&token).map(|sealer| (token, *sealer))
        };
        look.get_all(Kind::Manifests, &keys, &mut |key, value| {
            if let Some((token, sealer)) = known(key) {
                self.note(value);
                let manifest = self.open_manifest(sealer, token, value);
                found.insert(token, manifest.map(|manifest| (manifest, Vec::new())));
            }
            Ok(())
        })?;
        look.in_runs(&keys, &mut |run, key, value| {
            let Some((token, sealer)) = known(key) else {
                return Ok(());
            };
            self.note(value);
            let rows = self.open_block(sealer, (run, token), value);
            let stored = found.entry(token).or_insert_with(|| Ok(Stored::default()));
            match (rows, stored.as_mut()) {
                (Ok((_, rows)), Ok(stored)) => stored.1.push((run, rows)),
                (Err(error), Ok(_)) => *stored = Err(error),
                (_, Err(_)) => {}
            }
            Ok(())
        })?;
        for token in of.keys() {
            let mut stored = found.remove(token).unwrap_or_else(|| Ok(Stored::default()));
            if let Ok((_, young)) = &mut stored {
                young.sort_by_key(|(run, _)| *run);
            }
            take(*token, stored);
        }
        Ok(())
    }

    /// Whether the runs are those that the head lists, each with as many blocks.
    pub(crate) fn check_runs(&self, head: &Head) -> Result<()> {
        let look = self.rows.look()?;
        let runs = look.runs()?;
        let listed = |run: &u64| head.runs.iter().any(|meta| meta.id == *run);
        if let Some(run) = runs.iter().find(|run| !listed(run)) {
            return Err(self.damaged(format!("run {run}"), "the head does not list it"));
        }
        for meta in &head.runs {
            let place = format!("run {}", meta.id);
            if !runs.contains(&meta.id) {
                return Err(self.damaged(place, "it is gone"));
            }
            if look.count(Kind::Run(meta.id))? != meta.blocks {
                return Err(self.damaged(place, "blocks of it are gone, or too many"));
            }
        }
        Ok(())
    }
}

/// What is stored of a meter: its manifest, and its rows in each run that has some, ascending.
pub(crate) type Stored = (Manifest, Vec<(u64, Block)>);

/// The changes by which a fold's run is written, the blocks that are spent are taken away, and the runs
/// that hold none any more.
pub(super) fn changes(fold: &mut FoldWrite) -> Vec<Change> {
    let mut changes = Vec::new();
    if let Some((run, mut blocks)) = fold.run.take() {
        // In the order of the table: its pages are filled one after the other.
        blocks.sort_unstable_by_key(|block| block.key);
        let rows = blocks.into_iter();
        changes.extend(rows.map(|row| Change::Row(Kind::Run(run), row.key.into(), row.value)));
    }
    let mut spent: BTreeMap<u64, Vec<Token>> = BTreeMap::new();
    for (run, token) in fold.spent.drain(..) {
        spent.entry(run).or_default().push(token);
    }
    for (run, mut tokens) in spent {
        if !fold.head.runs.iter().any(|meta| meta.id == run) {
            changes.push(Change::Run(run));
            continue;
        }
        tokens.sort_unstable();
        let rows = tokens.into_iter();
        changes.extend(rows.map(|token| Change::Row(Kind::Run(run), token.into(), None)));
    }
    changes
}
