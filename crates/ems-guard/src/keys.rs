//! API keys: what is stored of one, how one is made, rotated and revoked.

use ems_core::{
    Fault, FaultCode,
    role::Role,
    scope::{Pattern, Scope},
    time::{SECOND, Timestamp},
};
use ems_crypto::api_key::{ApiKey, Pepper};
use ems_store::{Expect, Record, RecordChange, Records, Table};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How long a rotated key stays good beside its successor.
pub const OVERLAP_SECONDS: i64 = 24 * 3600;

/// What is stored of a key; never the key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// Its public id.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its meters.
    pub meters: Vec<Pattern>,
    /// From when on it is no longer good.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created: Timestamp,
    /// Its keyed hash, with the pepper's version before it.
    pub hash: Vec<u8>,
    /// The id of the key that takes its place.
    pub replaced_by: Option<String>,
}

impl Key {
    /// The meters it may see and write.
    pub fn scope(&self) -> Scope {
        Scope::of(self.meters.clone())
    }

    /// Whether it is good at an instant.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Record`].
    pub fn from_record(record: &Record) -> Result<Self> {
        serde_json::from_slice(&record.value).map_err(|_| Error::Record("key"))
    }
}

/// What a new key is made from.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What its owner calls it: 1 to 100 characters.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its meters: at least one entry.
    pub meters: Vec<Pattern>,
    /// From when on it is no longer good.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    fn check(&self, now: Timestamp) -> Result<(), Error> {
        let mut faults = Vec::new();
        let mut fault = |pointer: &str, code, why: &str| faults.push(Fault::new(pointer, code, why));
        match self.name.chars().count() {
            0 => fault("/name", FaultCode::InvalidFormat, "a key has a name"),
            101.. => fault("/name", FaultCode::TooLong, "a name has at most 100 characters"),
            _ if self.name.chars().any(char::is_control) => {
                fault("/name", FaultCode::InvalidFormat, "a name has no control characters");
            }
            _ => {}
        }
        if self.meters.is_empty() {
            fault("/meters", FaultCode::OutOfRange, "a key must be given its meters");
        }
        if self.expires_at.is_some_and(|end| end <= now) {
            fault("/expires_at", FaultCode::OutOfRange, "a key expires in the future");
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Invalid(faults)) }
    }
}

fn put(key: &Key, expect: Expect) -> Result<RecordChange> {
    let value = serde_json::to_vec(key).map_err(|_| Error::Record("key"))?;
    Ok(RecordChange { table: Table::Keys, id: key.id.clone(), expect, value: Some(value) })
}

/// A new key, what is stored of it, and the change that stores it.
///
/// # Errors
/// [`Error::Invalid`] with every rule broken.
pub fn create(new: NewKey, pepper: &Pepper, now: Timestamp) -> Result<(ApiKey, Key, RecordChange)> {
    new.check(now)?;
    let secret = ApiKey::generate();
    let key = Key {
        id: secret.id().to_owned(),
        name: new.name,
        role: new.role,
        meters: new.meters,
        expires_at: new.expires_at,
        created: now,
        hash: secret.hash(pepper),
        replaced_by: None,
    };
    let change = put(&key, Expect::Absent)?;
    Ok((secret, key, change))
}

/// A key's successor: the new key, what is stored of it, until when the old one stays good, and the
/// changes.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] for a key that has a successor already.
pub async fn rotate(
    records: &dyn Records,
    id: &str,
    pepper: &Pepper,
    now: Timestamp,
) -> Result<(ApiKey, Key, Timestamp, Vec<RecordChange>)> {
    let record = records.get(Table::Keys, id).await?.ok_or(Error::NotFound)?;
    let mut old = Key::from_record(&record)?;
    if old.replaced_by.is_some() {
        return Err(Error::Conflict("this key was rotated already"));
    }
    if !old.is_good(now) {
        return Err(Error::Conflict("this key has expired"));
    }
    let new = NewKey { name: old.name.clone(), role: old.role, meters: old.meters.clone(), expires_at: old.expires_at };
    let (secret, key, made) = create(new, pepper, now)?;
    let overlap = now.saturating_add_micros(OVERLAP_SECONDS * SECOND);
    let until = old.expires_at.map_or(overlap, |end| end.min(overlap));
    old.expires_at = Some(until);
    old.replaced_by = Some(key.id.clone());
    let changes = vec![made, put(&old, Expect::Revision(record.revision))?];
    Ok((secret, key, until, changes))
}

/// The change that revokes a key, at once and for good.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn revoke(records: &dyn Records, id: &str) -> Result<(Key, RecordChange)> {
    let record = records.get(Table::Keys, id).await?.ok_or(Error::NotFound)?;
    let key = Key::from_record(&record)?;
    let expect = Expect::Revision(record.revision);
    Ok((key, RecordChange { table: Table::Keys, id: id.to_owned(), expect, value: None }))
}

/// Keys in the order of their ids: those after `after`, at most `limit`.
///
/// # Errors
/// The store's.
pub async fn list(records: &dyn Records, after: Option<&str>, limit: usize) -> Result<Vec<Key>> {
    let found = records.list(Table::Keys, "", after, limit).await?;
    found.iter().map(Key::from_record).collect()
}
