//! Users and API keys: their records, the rules of making and changing them, and the changes.
//!
//! Each change is one commit with its ledger entry, checked against the revisions it was decided
//! on and decided anew where another was faster. What ends a credential holds at the next request.

mod admins;
mod external;
mod guessable;
mod key;
mod key_changes;
mod rules;
mod user;
mod user_changes;

use ems_core::{
    audit::{AuditKind, Change},
    time::Timestamp,
};
use ems_store::{Batch, Expect, Record, RecordChange, Store, Table};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    external::Asserted,
    key::{Key, NewKey, Rotated},
    key_changes::{key, keys, new_key, revoke_key, rotate_key, sweep},
    rules::{RESERVED, is_username, password as password_fault},
    user::{External, NewUser, PasswordHash, User, UserPatch},
    user_changes::{change_user, new_user, remove_user, user, users},
};
pub(crate) use self::{
    external::{linked, settle},
    key_changes::find as find_key,
    user_changes::{crowded, find as find_user, hash as hash_password, shown as user_change},
};
use crate::{Act, Error, Result};

/// How often a change is decided anew when others are faster, before it gives up.
pub(crate) const ATTEMPTS: usize = 16;

/// A record with the revision that it was read at.
pub(crate) struct Read<T> {
    pub(crate) revision: u64,
    pub(crate) value: T,
}

/// Reads a record.
pub(crate) async fn read<T: DeserializeOwned>(
    store: &Store,
    table: Table,
    id: &str,
) -> Result<Option<Read<T>>> {
    let Some(record) = store.records.get(table, id).await? else {
        return Ok(None);
    };
    Ok(Some(Read {
        revision: record.revision,
        value: parse(table, &record.value)?,
    }))
}

/// Records that are looked at together.
const PAGE: usize = 256;

/// The next page of the records whose ids begin with `prefix`; `after` is where the one before
/// ended. `None` past the last.
pub(crate) async fn next_page(
    store: &Store,
    (table, prefix): (Table, &str),
    after: &mut Option<String>,
) -> Result<Option<Vec<Record>>> {
    let from = after.as_deref();
    let page = store.records.list(table, prefix, from, PAGE).await?;
    let Some(last) = page.last() else {
        return Ok(None);
    };
    *after = Some(last.id.to_string());
    Ok(Some(page))
}

/// Parses a record's value.
pub(crate) fn parse<T: DeserializeOwned>(table: Table, value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|source| Error::Damaged {
        table: table.as_str(),
        source,
    })
}

/// Removes records that are over, in one durable commit with a ledger entry of that kind. Returns
/// how many.
pub(crate) async fn expire(
    store: &Store,
    (table, kind): (Table, AuditKind),
    over: impl Iterator<Item = &Record>,
    now: Timestamp,
) -> Result<u64> {
    let mut batch = Batch::default();
    batch
        .records
        .extend(over.map(|record| remove(table, &record.id, Expect::Any)));
    let count = u64::try_from(batch.records.len()).unwrap_or(u64::MAX);
    if count > 0 {
        let mut event = Act::system(now).event(kind, "expire", table.as_str());
        event.record_count = count;
        batch.ledger.push(event);
        store.commit.commit(batch).await?;
    }
    Ok(count)
}

/// A change that puts a value.
pub(crate) fn put<T: Serialize>(
    table: Table,
    id: &str,
    expect: Expect,
    value: &T,
) -> Result<RecordChange> {
    let value = serde_json::to_vec(value).map_err(|source| Error::Damaged {
        table: table.as_str(),
        source,
    })?;
    Ok(RecordChange {
        table,
        id: id.to_owned(),
        expect,
        value: Some(value),
    })
}

/// A change that removes a record.
pub(crate) fn remove(table: Table, id: &str, expect: Expect) -> RecordChange {
    RecordChange {
        table,
        id: id.to_owned(),
        expect,
        value: None,
    }
}

/// What the ledger says of a change: redacted JSON before and after; empty where there was nothing.
fn change(
    component: String,
    old: Option<serde_json::Value>,
    new: Option<serde_json::Value>,
) -> Change {
    let text = |value: Option<serde_json::Value>| {
        value.map_or_else(String::new, |value| value.to_string())
    };
    Change {
        component,
        old_value: text(old),
        new_value: text(new),
    }
}

#[cfg(test)]
mod tests;
