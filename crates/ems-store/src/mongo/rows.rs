//! The rows of the readings engine as documents. A document is written once and never changed but for
//! one mark: by which version of the rows it was replaced. A version is all that one write brought,
//! and becomes what is there by one document of the log; so a write of any size is seen whole or not
//! at all, and whoever still reads the version before finds it, until it is cleared away.
//!
//! `_id`: the row's key and the version, so that a shard key of `_id` spreads by token and keeps a
//! meter's rows together. `k`: the key. `v`: the version. `x`: the version that replaced it. `n`: the
//! length. `s`, `d`: the sealed value, cut after the bytes that a tally needs. Of young rows, `m` and
//! `r` are the meter's token and the run.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mongodb::bson::{Bson, Document, doc};
use parking_lot::Mutex;

use super::{
    ahead::Ahead,
    fence::Fence,
    link::Link,
    log::Log,
    look::{Snapshot, short},
    ring::{binary, bytes},
};
use crate::{
    Result, Table,
    readings::{
        keys::Token,
        rows::{Change, HEAD_KEY, Key, Kind, Look, Rows, Told, Value},
    },
};

/// Documents that are asked for together.
pub(super) const TOGETHER: usize = 1000;
/// Documents, and bytes of them, that are written together.
const WRITTEN: usize = 1000;
const WRITTEN_BYTES: usize = 8 << 20;
/// Bytes of a piece of a segment: a document holds 16 MiB.
pub(super) const PIECE: usize = 4 << 20;
/// The first bytes of a value, by which a tally knows it: a token and a nonce.
const START: usize = 28;

/// The tables of records.
pub(super) const RECORDS: [Kind; Table::ALL.len()] = [
    Kind::Records(Table::Users),
    Kind::Records(Table::Keys),
    Kind::Records(Table::Sessions),
    Kind::Records(Table::Meters),
    Kind::Records(Table::Erasures),
    Kind::Records(Table::Answers),
    Kind::Records(Table::Bans),
];

/// The collection of a table.
pub(super) fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Head => "heads",
        Kind::Segments => "segments",
        Kind::Manifests => "manifests",
        Kind::Superseded => "superseded",
        Kind::Records(table) => table.as_str(),
        Kind::Ledger => "ledger",
        Kind::Run(_) => "young",
    }
}

/// The collections that hold versions of rows.
pub(super) fn tables() -> impl Iterator<Item = &'static str> {
    let tables = ["heads", "segments", "manifests", "superseded", "young"];
    tables.into_iter().chain(RECORDS.map(name))
}

/// The key of a row within its collection.
pub(super) fn key_of(kind: Kind, key: &[u8]) -> Vec<u8> {
    match kind {
        // The meter first: its rows lie together, whichever run they are in.
        Kind::Run(run) => [key, &run.to_be_bytes()].concat(),
        _ => key.to_vec(),
    }
}

/// The number in the database's form.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Makes a version what is there, and tells the meters whose rows it changed.
pub(super) type Publish = Box<dyn Fn(u64, Vec<Token>) -> Result<()> + Send + Sync>;

/// The rows in the database.
pub(super) struct MongoRows {
    link: Arc<Link>,
    log: Arc<Log>,
    fence: Arc<Fence>,
    ahead: Arc<Ahead>,
    /// The version that is there.
    current: AtomicU64,
    publish: Mutex<Option<Publish>>,
}

impl MongoRows {
    /// The rows as of a version.
    pub(super) fn new(link: &Arc<Link>, log: &Arc<Log>, fence: &Arc<Fence>, current: u64) -> Self {
        Self {
            link: Arc::clone(link),
            log: Arc::clone(log),
            fence: Arc::clone(fence),
            ahead: Arc::new(Ahead::new()),
            current: AtomicU64::new(current),
            publish: Mutex::new(None),
        }
    }

    /// The version that is there.
    pub(super) fn current(&self) -> u64 {
        self.current.load(Ordering::SeqCst)
    }

    /// Takes a version for what is there.
    pub(super) fn advance(&self, version: u64) {
        self.current.fetch_max(version, Ordering::SeqCst);
    }

    /// Says how a version is made what is there; `None` once nothing is written any more.
    pub(super) fn publish_by(&self, publish: Option<Publish>) {
        *self.publish.lock() = publish;
    }

    /// Removes what writes that came to nothing have left, of versions after the one that is there.
    /// To be called by whoever has just become the only one to write.
    pub(super) fn clear_unpublished(&self) -> Result<()> {
        let current = signed(self.current());
        for table in tables() {
            let table = self.link.data(table);
            let left = doc! { "v": { "$gt": current } };
            self.link.run(table.delete_many(left))?;
            let marked = doc! { "x": { "$gt": current } };
            let unmark = doc! { "$unset": { "x": "" } };
            self.link.run(table.update_many(marked, unmark))?;
        }
        Ok(())
    }

    /// Removes what a version, or one before it, replaced.
    pub(super) fn clear_replaced(&self, version: u64) -> Result<()> {
        for table in tables() {
            let replaced = doc! { "x": { "$lte": signed(version) } };
            self.link.run(self.link.data(table).delete_many(replaced))?;
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            link: Arc::clone(&self.link),
            ahead: Arc::clone(&self.ahead),
            version: signed(self.current()),
        }
    }
}

impl Rows for MongoRows {
    fn name(&self) -> &'static str {
        "database"
    }

    fn is_new(&self) -> Result<bool> {
        Ok(self.current() == 0)
    }

    fn folds_ledger(&self) -> bool {
        false
    }

    fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        self.log.entries(from, limit)
    }

    fn records(&self) -> &[Kind] {
        &RECORDS
    }

    fn piece(&self) -> usize {
        PIECE
    }

    fn look(&self) -> Result<Box<dyn Look>> {
        Ok(Box::new(self.snapshot()))
    }

    fn expect_room(&self, _rows: usize, _bytes: usize) -> Result<()> {
        Ok(())
    }

    fn write(&self, changes: Vec<Change>, told: &mut dyn Told) -> Result<()> {
        let version = self.fence.next_version()?;
        let meters = meters(&changes);
        let look = self.snapshot();
        let mut rest = changes.into_iter().peekable();
        while let Some(table) = rest.peek().map(|change| name(change.kind())) {
            let of_table = |change: &Change| name(change.kind()) == table;
            let changes: Vec<Change> = std::iter::from_fn(|| rest.next_if(of_table)).collect();
            self.write_table(version, &look, changes, told)?;
        }
        let head = told.head()?;
        let old = look.find(Kind::Head, &[HEAD_KEY.to_vec()])?;
        let new = vec![document(Kind::Head, version, HEAD_KEY, &head)];
        let old = old.iter().filter_map(|old| old.get("_id").cloned());
        self.put("heads", version, (new, old.collect()))?;
        let publish = self.publish.lock();
        match publish.as_ref() {
            Some(publish) => publish(version, meters),
            // The first of all: nobody else is there yet.
            None => self.fence.first(version).map(|()| self.advance(version)),
        }
    }

    fn compact(&self) -> Result<()> {
        Ok(())
    }
}

/// The meters whose manifests or young rows are changed, each once.
fn meters(changes: &[Change]) -> Vec<Token> {
    let of = |change: &Change| match change {
        Change::Row(Kind::Manifests | Kind::Run(_), key, _) => {
            key.as_slice().first_chunk().copied()
        }
        _ => None,
    };
    let mut meters: Vec<Token> = changes.iter().filter_map(of).collect();
    meters.sort_unstable();
    meters.dedup();
    meters
}

/// Documents to put, and the names of those that they replace.
type Staged = (Vec<Document>, Vec<Bson>);

impl MongoRows {
    /// Makes the changes of one collection, in the version that is to come.
    fn write_table(
        &self,
        version: u64,
        look: &Snapshot,
        changes: Vec<Change>,
        told: &mut dyn Told,
    ) -> Result<()> {
        let Some(table) = changes.first().map(|change| name(change.kind())) else {
            return Ok(());
        };
        let mut rest = changes.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut staged, mut bytes): (Staged, usize) = Default::default();
            let mut rows: Vec<(Kind, Key, Option<Vec<u8>>)> = Vec::new();
            while rows.len() < WRITTEN && bytes < WRITTEN_BYTES {
                match rest.next() {
                    None => break,
                    Some(Change::Row(kind, key, value)) => {
                        bytes += value.as_ref().map_or(0, Vec::len);
                        rows.push((kind, key, value));
                    }
                    Some(Change::Rows(kind, from, until)) => {
                        let gone = look.between(kind, from.as_slice(), until.as_slice())?;
                        take_away(kind, &gone, &mut staged, told);
                    }
                    Some(Change::Run(run)) => {
                        let gone = look.of_run(run)?;
                        take_away(Kind::Run(run), &gone, &mut staged, told);
                    }
                }
            }
            stage(look, version, rows, &mut staged, told)?;
            self.put(table, version, staged)?;
        }
        Ok(())
    }

    /// Puts documents and marks those that they replace, behind the fence.
    fn put(&self, table: &str, version: u64, (new, old): Staged) -> Result<()> {
        if new.is_empty() && old.is_empty() {
            return Ok(());
        }
        let table = self.link.data(table);
        self.fence.pass(|session| {
            if !new.is_empty() {
                let insert = table.insert_many(&new).session(&mut *session);
                self.link.attempt(insert)?;
            }
            for old in old.chunks(TOGETHER) {
                let these = doc! { "_id": { "$in": old } };
                let mark = doc! { "$set": { "x": signed(version) } };
                let update = table.update_many(these, mark).session(&mut *session);
                self.link.attempt(update)?;
            }
            Ok(())
        })
    }
}

fn take_away(kind: Kind, gone: &[Document], staged: &mut Staged, told: &mut dyn Told) {
    for row in gone {
        let key = bytes(row, "k").unwrap_or_default();
        let key = if let Kind::Run(_) = kind {
            key.get(..16).unwrap_or(key)
        } else {
            key
        };
        told.row(kind, key, Some(known(row)), None);
        staged.1.extend(row.get("_id").cloned());
    }
}

/// Stages single rows, with what they replace.
fn stage(
    look: &Snapshot,
    version: u64,
    rows: Vec<(Kind, Key, Option<Vec<u8>>)>,
    staged: &mut Staged,
    told: &mut dyn Told,
) -> Result<()> {
    let Some(kind) = rows.first().map(|row| row.0) else {
        return Ok(());
    };
    let keys: Vec<Vec<u8>> = rows
        .iter()
        .map(|(kind, key, _)| key_of(*kind, key.as_slice()))
        .collect();
    // A segment's key is never used twice.
    let replaces = kind != Kind::Segments;
    let mut old: HashMap<Vec<u8>, Document> = HashMap::new();
    if replaces {
        for row in look.find(kind, &keys)? {
            let key = bytes(&row, "k").unwrap_or_default().to_vec();
            old.insert(key, row);
        }
    }
    for ((kind, key, value), full) in rows.into_iter().zip(keys) {
        let old = old.get(&full);
        let new = value.as_deref().map(Value::from);
        told.row(kind, key.as_slice(), old.map(known), new);
        staged.1.extend(old.and_then(|old| old.get("_id").cloned()));
        staged
            .0
            .extend(value.map(|value| document(kind, version, &full, &value)));
    }
    Ok(())
}

/// What a tally needs of a document.
fn known(row: &Document) -> Value<'_> {
    Value {
        start: bytes(row, "s").unwrap_or_default(),
        length: row
            .get_i64("n")
            .ok()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(0),
    }
}

/// The document of a row.
fn document(kind: Kind, version: u64, key: &[u8], value: &[u8]) -> Document {
    let id = [key, &version.to_be_bytes()].concat();
    let (start, rest) = value.split_at(START.min(value.len()));
    let mut document = doc! {
        "_id": binary(&id),
        "k": binary(key),
        "v": signed(version),
        "n": i64::try_from(value.len()).unwrap_or(i64::MAX),
        "s": binary(start),
        "d": binary(rest),
    };
    if let Kind::Run(run) = kind {
        document.insert("r", signed(run));
        document.insert("m", binary(short(kind, key)));
    }
    document
}
