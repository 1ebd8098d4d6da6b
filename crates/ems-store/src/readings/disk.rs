//! What has been folded: segments, manifests, records and the ledger as rows of a backend, every value
//! sealed and bound to its place. Written only by a fold, whole or not at all.

mod budget;
mod head;
mod ledger;
mod purge;
mod records;
mod runs;
mod segments;
mod superseded;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ems_crypto::{
    hash::IndexKey,
    seal::{Sealer, aad},
};
use parking_lot::{Mutex, RwLock};

pub(crate) use self::{
    head::Tally,
    runs::Stored,
    segments::{SegmentKey, segment_key},
};
use super::{
    guarded::guarded,
    keys::{KeyTree, Token},
    manifest::{Head, Manifest, RunMeta, Spent},
    meter::Meter,
    rows::{Change, Key, Kind, Look, Rows},
};
use crate::{Error, Result, Table, subject::Subject};

/// The format of what is stored, as it is written here.
pub(crate) const FORMAT: u16 = 6;

/// A sealed value on its way to its place.
pub(crate) struct Sealed<K> {
    pub(crate) key: K,
    /// `None` removes what is there.
    pub(crate) value: Option<Vec<u8>>,
}

/// All that one fold writes.
#[derive(Default)]
pub(crate) struct FoldWrite {
    pub(crate) segments: Vec<Sealed<SegmentKey>>,
    pub(crate) manifests: Vec<Sealed<Token>>,
    pub(crate) superseded: Vec<Sealed<[u8; 24]>>,
    /// A new run, and its blocks.
    pub(crate) run: Option<(u64, Vec<Sealed<Token>>)>,
    /// Blocks of runs of which the rows went to segments.
    pub(crate) spent: Vec<(u64, Token)>,
    pub(crate) records: Vec<(Table, Sealed<Token>)>,
    pub(crate) ledger: Vec<(u64, Vec<u8>)>,
    pub(crate) head: Head,
}

impl FoldWrite {
    /// Takes a meter's rows out of some runs: they are in segments of this fold.
    pub(crate) fn spend(&mut self, meter: &Meter, runs: &[u64]) {
        for run in runs {
            self.spent.push((*run, meter.token));
            self.head.spend(*run);
        }
    }

    /// Lists the new run in the head, if it holds anything.
    pub(crate) fn begin_run(&mut self) {
        self.run.take_if(|(_, blocks)| blocks.is_empty());
        if let Some((id, blocks)) = &self.run {
            let blocks = u64::try_from(blocks.len()).unwrap_or(u64::MAX);
            self.head.runs.push(RunMeta { id: *id, blocks });
            self.head.next_run = id + 1;
        }
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        let segments = self.segments.iter().map(|row| row.value.as_deref());
        let manifests = self.manifests.iter().map(|row| row.value.as_deref());
        let superseded = self.superseded.iter().map(|row| row.value.as_deref());
        let records = self.records.iter().map(|(_, row)| row.value.as_deref());
        let ledger = self.ledger.iter().map(|(_, chunk)| Some(chunk.as_slice()));
        let blocks = self.run.iter().flat_map(|(_, blocks)| blocks);
        let blocks = blocks.map(|block| block.value.as_deref());
        let all = segments.chain(manifests).chain(superseded).chain(blocks);
        all.chain(records)
            .chain(ledger)
            .map(Option::unwrap_or_default)
    }

    /// As changes of rows: those of a table together, in the order of its keys, so that each of its
    /// pages is visited once.
    fn changes(&mut self, piece: usize) -> Vec<Change> {
        let mut changes = runs::changes(self);
        segments::changes(std::mem::take(&mut self.segments), piece, &mut changes);
        put_all(
            Kind::Manifests,
            std::mem::take(&mut self.manifests),
            &mut changes,
        );
        put_all(
            Kind::Superseded,
            std::mem::take(&mut self.superseded),
            &mut changes,
        );
        let mut records = std::mem::take(&mut self.records);
        records.sort_by_key(|(table, row)| (*table, row.key));
        changes.extend(
            records
                .into_iter()
                .map(|(table, row)| Change::Row(Kind::Records(table), row.key.into(), row.value)),
        );
        let chunks = std::mem::take(&mut self.ledger).into_iter();
        changes.extend(chunks.map(|(first, chunk)| {
            Change::Row(Kind::Ledger, first.to_be_bytes().into(), Some(chunk))
        }));
        changes
    }
}

fn put_all<K: Into<Key> + Ord + Copy>(kind: Kind, mut new: Vec<Sealed<K>>, out: &mut Vec<Change>) {
    new.sort_by_key(|row| row.key);
    let rows = new.into_iter();
    out.extend(rows.map(|row| Change::Row(kind, row.key.into(), row.value)));
}

/// The rows, and the keys that open them.
pub(crate) struct Disk {
    rows: Arc<dyn Rows>,
    /// Held by whoever writes.
    writing: Mutex<()>,
    /// The state before a fold, as long as readers know no other: what the fold took away is found
    /// here.
    before: RwLock<Option<Box<dyn Look>>>,
    /// How much the keys have sealed.
    spent: Mutex<Spent>,
    /// Sealed bytes that were read.
    read: AtomicU64,
    keys: Arc<KeyTree>,
    instance: [u8; 16],
    head_sealer: Sealer,
    record_sealer: Sealer,
    /// The token of the key that records lie under, if not their subject's.
    records_owner: Token,
    ledger_sealer: Sealer,
    tally_key: IndexKey,
}

impl Disk {
    /// Opens what a backend keeps; begins it where there is nothing.
    pub(crate) fn open(rows: Arc<dyn Rows>, keys: Arc<KeyTree>) -> Result<Self> {
        let subjects = ["head", "records", "ledger"].map(Subject::Table);
        if rows.is_new()? {
            keys.ensure(&subjects)?;
        }
        let records_owner = keys.subject_token(&Subject::Table("records"));
        let [head, records, ledger] = subjects.map(|subject| keys.existing(&subject));
        let head = head?;
        let disk = Self {
            rows,
            writing: Mutex::new(()),
            before: RwLock::new(None),
            spent: Mutex::default(),
            read: AtomicU64::new(0),
            instance: keys.instance(),
            keys,
            tally_key: IndexKey::derive(&head, "tally"),
            head_sealer: Sealer::new(&head),
            record_sealer: Sealer::new(&records?),
            records_owner,
            ledger_sealer: Sealer::new(&ledger?),
        };
        if disk.rows.is_new()? {
            disk.put_head(
                Vec::new(),
                &Head {
                    next_segment: 1,
                    next_run: 1,
                    ..Head::default()
                },
            )?;
        }
        let spent = disk.head()?.spent.at_start();
        *disk.spent.lock() = spent;
        Ok(disk)
    }

    /// Applies a fold, whole or not at all. Once it is durable, `seen` is called, which lets readers
    /// know; until it returns, they find what the fold takes away.
    pub(crate) fn write(&self, mut fold: FoldWrite, seen: impl FnOnce()) -> Result<()> {
        let _one = self.writing.lock();
        self.charge(&fold)?;
        self.rows
            .expect_room(fold.values().count(), fold.values().map(<[u8]>::len).sum())?;
        *self.before.write() = Some(self.rows.look()?);
        let changes = fold.changes(self.rows.piece());
        let written = guarded(|| self.put_head(changes, &fold.head));
        if written.is_ok() {
            seen();
        }
        *self.before.write() = None;
        written
    }

    /// Takes over what another process has written: `advance` makes it what is there now, `seen` lets
    /// readers know; until it returns, they find what was there before.
    pub(crate) fn follow(
        &self,
        advance: impl FnOnce(),
        seen: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        *self.before.write() = Some(self.rows.look()?);
        advance();
        let seen = seen();
        *self.before.write() = None;
        seen
    }

    /// Whether the ledger is folded as the rest is; if not, the backend keeps its entries as they
    /// came.
    pub(crate) fn folds_ledger(&self) -> bool {
        self.rows.folds_ledger()
    }

    /// Gives back the room that the rows do not need.
    pub(crate) fn compact(&self) -> Result<()> {
        let _one = self.writing.lock();
        self.rows.compact()
    }

    /// A value as readers know it: of now, or, while a fold is on its way to them, of before.
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        if let Some(found) = self.rows.look()?.get(kind, key)? {
            self.note(&found);
            return Ok(Some(found));
        }
        match self.before.read().as_ref() {
            Some(before) => before.get(kind, key),
            None => Ok(None),
        }
    }

    /// Counts what was read.
    fn note(&self, sealed: &[u8]) {
        let length = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
        self.read.fetch_add(length, Ordering::Relaxed);
    }

    /// Sealed bytes that were read since it was opened.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// A fault in something stored.
    pub(crate) fn damaged(&self, place: impl std::fmt::Display, why: impl Into<String>) -> Error {
        Error::damaged(format!("{}, {place}", self.rows.name()), why)
    }

    fn aad(&self, parts: &[&[u8]]) -> Vec<u8> {
        let format = FORMAT.to_le_bytes();
        let mut all = vec![self.instance.as_slice(), format.as_slice()];
        all.extend_from_slice(parts);
        aad(&all)
    }

    /// Seals a manifest for its place. One that lists nothing is taken away: a meter that was removed
    /// has no name by which it could be opened.
    pub(crate) fn seal_manifest(
        &self,
        sealer: &Sealer,
        token: Token,
        manifest: &Manifest,
    ) -> Sealed<Token> {
        let some = !manifest.segments.is_empty();
        let seal = || sealer.seal(&self.aad(&[b"manifest", &token]), &manifest.encode());
        Sealed {
            key: token,
            value: some.then(seal),
        }
    }

    /// Opens a meter's manifest.
    fn open_manifest(&self, sealer: &Sealer, token: Token, value: &[u8]) -> Result<Manifest> {
        let place = || format!("manifest {}", hex(&token));
        let content = sealer.open(&self.aad(&[b"manifest", &token]), value);
        let content = content.map_err(|_| self.damaged(place(), "it does not open"))?;
        Manifest::decode(&content).map_err(|_| self.damaged(place(), "it does not open"))
    }

    /// The tokens of all manifests stored.
    pub(crate) fn manifest_tokens(&self) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        self.rows.look()?.all(Kind::Manifests, &mut |key, _| {
            tokens.extend(key.first_chunk().copied());
            Ok(())
        })?;
        Ok(tokens)
    }
}

/// Bytes as text, to name a place.
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
