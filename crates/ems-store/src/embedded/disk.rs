//! What has been folded: segments, manifests, records and the ledger in one redb file, every value
//! sealed and bound to its place. Written only by a fold, in one transaction.

mod budget;
mod head;
mod ledger;
mod purge;
mod records;
mod runs;
mod segments;
mod superseded;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ems_crypto::{
    hash::IndexKey,
    seal::{Sealer, aad},
};
use parking_lot::{Mutex, RwLock};
use redb::{ReadTransaction, ReadableTable, TableDefinition, TableHandle as _, WriteTransaction};

pub(crate) use self::{
    head::Tally,
    segments::{SegmentKey, segment_key},
};
use self::{head::Tallying, segments::SEGMENTS};
use super::{
    guarded::guarded,
    keys::{KeyTree, Token},
    manifest::{Head, Manifest, RunMeta, Spent},
    meter::Meter,
    vfs::{EngineFile, Ground},
};
use crate::{Error, Result, subject::Subject};

/// The format of the engine's content written here.
const FORMAT: u16 = 5;
const PLAIN: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("plain");
const HEAD: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("head");
const MANIFESTS: TableDefinition<'_, Token, &[u8]> = TableDefinition::new("manifests");
/// Values that were replaced: meter token, sequence of the fold.
const SUPERSEDED: TableDefinition<'_, [u8; 24], &[u8]> = TableDefinition::new("superseded");
const RECORDS: TableDefinition<'_, Token, &[u8]> = TableDefinition::new("records");
/// Index of the first entry → up to 256 entries.
const LEDGER: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("ledger");
const CACHE_BYTES: usize = 32 << 20;

/// Turns an engine's error into ours.
pub(crate) fn engine(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            Error::Unavailable("no room on the disk".into())
        }
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
            Error::Unavailable("an operation on the engine's file failed before".into())
        }
        redb::Error::Corrupted(why) => Error::damaged("an engine's file", why),
        error => Error::Engine(error.to_string()),
    }
}

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
    pub(crate) records: Vec<Sealed<Token>>,
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
        let records = self.records.iter().map(|row| row.value.as_deref());
        let ledger = self.ledger.iter().map(|(_, chunk)| Some(chunk.as_slice()));
        let blocks = self.run.iter().flat_map(|(_, blocks)| blocks);
        let blocks = blocks.map(|block| block.value.as_deref());
        let all = segments.chain(manifests).chain(superseded).chain(blocks);
        all.chain(records)
            .chain(ledger)
            .map(Option::unwrap_or_default)
    }
}

/// The open engine.
pub(crate) struct Disk {
    db: EngineFile,
    /// Held by whoever writes.
    writing: Mutex<()>,
    /// The state before a fold, as long as readers know no other: what the fold took away is found
    /// here.
    before: RwLock<Option<ReadTransaction>>,
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
    /// Opens the engine's file; makes it where it is not.
    pub(crate) fn open(ground: &Ground, dir: &Path, keys: Arc<KeyTree>) -> Result<Self> {
        let subjects = ["head", "records", "ledger"].map(Subject::Table);
        keys.ensure(&subjects)?;
        let records_owner = keys.subject_token(&Subject::Table("records"));
        let [head, records, ledger] = subjects.map(|subject| keys.existing(&subject));
        let head = head?;
        let db = EngineFile::open(ground, &dir.join("engine.redb"), CACHE_BYTES)?;
        let disk = Self {
            db,
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
        disk.prepare()?;
        let spent = disk.head()?.spent.at_start();
        *disk.spent.lock() = spent;
        Ok(disk)
    }

    /// Makes the tables of a new file; checks format and instance of an old one.
    fn prepare(&self) -> Result<()> {
        let write = self.db.begin_write()?;
        let known = write
            .open_table(PLAIN)
            .map_err(engine)?
            .get("format")
            .map_err(engine)?
            .map(|value| value.value().to_vec());
        if let Some(format) = known {
            write.abort().map_err(engine)?;
            let found = format.try_into().map_or(0, u16::from_le_bytes);
            if found != FORMAT {
                return Err(Error::Version {
                    place: "engine.redb".into(),
                    found,
                    known: FORMAT,
                });
            }
            return self.head().map(drop);
        }
        write
            .open_table(PLAIN)
            .map_err(engine)?
            .insert("format", FORMAT.to_le_bytes().as_slice())
            .map_err(engine)?;
        write.open_table(SEGMENTS).map_err(engine)?;
        write.open_table(MANIFESTS).map_err(engine)?;
        write.open_table(SUPERSEDED).map_err(engine)?;
        write.open_table(RECORDS).map_err(engine)?;
        write.open_table(LEDGER).map_err(engine)?;
        self.put_head(
            &write,
            &Head {
                next_segment: 1,
                next_run: 1,
                ..Head::default()
            },
        )?;
        write.commit().map_err(engine)
    }

    /// Applies a fold, whole or not at all. Once it is durable, `seen` is called, which lets readers
    /// know; until it returns, they find what the fold takes away.
    pub(crate) fn write(&self, fold: FoldWrite, seen: impl FnOnce()) -> Result<()> {
        let _one = self.writing.lock();
        self.charge(&fold)?;
        self.db
            .expect_room(fold.values().count(), fold.values().map(<[u8]>::len).sum())?;
        *self.before.write() = Some(self.db.begin_read()?);
        let written = guarded(|| self.write_all(fold));
        if written.is_ok() {
            seen();
        }
        *self.before.write() = None;
        written
    }

    /// Gives back to the file system what the engine's file holds beyond its content.
    pub(crate) fn compact(&self) -> Result<()> {
        let _one = self.writing.lock();
        self.db.compact()
    }

    fn write_all(&self, mut fold: FoldWrite) -> Result<()> {
        let write = self.db.begin_write()?;
        let mut rows = self.tallying(&write)?;
        runs::write(&write, &mut fold, &mut rows)?;
        segments::write(&write, fold.segments, &mut rows)?;
        put_all(&write, MANIFESTS, fold.manifests, &mut rows)?;
        put_all(&write, SUPERSEDED, fold.superseded, &mut rows)?;
        put_all(&write, RECORDS, fold.records, &mut rows)?;
        let chunks = fold.ledger.into_iter().map(|(key, chunk)| Sealed {
            key,
            value: Some(chunk),
        });
        put_all(&write, LEDGER, chunks, &mut rows)?;
        fold.head.tally = rows.tally;
        self.put_head(&write, &fold.head)?;
        write.commit().map_err(engine)
    }

    /// A value as readers know it: of now, or, while a fold is on its way to them, of before.
    fn get<K: redb::Key + for<'a> redb::Value<SelfType<'a> = K> + Copy>(
        &self,
        table: TableDefinition<'_, K, &'static [u8]>,
        key: K,
    ) -> Result<Option<Vec<u8>>> {
        if let Some(found) = look(&self.db.begin_read()?, table, key)? {
            self.note(&found);
            return Ok(Some(found));
        }
        match self.before.read().as_ref() {
            Some(before) => look(before, table, key),
            None => Ok(None),
        }
    }

    /// Counts what was read.
    fn note(&self, sealed: &[u8]) {
        let length = u64::try_from(sealed.len()).unwrap_or(u64::MAX);
        self.read.fetch_add(length, Ordering::Relaxed);
    }

    /// Sealed bytes that were read since the file was opened.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
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

    /// The manifest of a meter; empty where nothing is folded.
    fn manifest(&self, read: &ReadTransaction, sealer: &Sealer, token: Token) -> Result<Manifest> {
        let table = read.open_table(MANIFESTS).map_err(engine)?;
        let Some(found) = table.get(token).map_err(engine)? else {
            return Ok(Manifest::default());
        };
        self.note(found.value());
        let damaged = || {
            Error::damaged(
                format!("engine.redb, manifest {}", hex(&token)),
                "it does not open",
            )
        };
        let content = sealer
            .open(&self.aad(&[b"manifest", &token]), found.value())
            .map_err(|_| damaged())?;
        Manifest::decode(&content).map_err(|_| damaged())
    }

    /// The tokens of all manifests stored.
    pub(crate) fn manifest_tokens(&self) -> Result<Vec<Token>> {
        let read = self.db.begin_read()?;
        let table = read.open_table(MANIFESTS).map_err(engine)?;
        table
            .iter()
            .map_err(engine)?
            .map(|row| row.map(|(key, _)| key.value()).map_err(engine))
            .collect()
    }
}

fn look<K: redb::Key + for<'a> redb::Value<SelfType<'a> = K> + Copy>(
    read: &ReadTransaction,
    table: TableDefinition<'_, K, &'static [u8]>,
    key: K,
) -> Result<Option<Vec<u8>>> {
    let table = match read.open_table(table) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table.map_err(engine)?,
    };
    let found = table.get(key).map_err(engine)?;
    Ok(found.map(|value| value.value().to_vec()))
}

fn put_all<K: redb::Key + Ord + Copy + for<'a> redb::Value<SelfType<'a> = K>>(
    write: &WriteTransaction,
    table: TableDefinition<'_, K, &[u8]>,
    new: impl IntoIterator<Item = Sealed<K>>,
    rows: &mut Tallying<'_>,
) -> Result<()> {
    let name = table.name();
    let mut table = write.open_table(table).map_err(engine)?;
    // In the order of the table: each of its pages is visited once.
    let mut new: Vec<Sealed<K>> = new.into_iter().collect();
    new.sort_by_key(|row| row.key);
    for Sealed { key, value } in new {
        let old = match &value {
            Some(value) => table.insert(&key, value.as_slice()).map_err(engine)?,
            None => table.remove(&key).map_err(engine)?,
        };
        let key = K::as_bytes(&key);
        if let Some(old) = old {
            rows.remove(name, key.as_ref(), old.value());
        }
        if let Some(value) = value {
            rows.add(name, key.as_ref(), &value);
        }
    }
    Ok(())
}

/// Bytes as text, to name a place.
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
