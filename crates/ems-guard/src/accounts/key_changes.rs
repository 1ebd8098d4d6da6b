//! Making, rotating, revoking and listing API keys.

use ems_core::{audit::Change, time::Timestamp};
use ems_crypto::api_key::ApiKey;
use ems_store::{Batch, Expect, Store, Table};

use super::{
    ATTEMPTS, Key, NewKey, Read, Rotated, change, next_page, parse, put, read, remove,
    user_changes::crowded,
};
use crate::{Act, Error, Identities, Result, identify::key_name};

/// How long a key that has ended stays listed, in microseconds: 30 days.
const LISTED_AFTER_END: i64 = 30 * 86_400 * 1_000_000;

/// Makes a key. Durable when it returns. The key itself is to be shown once.
///
/// # Errors
/// [`Error::Invalid`] naming every broken rule.
pub async fn new_key(identities: &Identities, act: &Act, new: NewKey) -> Result<(Key, ApiKey)> {
    let faults = new.faults(act.at);
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    for _ in 0..ATTEMPTS {
        let (key, secret) = make(identities, act, &new);
        let mut batch = Batch::default();
        batch
            .records
            .push(put(Table::Keys, &key.id, Expect::Absent, &key)?);
        batch
            .ledger
            .push(act.change("create", "keys", of(&key, None)));
        match identities
            .commit_and_forget(batch, &key_name(&key.id))
            .await
        {
            // The random id was another's: take a new one.
            Err(error) if error.is_conflict() => {}
            done => return done.map(|()| (key, secret)),
        }
    }
    Err(crowded())
}

fn make(identities: &Identities, act: &Act, new: &NewKey) -> (Key, ApiKey) {
    let secret = ApiKey::generate();
    let key = Key {
        id: secret.id().to_owned(),
        name: new.name.clone(),
        role: new.role,
        meters: new.meters.clone(),
        created: act.at,
        created_by: act.user.clone(),
        expires_at: new.expires_at,
        revoked: None,
        replaced_by: None,
        valid_until: None,
        hash: secret.hash(identities.pepper()).into(),
    };
    (key, secret)
}

/// Makes a key's successor: another key of the same name, role and meters, that lives as long as
/// the old one was given. The old one is taken for the overlap too, but not past its own expiry.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotRotatable`].
pub async fn rotate_key(identities: &Identities, act: &Act, id: &str) -> Result<Rotated> {
    for _ in 0..ATTEMPTS {
        let Some(Read {
            revision,
            value: before,
        }) = find(identities.store(), id).await?
        else {
            return Err(Error::NotFound);
        };
        if before.replaced_by.is_some() || before.revoked.is_some() {
            return Err(Error::NotRotatable);
        }
        let life = |end: Timestamp| end.as_micros() - before.created.as_micros();
        let new = NewKey {
            name: before.name.clone(),
            role: before.role,
            meters: before.meters.clone(),
            expires_at: before
                .expires_at
                .map(|end| act.at.saturating_add_micros(life(end))),
        };
        let (key, secret) = make(identities, act, &new);
        let overlap = act
            .at
            .saturating_add_micros(identities.lifetimes().overlap_micros());
        let until = before.expires_at.map_or(overlap, |end| end.min(overlap));
        let mut old = before.clone();
        old.replaced_by = Some(key.id.clone());
        old.valid_until = Some(until);
        let mut batch = Batch::default();
        batch
            .records
            .push(put(Table::Keys, id, Expect::Revision(revision), &old)?);
        batch
            .records
            .push(put(Table::Keys, &key.id, Expect::Absent, &key)?);
        batch
            .ledger
            .push(act.change("rotate", "keys", of(&old, Some(&before))));
        batch
            .ledger
            .push(act.change("create", "keys", of(&key, None)));
        match identities.commit_and_forget(batch, &key_name(id)).await {
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
            Ok(()) => {
                let replaces = id.to_owned();
                return Ok(Rotated {
                    key,
                    secret,
                    replaces,
                    replaced_valid_until: until,
                });
            }
        }
    }
    Err(crowded())
}

/// Revokes a key. Durable when it returns, and holds for every request that begins after it. The
/// record stays listed for 30 days.
///
/// # Errors
/// [`Error::NotFound`], also for one that was revoked before.
pub async fn revoke_key(identities: &Identities, act: &Act, id: &str) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let found = find(identities.store(), id).await?;
        let Some(Read {
            revision,
            value: before,
        }) = found.filter(|key| key.value.revoked.is_none())
        else {
            return Err(Error::NotFound);
        };
        let mut after = before.clone();
        after.revoked = Some(act.at);
        let mut batch = Batch::default();
        batch
            .records
            .push(put(Table::Keys, id, Expect::Revision(revision), &after)?);
        batch
            .ledger
            .push(act.change("revoke", "keys", of(&after, Some(&before))));
        match identities.commit_and_forget(batch, &key_name(id)).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}

/// A key by id.
pub async fn key(identities: &Identities, id: &str) -> Result<Option<Key>> {
    Ok(find(identities.store(), id).await?.map(|read| read.value))
}

/// Keys by id, those after `after`, at most `limit`.
pub async fn keys(identities: &Identities, after: Option<&str>, limit: usize) -> Result<Vec<Key>> {
    let found = identities
        .store()
        .records
        .list(Table::Keys, "", after, limit)
        .await?;
    found
        .iter()
        .map(|record| parse(Table::Keys, &record.value))
        .collect()
}

/// Removes the records of keys that ended more than 30 days ago. Returns how many.
pub async fn sweep(store: &Store, now: Timestamp) -> Result<u64> {
    let mut removed = 0;
    let mut after = None;
    while let Some(page) = next_page(store, (Table::Keys, ""), &mut after).await? {
        let mut batch = Batch::default();
        for record in &page {
            let key: Key = parse(Table::Keys, &record.value)?;
            let over = key
                .ends()
                .is_some_and(|end| end.saturating_add_micros(LISTED_AFTER_END) <= now);
            if over {
                let expect = Expect::Revision(record.revision);
                batch.records.push(remove(Table::Keys, &record.id, expect));
                let event = Act::system(now).change("delete", "keys", of_removed(&key));
                batch.ledger.push(event);
            }
        }
        let count = u64::try_from(batch.records.len()).unwrap_or(0);
        if count > 0 {
            store.commit.commit(batch).await?;
            removed += count;
        }
    }
    Ok(removed)
}

pub(crate) async fn find(store: &Store, id: &str) -> Result<Option<Read<Key>>> {
    read(store, Table::Keys, id).await
}

fn of(key: &Key, before: Option<&Key>) -> Change {
    change(
        key_name(&key.id),
        before.map(Key::redacted),
        Some(key.redacted()),
    )
}

fn of_removed(key: &Key) -> Change {
    change(key_name(&key.id), Some(key.redacted()), None)
}
