//! All rows as of one version: a document is there in every version from the one that brought it to
//! the one that replaced it.

use std::sync::Arc;

use mongodb::{
    Collection,
    bson::{Bson, Document, doc},
};

use super::{
    ahead::{Ahead, TOGETHER as TOGETHER_AHEAD},
    link::Link,
    ring::{binary, bytes},
    rows::{PIECE, TOGETHER, key_of, name, signed},
};
use crate::{
    Result,
    readings::rows::{Key, Kind, Look, Take, TakeYoung},
};

/// Bytes that are read ahead of a scan at most.
const AHEAD_BYTES: usize = 4 << 20;

/// The rows of one version.
pub(super) struct Snapshot {
    pub(super) link: Arc<Link>,
    pub(super) ahead: Arc<Ahead>,
    pub(super) version: i64,
}

impl Snapshot {
    /// What is there in this version, beside another condition.
    fn visible(&self, mut of: Document) -> Document {
        of.insert("v", doc! { "$lte": self.version });
        let replaced = doc! { "x": { "$gt": self.version } };
        of.insert("$or", vec![doc! { "x": null }, replaced]);
        of
    }

    fn table(&self, kind: Kind) -> Collection<Document> {
        self.link.data(name(kind))
    }

    /// What of some rows a tally needs.
    pub(super) fn find(&self, kind: Kind, keys: &[Vec<u8>]) -> Result<Vec<Document>> {
        let mut found = Vec::new();
        for keys in keys.chunks(TOGETHER) {
            let keys: Vec<Bson> = keys.iter().map(|key| binary(key)).collect();
            self.collect(kind, doc! { "k": { "$in": keys } }, &mut found)?;
        }
        Ok(found)
    }

    pub(super) fn between(&self, kind: Kind, from: &[u8], until: &[u8]) -> Result<Vec<Document>> {
        let mut found = Vec::new();
        self.collect(kind, bounds(from, until), &mut found)?;
        Ok(found)
    }

    pub(super) fn of_run(&self, run: u64) -> Result<Vec<Document>> {
        let mut found = Vec::new();
        self.collect(Kind::Run(run), doc! { "r": signed(run) }, &mut found)?;
        Ok(found)
    }

    fn collect(&self, kind: Kind, of: Document, into: &mut Vec<Document>) -> Result<()> {
        let table = self.table(kind);
        let find = table.find(self.visible(of));
        let mut rows = self.link.run(find.projection(doc! { "d": 0 }))?;
        while self.link.run(rows.advance())? {
            into.push(self.link.run(async { rows.deserialize_current() })?);
        }
        Ok(())
    }

    /// Hands documents, ascending by their names where that is asked, to `take`.
    fn hand(&self, kind: Kind, of: Document, sorted: bool, take: Take<'_>) -> Result<()> {
        let table = self.table(kind);
        let mut find = table.find(self.visible(of));
        if sorted {
            find = find.sort(doc! { "_id": 1 });
        }
        let mut rows = self.link.run(find)?;
        while self.link.run(rows.advance())? {
            let row = self.link.run(async { rows.deserialize_current() })?;
            take(bytes(&row, "k").unwrap_or_default(), &value(&row))?;
        }
        Ok(())
    }
}

impl Snapshot {
    /// The pieces of a segment; what a scan will ask for next is read with them.
    fn segment(&self, from: &[u8], until: &[u8], take: Take<'_>) -> Result<()> {
        if let Some(piece) = self.ahead.take(from) {
            take(from, &piece)?;
            if piece.len() < PIECE {
                return Ok(());
            }
            let next = [from.get(..28).unwrap_or(from), &1_u16.to_be_bytes()].concat();
            return self.hand(Kind::Segments, bounds(&next, until), true, take);
        }
        // To the end of this meter's.
        let end = [from.get(..16).unwrap_or(from), &[0xff; 14]].concat();
        let table = self.table(Kind::Segments);
        let find = table.find(self.visible(bounds(from, &end)));
        let find = find.sort(doc! { "_id": 1 }).limit(TOGETHER_AHEAD);
        let mut rows = self.link.run(find)?;
        let mut length = 0;
        while self.link.run(rows.advance())? {
            let row = self.link.run(async { rows.deserialize_current() })?;
            let (key, value) = (bytes(&row, "k").unwrap_or_default(), value(&row));
            length += value.len();
            if key <= until {
                take(key, &value)?;
            } else if key.ends_with(&[0, 0]) && length <= AHEAD_BYTES {
                self.ahead.hold(key, value);
            } else {
                break;
            }
        }
        Ok(())
    }
}

/// The names of all versions of the rows from one key to another.
fn bounds(from: &[u8], until: &[u8]) -> Document {
    let from = [from, &[0; 8]].concat();
    let until = [until, &[0xff; 8]].concat();
    doc! { "_id": { "$gte": binary(&from), "$lte": binary(&until) } }
}

impl Look for Snapshot {
    fn get(&self, kind: Kind, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let of = self.visible(doc! { "k": binary(&key_of(kind, key)) });
        let found = self.link.run(self.table(kind).find_one(of))?;
        Ok(found.as_ref().map(value))
    }

    fn get_all(&self, kind: Kind, keys: &[Key], take: Take<'_>) -> Result<()> {
        for keys in keys.chunks(TOGETHER) {
            let keys = keys.iter().map(|key| binary(&key_of(kind, key.as_slice())));
            let keys: Vec<Bson> = keys.collect();
            self.hand(
                kind,
                doc! { "k": { "$in": keys } },
                false,
                &mut |key, value| take(short(kind, key), value),
            )?;
        }
        Ok(())
    }

    fn range(&self, kind: Kind, from: &[u8], until: &[u8], take: Take<'_>) -> Result<()> {
        if kind == Kind::Segments {
            return self.segment(from, until, take);
        }
        self.hand(kind, bounds(from, until), true, take)
    }

    fn all(&self, kind: Kind, take: Take<'_>) -> Result<()> {
        let of = match kind {
            Kind::Run(run) => doc! { "r": signed(run) },
            _ => doc! {},
        };
        self.hand(kind, of, true, &mut |key, value| {
            take(short(kind, key), value)
        })
    }

    fn floor(&self, kind: Kind, key: &[u8]) -> Result<Option<Key>> {
        let of = doc! { "_id": { "$lte": binary(&[key, &[0xff; 8]].concat()) } };
        let table = self.table(kind);
        let find = table.find_one(self.visible(of));
        let found = self.link.run(find.sort(doc! { "_id": -1 }))?;
        Ok(found.and_then(|row| bytes(&row, "k").map(|key| Key::of(&[key]))))
    }

    fn count(&self, kind: Kind) -> Result<u64> {
        let of = match kind {
            Kind::Ledger => return Ok(0),
            Kind::Run(run) => doc! { "r": signed(run) },
            _ => doc! {},
        };
        let table = self.table(kind);
        self.link.run(table.count_documents(self.visible(of)))
    }

    fn runs(&self) -> Result<Vec<u64>> {
        let young = self.link.data("young");
        let runs = young.distinct("r", self.visible(doc! {}));
        let runs = self.link.run(runs)?.into_iter();
        let mut runs: Vec<u64> = runs.filter_map(|run| run.as_i64()).map(unsigned).collect();
        runs.sort_unstable();
        Ok(runs)
    }

    fn in_runs(&self, keys: &[Key], take: TakeYoung<'_>) -> Result<()> {
        for keys in keys.chunks(TOGETHER) {
            let meters = keys.iter().map(|key| binary(key.as_slice()));
            let meters: Vec<Bson> = meters.collect();
            let of = doc! { "m": { "$in": meters } };
            self.hand(Kind::Run(0), of, false, &mut |key, value| {
                let run = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
                take(run, short(Kind::Run(run), key), value)
            })?;
        }
        Ok(())
    }
}

/// The key of a row as the engine knows it.
pub(super) fn short(kind: Kind, key: &[u8]) -> &[u8] {
    match kind {
        Kind::Run(_) => key.get(..16).unwrap_or(key),
        _ => key,
    }
}

/// The value of a document.
fn value(row: &Document) -> Vec<u8> {
    let (start, rest) = (bytes(row, "s"), bytes(row, "d"));
    [start.unwrap_or_default(), rest.unwrap_or_default()].concat()
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
