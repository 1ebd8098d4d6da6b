//! The log that all processes share: one document a group of commits, numbered without a gap. That a
//! number can be taken once is the one decision on which everything rests: whoever inserts a number
//! has seen all before it, and by majority it stays. The document holds the group's ledger entries,
//! for ever; what else it changes lies in parts, written before it and named by it.
//!
//! Each document is sealed, and holds the tag of the one before it: one that was edited, removed or
//! put in another's place is named. Parts lie under the key of an epoch, which ends with the fold that
//! takes them in.

mod form;

use std::{collections::HashMap, sync::Arc};

use ems_crypto::{
    hash::IndexKey,
    random,
    seal::{DataKey, Sealer, aad},
};
use mongodb::{
    Collection,
    bson::{Bson, Document, doc},
    options::ReadConcern,
};
use parking_lot::Mutex;

pub(super) use self::form::{Area, Content, Mark, Parts};
use self::form::{PartName, Sheet};
use super::{
    link::Link,
    ring::{binary, bytes},
    rows::signed,
};
use crate::{
    Error, Result,
    readings::keys::{KeyTree, Token},
};

/// Documents that are read together.
const TOGETHER: i64 = 256;
/// Bytes of a part at most: a document holds 16 MiB.
const PART: usize = 8 << 20;
/// Sequences whose documents lie under the same key, as a power of two: far fewer than a key may
/// seal under random nonces.
const UNDER_ONE: u32 = 20;
/// The last bytes of a sealed value, by which the next knows it.
pub(super) type Tag = [u8; 16];

/// A document of the log, read back.
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) tag: Tag,
    pub(super) content: Content,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is there, by majority.
    Done,
    /// Another has this number.
    Taken,
}

/// A document on its way to its number.
pub(super) struct SealedSheet {
    sequence: u64,
    pub(super) tag: Tag,
    doc: Document,
}

/// The log.
pub(super) struct Log {
    link: Arc<Link>,
    keys: Arc<KeyTree>,
    instance: [u8; 16],
    derive: IndexKey,
    sheets: Collection<Document>,
    /// The keys of epochs whose parts may still be read here.
    epochs: Mutex<HashMap<u64, DataKey>>,
}

/// The bytes of what a ledger document is about: its number, and the index of its first entry.
fn place(instance: &[u8; 16], sequence: u64, first: u64) -> Vec<u8> {
    aad(&[
        instance,
        b"log",
        &sequence.to_le_bytes(),
        &first.to_le_bytes(),
    ])
}

impl Log {
    /// The log of an instance.
    pub(super) fn new(link: &Arc<Link>, keys: &Arc<KeyTree>, ledger: &DataKey) -> Self {
        Self {
            instance: keys.instance(),
            derive: IndexKey::derive(ledger, "log"),
            sheets: link.data("ledger"),
            link: Arc::clone(link),
            keys: Arc::clone(keys),
            epochs: Mutex::default(),
        }
    }

    fn sealer(&self, sequence: u64) -> Sealer {
        let block = sequence >> UNDER_ONE;
        Sealer::new(&DataKey::from_bytes(
            self.derive.hash("block", &block.to_le_bytes()),
        ))
    }

    /// The key of an epoch's parts.
    fn epoch(&self, epoch: u64) -> Result<DataKey> {
        if let Some(key) = self.epochs.lock().get(&epoch) {
            return Ok(key.clone());
        }
        if !self.keys.journals().contains(&epoch) {
            self.keys.refresh(&[])?;
        }
        let key = self.keys.journal_key(epoch)?;
        self.epochs.lock().insert(epoch, key.clone());
        Ok(key)
    }

    /// Makes the key of an epoch that is to begin, unless it is made.
    pub(super) fn begin_epoch(&self, epoch: u64) -> Result<()> {
        self.keys.refresh(&[])?;
        if !self.keys.journals().contains(&epoch) {
            self.keys.new_journal_key(epoch)?;
        }
        Ok(())
    }

    /// Destroys the keys of the epochs up to one, and removes their parts.
    pub(super) fn end_epochs(&self, until: u64) -> Result<()> {
        self.keys.refresh(&[])?;
        for epoch in self.keys.journals() {
            if epoch <= until {
                self.keys.retire_journal_key(epoch)?;
            }
        }
        self.epochs.lock().retain(|epoch, _| *epoch > until);
        for area in Area::ALL {
            let over = doc! { "e": { "$lte": signed(until) } };
            let parts = self.link.data(area.collection());
            self.link.run(parts.delete_many(over))?;
        }
        Ok(())
    }

    /// Seals a document for a number; its parts are put where it will find them, by majority.
    pub(super) fn seal(
        &self,
        sequence: u64,
        (epoch, first, before): (u64, u64, Tag),
        content: &Content,
    ) -> Result<SealedSheet> {
        let names = self.put_parts(sequence, epoch, content)?;
        let sheet = Sheet::encode(content, epoch, before, &names);
        let sealed = self
            .sealer(sequence)
            .seal(&place(&self.instance, sequence, first), &sheet);
        Ok(SealedSheet {
            sequence,
            tag: tag(&sealed),
            doc: doc! {
                "_id": signed(sequence),
                "f": signed(first),
                "n": i64::try_from(content.entries.len()).unwrap_or(i64::MAX),
                "d": binary(&sealed),
            },
        })
    }

    /// Appends a document at its number. Durable by majority when it says that it is done; it may be
    /// tried again as often as it fails, and is there once at most.
    pub(super) fn append(&self, sheet: &SealedSheet) -> Result<Appended> {
        match self.link.attempt(self.sheets.insert_one(&sheet.doc)) {
            Ok(_) => Ok(Appended::Done),
            Err(failed) => match self.tag_at(sheet.sequence) {
                Ok(Some(there)) if there == sheet.tag => Ok(Appended::Done),
                Ok(Some(_)) => Ok(Appended::Taken),
                _ => Err(failed.into()),
            },
        }
    }

    /// The tag of what must have a number.
    pub(super) fn tag_of(&self, sequence: u64) -> Result<Tag> {
        let gone = || Error::damaged(format!("database, log {sequence}"), "it is gone");
        self.tag_at(sequence)?.ok_or_else(gone)
    }

    /// The tag of what has a number.
    fn tag_at(&self, sequence: u64) -> Result<Option<Tag>> {
        let this = doc! { "_id": signed(sequence) };
        let found = self.link.run(self.sheets.find_one(this))?;
        Ok(found.and_then(|found| bytes(&found, "d").map(tag)))
    }

    fn put_parts(&self, sequence: u64, epoch: u64, content: &Content) -> Result<Vec<PartName>> {
        let mut names = Vec::new();
        if content.parts.is_empty() {
            return Ok(names);
        }
        let under = Sealer::new(&self.epoch(epoch)?);
        for (area, bytes) in &content.parts {
            let mut docs = Vec::new();
            for piece in bytes.chunks(PART) {
                let name = PartName {
                    area: *area,
                    id: random::bytes(),
                };
                let sealed = under.seal(&self.part_place(sequence, &name), piece);
                docs.push(doc! {
                    "_id": binary(&name.id),
                    "e": signed(epoch),
                    "d": binary(&sealed),
                });
                names.push(name);
            }
            // One by one where they are large: a message holds 48 MB.
            let parts = self.link.data(area.collection());
            for doc in docs {
                self.link.run(parts.insert_one(doc))?;
            }
        }
        Ok(names)
    }

    fn part_place(&self, sequence: u64, name: &PartName) -> Vec<u8> {
        let area = [name.area.code()];
        let parts: [&[u8]; 5] = [
            &self.instance,
            b"part",
            &sequence.to_le_bytes(),
            &area,
            &name.id,
        ];
        aad(&parts)
    }

    /// Whether a number is free, at a moment after this was called: asked of a primary that a majority
    /// still takes for one.
    pub(super) fn is_free(&self, sequence: u64) -> Result<bool> {
        let this = doc! { "_id": signed(sequence) };
        let find = self.sheets.find_one(this).projection(doc! { "_id": 1 });
        let found = self
            .link
            .run(find.read_concern(ReadConcern::linearizable()))?;
        Ok(found.is_none())
    }

    /// The number of the last document; 0 where there is none.
    pub(super) fn last(&self) -> Result<u64> {
        let find = self.sheets.find_one(doc! {}).sort(doc! { "_id": -1 });
        let found = self.link.run(find.projection(doc! { "_id": 1 }))?;
        let last = found.and_then(|last| last.get_i64("_id").ok()).unwrap_or(0);
        Ok(u64::try_from(last).unwrap_or(0))
    }

    /// Some documents from a number on, with their parts: all that there are, or the first of them.
    /// `before` is the tag of the one before; none is checked where it is not known.
    pub(super) fn read(&self, from: u64, before: Option<Tag>) -> Result<Vec<Entry>> {
        let sheets = self.sheets(from, before)?;
        let mut parts = self.parts(&sheets)?;
        let mut entries = Vec::with_capacity(sheets.len());
        for (sequence, tag, sheet) in sheets {
            let mut content = sheet.content;
            for name in &sheet.names {
                let sealed = parts.remove(&name.id).ok_or_else(|| {
                    Error::damaged(format!("database, part of log {sequence}"), "it is gone")
                })?;
                let under = Sealer::new(&self.epoch(sheet.epoch)?);
                let opened = under.open(&self.part_place(sequence, name), &sealed);
                let piece = opened.map_err(|_| {
                    let place = format!("database, part of log {sequence}");
                    Error::damaged(place, "it does not open")
                })?;
                content.add_piece(name.area, piece);
            }
            entries.push(Entry {
                sequence,
                tag,
                content,
            });
        }
        Ok(entries)
    }

    /// The documents from a number on, without their parts.
    fn sheets(&self, from: u64, before: Option<Tag>) -> Result<Vec<(u64, Tag, Sheet)>> {
        let later = doc! { "_id": { "$gte": signed(from) } };
        let find = self.sheets.find(later).sort(doc! { "_id": 1 });
        let mut found = self.link.run(find.limit(TOGETHER))?;
        let (mut sheets, mut expected, mut before) = (Vec::new(), from, before);
        while self.link.run(found.advance())? {
            let doc = self.link.run(async { found.deserialize_current() })?;
            let (sequence, tag, sheet) = self.open(&doc)?;
            let damaged = |why: &str| Error::damaged(format!("database, log {expected}"), why);
            if sequence != expected {
                return Err(damaged("it is gone"));
            }
            if before.is_some_and(|before| before != sheet.before) {
                return Err(damaged("it does not follow the one before it"));
            }
            (expected, before) = (expected + 1, Some(tag));
            sheets.push((sequence, tag, sheet));
        }
        Ok(sheets)
    }

    fn open(&self, doc: &Document) -> Result<(u64, Tag, Sheet)> {
        let number = |field: &str| {
            let number = doc.get_i64(field).ok();
            number
                .and_then(|number| u64::try_from(number).ok())
                .unwrap_or(0)
        };
        let (sequence, first) = (number("_id"), number("f"));
        let damaged = |why: &str| Error::damaged(format!("database, log {sequence}"), why);
        let sealed = bytes(doc, "d").ok_or_else(|| damaged("it is cut"))?;
        let opened = self
            .sealer(sequence)
            .open(&place(&self.instance, sequence, first), sealed);
        let opened = opened.map_err(|_| damaged("it does not open"))?;
        let sheet = Sheet::decode(&opened, first).map_err(|why| damaged(&why.to_string()))?;
        Ok((sequence, tag(sealed), sheet))
    }

    fn parts(&self, sheets: &[(u64, Tag, Sheet)]) -> Result<HashMap<Token, Vec<u8>>> {
        let mut found = HashMap::new();
        for area in Area::ALL {
            let names = sheets.iter().flat_map(|(_, _, sheet)| &sheet.names);
            let of_area = names.filter(|name| name.area == area);
            let ids: Vec<Bson> = of_area.map(|name| binary(&name.id)).collect();
            if ids.is_empty() {
                continue;
            }
            let parts = self.link.data(area.collection());
            let mut rows = self.link.run(parts.find(doc! { "_id": { "$in": ids } }))?;
            while self.link.run(rows.advance())? {
                let row = self.link.run(async { rows.deserialize_current() })?;
                let id = bytes(&row, "_id").and_then(|id| id.try_into().ok());
                if let (Some(id), Some(sealed)) = (id, bytes(&row, "d")) {
                    found.insert(id, sealed.to_vec());
                }
            }
        }
        Ok(found)
    }

    /// Ledger entries from `from` on, at most `limit`.
    pub(super) fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let at = doc! { "f": { "$lte": signed(from) }, "n": { "$gt": 0_i64 } };
        let find = self.sheets.find_one(at).sort(doc! { "f": -1, "_id": -1 });
        let first = self.link.run(find.projection(doc! { "_id": 1 }))?;
        let Some(mut next) = first.and_then(|doc| doc.get_i64("_id").ok()) else {
            return Ok(Vec::new());
        };
        let (mut found, mut before) = (Vec::new(), None);
        while found.len() < limit {
            let sheets = self.sheets(u64::try_from(next).unwrap_or(0), before)?;
            let Some((last, tag, _)) = sheets.last() else {
                break;
            };
            (next, before) = (signed(last + 1), Some(*tag));
            for (_, _, sheet) in sheets {
                let indexed = (sheet.content.first..).zip(sheet.content.entries);
                found.extend(indexed.filter(|(index, _)| *index >= from));
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Opens every document of the log from the first on; hands what is wrong to `fault`. Returns how
    /// many there are.
    pub(super) fn verify(&self, fault: &mut dyn FnMut(Error)) -> Result<u64> {
        let (mut next, mut before, mut index) = (1, None, 0);
        loop {
            match self.sheets(next, before) {
                Ok(sheets) => {
                    let Some((last, tag, _)) = sheets.last() else {
                        return Ok(next - 1);
                    };
                    (next, before) = (last + 1, Some(*tag));
                    for (sequence, _, sheet) in &sheets {
                        if sheet.content.first != index {
                            let place = format!("database, log {sequence}");
                            fault(Error::damaged(place, "entries before it are gone"));
                        }
                        index = sheet.content.first
                            + u64::try_from(sheet.content.entries.len()).unwrap_or(0);
                    }
                }
                Err(error @ Error::Damaged { .. }) => {
                    fault(error);
                    // What comes after it is looked at by itself.
                    (next, before) = (self.after_damage(next)?, None);
                    if next > self.last()? {
                        return Ok(next - 1);
                    }
                    if let Some((_, _, sheet)) = self.sheets(next, None)?.first() {
                        index = sheet.content.first;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The first number from which on a document opens by itself, after one that does not.
    fn after_damage(&self, from: u64) -> Result<u64> {
        let last = self.last()?;
        let mut next = from;
        while next <= last {
            let this = doc! { "_id": signed(next) };
            let found = self.link.run(self.sheets.find_one(this))?;
            let whole = found.as_ref().is_some_and(|doc| self.open(doc).is_ok());
            next += 1;
            if !whole {
                break;
            }
        }
        Ok(next)
    }
}

/// The last bytes of a sealed value.
fn tag(sealed: &[u8]) -> Tag {
    sealed.last_chunk().copied().unwrap_or_default()
}
