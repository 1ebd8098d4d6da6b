//! Making, changing, removing and listing users.

use ems_core::audit::Change;
use ems_crypto::password::{self, Password};
use ems_store::{Batch, Expect, Table};

use super::{
    ATTEMPTS, NewUser, PasswordHash, Read, User, UserPatch, admins, change, external, put, read,
    remove, rules, user::without_repeats,
};
use crate::{Act, Error, Identities, Result, sessions};

/// Makes a user. Durable when it returns.
///
/// # Errors
/// [`Error::Invalid`] naming every broken rule, [`Error::Taken`].
pub async fn new_user(identities: &Identities, act: &Act, new: NewUser) -> Result<User> {
    let faults = new.faults();
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let store = identities.store();
    if store
        .records
        .get(Table::Users, &new.username)
        .await?
        .is_some()
    {
        return Err(Error::Taken);
    }
    let user = User {
        password_hash: hash(identities, &new.password).await?,
        username: new.username,
        role: new.role,
        meters: new.meters,
        customer_id: new.customer_id,
        grants: without_repeats(&new.grants),
        disabled: new.disabled,
        epoch: u64::try_from(act.at.as_micros()).unwrap_or(0),
        created: act.at,
        second_factor: None,
        pending_factor: None,
        external: None,
    };
    for _ in 0..ATTEMPTS {
        let mut batch = Batch::default();
        let name = &user.username;
        batch
            .records
            .push(put(Table::Users, name, Expect::Absent, &user)?);
        if user.is_active_admin() {
            batch
                .records
                .extend(admins::change(store, name, true).await?);
        }
        let change = change(component(name), None, Some(user.redacted()));
        batch.ledger.push(act.change("create", "users", change));
        match identities.commit_and_forget(batch, name).await {
            Err(error) if error.is_conflict() => {
                if store.records.get(Table::Users, name).await?.is_some() {
                    return Err(Error::Taken);
                }
            }
            done => return done.map(|()| user),
        }
    }
    Err(crowded())
}

/// Changes a user. Durable when it returns, and holds for every request that begins after it. A
/// new password and a disabling end all sessions of the user.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Invalid`], [`Error::LastAdmin`].
pub async fn change_user(
    identities: &Identities,
    act: &Act,
    username: &str,
    patch: UserPatch,
) -> Result<User> {
    let fault = patch
        .password
        .as_ref()
        .and_then(|new| rules::password("/password", new, username));
    if let Some(fault) = fault {
        return Err(Error::Invalid(vec![fault]));
    }
    let hash = match &patch.password {
        Some(password) => Some(hash(identities, password).await?),
        None => None,
    };
    for _ in 0..ATTEMPTS {
        let Some(Read {
            revision,
            value: before,
        }) = find(identities, username).await?
        else {
            return Err(Error::NotFound);
        };
        if before.external.is_some() && hash.is_some() {
            return Err(Error::External);
        }
        let after = patch.apply(&before, hash.as_ref());
        let customer_id = after.customer_id.as_deref();
        let faults = rules::bounds(after.role, after.meters.as_deref(), customer_id);
        if !faults.is_empty() {
            return Err(Error::Invalid(faults));
        }
        let batch = changing(identities, act, (&before, revision), &after).await?;
        match identities.commit_and_forget(batch, username).await {
            Err(error) if error.is_conflict() => {}
            done => return done.map(|()| after),
        }
    }
    Err(crowded())
}

async fn changing(
    identities: &Identities,
    act: &Act,
    (before, revision): (&User, u64),
    after: &User,
) -> Result<Batch> {
    let store = identities.store();
    let name = &after.username;
    let mut batch = Batch::default();
    batch
        .records
        .push(put(Table::Users, name, Expect::Revision(revision), after)?);
    let admin = after.is_active_admin();
    batch
        .records
        .extend(admins::change(store, name, admin).await?);
    if after.epoch != before.epoch {
        batch.records.extend(sessions::removals(store, name).await?);
    }
    let change = shown(before, after);
    batch.ledger.push(act.change("update", "users", change));
    Ok(batch)
}

/// What the ledger says of a change of a user.
pub(crate) fn shown(before: &User, after: &User) -> Change {
    let mut new = after.redacted();
    if let Some(fields) = new.as_object_mut() {
        let renewed = after.password_hash != before.password_hash;
        let moved = after.meters != before.meters || after.customer_id != before.customer_id;
        fields.insert("password_changed".to_owned(), renewed.into());
        fields.insert("meters_changed".to_owned(), moved.into());
    }
    change(
        component(&after.username),
        Some(before.redacted()),
        Some(new),
    )
}

/// Removes a user with all its sessions. Durable when it returns, and holds for every request that
/// begins after it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::LastAdmin`].
pub async fn remove_user(identities: &Identities, act: &Act, username: &str) -> Result<()> {
    let store = identities.store();
    for _ in 0..ATTEMPTS {
        let Some(Read {
            revision,
            value: user,
        }) = find(identities, username).await?
        else {
            return Err(Error::NotFound);
        };
        let mut batch = Batch::default();
        let expect = Expect::Revision(revision);
        batch.records.push(remove(Table::Users, username, expect));
        batch
            .records
            .extend(admins::change(store, username, false).await?);
        batch
            .records
            .extend(sessions::removals(store, username).await?);
        batch
            .records
            .extend(user.external.as_ref().map(external::unlink));
        let change = change(component(username), Some(user.redacted()), None);
        batch.ledger.push(act.change("delete", "users", change));
        match identities.commit_and_forget(batch, username).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}

/// A user by name.
pub async fn user(identities: &Identities, username: &str) -> Result<Option<User>> {
    Ok(find(identities, username).await?.map(|read| read.value))
}

/// Users by name, those after `after`, at most `limit`.
pub async fn users(
    identities: &Identities,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<User>> {
    let records = &identities.store().records;
    let found = records.list(Table::Users, "", after, limit).await?;
    // The bookkeeping, which no user's name can name, sorts last.
    let users = found
        .iter()
        .take_while(|record| !record.id.starts_with('~'));
    users
        .map(|record| super::parse(Table::Users, &record.value))
        .collect()
}

pub(crate) async fn find(identities: &Identities, username: &str) -> Result<Option<Read<User>>> {
    if !rules::is_username(username) {
        return Ok(None);
    }
    read(identities.store(), Table::Users, username).await
}

/// Hashes a password, when its turn comes.
pub(crate) async fn hash(identities: &Identities, password: &Password) -> Result<PasswordHash> {
    let password = password.clone();
    let hashed = identities
        .passwords()
        .run(move || password::hash(&password))
        .await?;
    Ok(PasswordHash::new(hashed?))
}

pub(super) fn component(username: &str) -> String {
    format!("user:{username}")
}

/// Every attempt lost against another change.
pub(crate) fn crowded() -> Error {
    Error::Store(ems_store::Error::Conflict {
        table: Table::Users.as_str(),
    })
}
