//! The key tree in a database of its own. The keyring is one document, put in the place of the one
//! before it by its generation; the wrapped keys and what the pages hold change in transactions.
//!
//! A page's document, once it is closed, stays: whoever still takes the page for an open one, having
//! an older keyring, must find that it takes nothing more.

use std::sync::Arc;

use ems_crypto::keyring::{Keyring, RootKey};
use mongodb::{
    ClientSession, Collection,
    bson::{Binary, Bson, Document, doc, spec::BinarySubtype},
};
use parking_lot::Mutex;

use super::link::{Failed, Link};
use crate::{
    Error, Result,
    readings::keys::{
        Token,
        place::{Change, RingPlace, Take, Wrapped},
    },
};

/// Tokens that are asked for together.
const TOGETHER: usize = 1000;
/// How often a transaction that met another is begun again.
const AGAIN: usize = 100;

/// Bytes as the database has them.
pub(super) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

/// The bytes of a field.
pub(super) fn bytes<'a>(doc: &'a Document, field: &str) -> Option<&'a [u8]> {
    doc.get_binary_generic(field).ok().map(Vec::as_slice)
}

/// The keyring's document.
pub(super) struct MongoRing {
    link: Arc<Link>,
    ring: Collection<Document>,
    /// Opens what another process writes.
    root: Mutex<RootKey>,
    /// Whether there must be one.
    made: bool,
}

impl MongoRing {
    /// The place of the keyring; `made` where the database says that it was made.
    pub(super) fn new(link: &Arc<Link>, root: RootKey, made: bool) -> Self {
        Self {
            made,
            ring: link.keys("keyring"),
            link: Arc::clone(link),
            root: Mutex::new(root),
        }
    }

    fn find(&self, newer_than: i64) -> Result<Option<Vec<u8>>> {
        let newer = doc! { "_id": "keyring", "g": { "$gt": newer_than } };
        let found = self.link.run(self.ring.find_one(newer))?;
        let gone = || Error::damaged("keyring", "its document is cut");
        let value = |doc: Document| bytes(&doc, "d").map(<[u8]>::to_vec).ok_or_else(gone);
        found.map(value).transpose()
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl RingPlace for MongoRing {
    fn read(&self, root: &RootKey) -> Result<Option<Keyring>> {
        let found = self.find(-1)?;
        if found.is_none() && self.made {
            return Err(Error::damaged("keyring", "it is gone"));
        }
        let ring = found.map(|bytes| Keyring::decode(&bytes, root));
        Ok(ring.transpose()?)
    }

    fn write(&self, ring: &Keyring, before: Option<u64>) -> Result<bool> {
        let (generation, content) = (signed(ring.generation()), ring.encode());
        let put = || match before {
            None => {
                let new = doc! { "_id": "keyring", "g": generation, "d": binary(&content) };
                self.link.attempt(self.ring.insert_one(new)).map(|_| 1)
            }
            Some(before) => {
                let old = doc! { "_id": "keyring", "g": signed(before) };
                let new = doc! { "$set": { "g": generation, "d": binary(&content) } };
                let put = self.link.attempt(self.ring.update_one(old, new));
                put.map(|put| put.matched_count)
            }
        };
        match put() {
            Ok(1) => Ok(true),
            // Of an attempt before this one, in this call or in the driver, it may be there.
            Ok(_) => Ok(self.find(-1)?.is_some_and(|there| there == content)),
            Err(failed) if failed.is_duplicate() => Ok(false),
            Err(failed) => match self.find(-1) {
                Ok(Some(there)) if there == content => Ok(true),
                _ => Err(failed.into()),
            },
        }
    }

    fn newer(&self, than: u64) -> Result<Option<Keyring>> {
        let found = self.find(signed(than))?;
        let ring = found.map(|bytes| Keyring::decode(&bytes, &self.root.lock()));
        Ok(ring.transpose()?)
    }

    fn settled(&self, root: &RootKey) {
        *self.root.lock() = root.clone();
    }
}

/// The wrapped keys, and how many each page holds.
pub(super) struct MongoWrapped {
    link: Arc<Link>,
    wrapped: Collection<Document>,
    pages: Collection<Document>,
}

impl MongoWrapped {
    /// The place of the wrapped keys.
    pub(super) fn new(link: &Arc<Link>) -> Self {
        Self {
            wrapped: link.keys("wrapped"),
            pages: link.keys("pages"),
            link: Arc::clone(link),
        }
    }

    fn hand(&self, filter: Document, take: Take<'_>) -> Result<()> {
        let mut rows = self.link.run(self.wrapped.find(filter))?;
        while self.link.run(rows.advance())? {
            hand_one(&self.link.run(async { rows.deserialize_current() })?, take);
        }
        Ok(())
    }
}

/// Hands a row to whoever wants it.
fn hand_one(row: &Document, take: Take<'_>) {
    let token = bytes(row, "_id").and_then(|token| token.try_into().ok());
    if let (Some(token), Some(row)) = (token, bytes(row, "d")) {
        take(token, row);
    }
}

/// Which of some tokens.
fn any_of(tokens: &[Token]) -> Document {
    let tokens: Vec<Bson> = tokens.iter().map(|token| binary(token)).collect();
    doc! { "_id": { "$in": tokens } }
}

impl Wrapped for MongoWrapped {
    fn count(&self) -> Result<u64> {
        self.link.run(self.wrapped.count_documents(doc! {}))
    }

    fn used(&self, pages: &[u32]) -> Result<Vec<u32>> {
        let all: Vec<i64> = pages.iter().map(|page| i64::from(*page)).collect();
        let filter = doc! { "_id": { "$in": all } };
        let mut found = self.link.run(self.pages.find(filter))?;
        let mut used = std::collections::HashMap::new();
        while self.link.run(found.advance())? {
            let page = self.link.run(async { found.deserialize_current() })?;
            used.insert(page.get_i64("_id").unwrap_or(-1), used_of(&page));
        }
        let of = |page: &u32| used.get(&i64::from(*page)).copied().unwrap_or(0);
        Ok(pages.iter().map(of).collect())
    }

    fn get(&self, tokens: &[Token], take: Take<'_>) -> Result<()> {
        for tokens in tokens.chunks(TOGETHER) {
            self.hand(any_of(tokens), take)?;
        }
        Ok(())
    }

    fn each(&self, take: Take<'_>) -> Result<()> {
        self.hand(doc! {}, take)
    }

    fn expect_room(&self, _rows: usize) -> Result<()> {
        Ok(())
    }

    fn close(&self, pages: &[u32]) -> Result<()> {
        for page in pages {
            let this = doc! { "_id": i64::from(*page) };
            let close = doc! { "$set": { "closed": true } };
            self.link
                .run(self.pages.update_one(this, close).upsert(true))?;
        }
        Ok(())
    }

    fn change(&self, work: &mut dyn FnMut(&mut dyn Change) -> Result<bool>) -> Result<bool> {
        for _ in 0..AGAIN {
            let session = self.link.run(self.link.client().start_session())?;
            let mut change = Changing {
                at: self,
                session,
                failed: None,
            };
            self.link.run(change.session.start_transaction())?;
            let done = work(&mut change);
            let failed = change.failed.take();
            if failed.as_ref().is_some_and(Failed::is_transient) {
                drop(self.link.attempt(change.session.abort_transaction()));
                continue;
            }
            if !matches!(done, Ok(true)) {
                drop(self.link.attempt(change.session.abort_transaction()));
                return match failed {
                    Some(failed) if failed.is_duplicate() => Ok(false),
                    _ => done,
                };
            }
            match self.commit(&mut change.session) {
                Ok(()) => return Ok(true),
                Err(failed) if failed.is_transient() => {}
                Err(failed) => return Err(failed.into()),
            }
        }
        Ok(false)
    }
}

impl MongoWrapped {
    fn commit(&self, session: &mut ClientSession) -> Result<(), Failed> {
        for _ in 0..AGAIN {
            match self.link.attempt(session.commit_transaction()) {
                Err(failed) if failed.is_unknown() => {}
                done => return done,
            }
        }
        Err(Failed::Late)
    }
}

fn used_of(page: &Document) -> u32 {
    let used = page.get_i64("used").unwrap_or(0);
    u32::try_from(used).unwrap_or(u32::MAX)
}

/// A transaction under way. What the driver said last is kept: it tells whether to begin again.
struct Changing<'a> {
    at: &'a MongoWrapped,
    session: ClientSession,
    failed: Option<Failed>,
}

impl Changing<'_> {
    fn noted<T>(&mut self, done: Result<T, Failed>) -> Result<T> {
        done.map_err(|failed| {
            let told = Error::Unavailable("the database refused a change of the keys".into());
            self.failed = Some(failed);
            told
        })
    }
}

impl Change for Changing<'_> {
    fn get(&mut self, tokens: &[Token], take: Take<'_>) -> Result<()> {
        for tokens in tokens.chunks(TOGETHER) {
            let find = self.at.wrapped.find(any_of(tokens));
            let found = self.at.link.attempt(find.session(&mut self.session));
            let mut found = self.noted(found)?;
            loop {
                let next = self
                    .at
                    .link
                    .attempt(async { found.next(&mut self.session).await.transpose() });
                let Some(row) = self.noted(next)? else {
                    break;
                };
                hand_one(&row, take);
            }
        }
        Ok(())
    }

    fn insert(&mut self, rows: &[(Token, Vec<u8>)]) -> Result<bool> {
        for rows in rows.chunks(TOGETHER) {
            let docs = rows.iter();
            let docs: Vec<Document> = docs
                .map(|(token, row)| doc! { "_id": binary(token), "d": binary(row) })
                .collect();
            let insert = self.at.wrapped.insert_many(docs);
            let done = self.at.link.attempt(insert.session(&mut self.session));
            self.noted(done)?;
        }
        Ok(true)
    }

    fn replace(&mut self, rows: &[(Token, Vec<u8>)]) -> Result<()> {
        for (token, row) in rows {
            let new = doc! { "$set": { "d": binary(row) } };
            let update = self
                .at
                .wrapped
                .update_one(doc! { "_id": binary(token) }, new);
            let done = self.at.link.attempt(update.session(&mut self.session));
            self.noted(done)?;
        }
        Ok(())
    }

    fn remove(&mut self, token: Token) -> Result<()> {
        let delete = self.at.wrapped.delete_one(doc! { "_id": binary(&token) });
        let done = self.at.link.attempt(delete.session(&mut self.session));
        self.noted(done).map(drop)
    }

    fn used(&mut self, page: u32) -> Result<u32> {
        let find = self.at.pages.find_one(doc! { "_id": i64::from(page) });
        let found = self.at.link.attempt(find.session(&mut self.session));
        let found = self.noted(found)?;
        Ok(found.as_ref().map_or(0, used_of))
    }

    fn set_used(&mut self, page: u32, before: u32, used: u32) -> Result<bool> {
        let this = doc! { "_id": i64::from(page), "closed": { "$ne": true } };
        let find = self.at.pages.find_one(doc! { "_id": i64::from(page) });
        let found = self.at.link.attempt(find.session(&mut self.session));
        let Some(found) = self.noted(found)? else {
            if before != 0 {
                return Ok(false);
            }
            let new = doc! { "_id": i64::from(page), "used": i64::from(used) };
            let insert = self.at.pages.insert_one(new);
            let done = self.at.link.attempt(insert.session(&mut self.session));
            return self.noted(done).map(|_| true);
        };
        if used_of(&found) != before {
            return Ok(false);
        }
        let update = doc! { "$set": { "used": i64::from(used) } };
        let update = self.at.pages.update_one(this, update);
        let done = self.at.link.attempt(update.session(&mut self.session));
        self.noted(done).map(|done| done.matched_count == 1)
    }

    fn end_page(&mut self, page: u32) -> Result<()> {
        let this = doc! { "_id": i64::from(page) };
        let end = doc! { "$set": { "closed": true, "used": 0_i64 } };
        let update = self.at.pages.update_one(this, end).upsert(true);
        let done = self.at.link.attempt(update.session(&mut self.session));
        self.noted(done).map(drop)
    }
}
