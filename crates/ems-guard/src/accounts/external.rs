//! Users for whom a provider of identities vouches: made at their first login, and given at each
//! what the provider's groups stand for.
//!
//! One is known by the provider's name for it, which never changes; a record beside the users
//! leads from there to the account. A local user is never taken over, whatever the provider says.

use data_encoding::BASE64URL_NOPAD;
use ems_core::{
    audit::Change,
    role::{Grant, Role},
    scope::Pattern,
};
use ems_crypto::{hash::sha256, password};
use ems_store::{Expect, RecordChange, Table};
use serde::{Deserialize, Serialize};

use super::{
    External, PasswordHash, Read, User, admins, change, put, read, remove, rules,
    user::without_repeats,
    user_changes::{component, find, shown},
};
use crate::{Act, AuthFault, Error, Identities, Result};

/// What a provider says of somebody, and what that stands for here.
#[derive(Debug, Clone)]
pub struct Asserted {
    /// Whose account it is there.
    pub external: External,
    /// The name that a new account here gets.
    pub username: String,
    /// Its role.
    pub role: Role,
    /// The meters it is bound to.
    pub meters: Option<Vec<Pattern>>,
    /// Single permissions beside the role's.
    pub grants: Vec<Grant>,
}

/// A user as it is now, and what has to be committed for that.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) user: User,
    pub(crate) records: Vec<RecordChange>,
    /// What was done, and what the ledger says of it; none where nothing changes.
    pub(crate) change: Option<(&'static str, Change)>,
}

/// Where a provider's name for somebody leads.
#[derive(Serialize, Deserialize)]
struct Link {
    username: String,
}

/// The id of the link. No user's name can hold `~`.
fn link_id(external: &External) -> String {
    // An issuer is a URL, which holds no line end.
    let whole = [external.issuer.as_str(), &external.subject].join("\n");
    format!("~sso:{}", BASE64URL_NOPAD.encode(&sha256(whole.as_bytes())))
}

/// What removes the link of an account that goes.
pub(super) fn unlink(external: &External) -> RecordChange {
    remove(Table::Users, &link_id(external), Expect::Any)
}

/// Finds the account, or makes it, and brings it to what is asserted.
///
/// # Errors
/// [`Error::Taken`] where the name is another's, [`AuthFault::Revoked`] where the account is
/// disabled, [`Error::LastAdmin`], [`Error::Invalid`].
pub(crate) async fn settle(
    identities: &Identities,
    act: &Act,
    asserted: &Asserted,
) -> Result<Settled> {
    match linked(identities, &asserted.external).await? {
        Some(found) => renewed(identities, found, asserted).await,
        None => made(identities, act, asserted).await,
    }
}

/// The account of somebody at a provider, if there is one.
///
/// # Errors
/// [`AuthFault::Revoked`] where it leads to an account that is another's.
pub(crate) async fn linked(
    identities: &Identities,
    external: &External,
) -> Result<Option<Read<User>>> {
    let link = read::<Link>(identities.store(), Table::Users, &link_id(external)).await?;
    let Some(Read { value, .. }) = link else {
        return Ok(None);
    };
    let found = find(identities, &value.username).await?;
    let ours = found.filter(|found| found.value.external.as_ref() == Some(external));
    Ok(Some(ours.ok_or(AuthFault::Revoked)?))
}

async fn renewed(
    identities: &Identities,
    found: Read<User>,
    asserted: &Asserted,
) -> Result<Settled> {
    let Read {
        revision,
        value: before,
    } = found;
    if before.disabled {
        return Err(AuthFault::Revoked.into());
    }
    let after = User {
        role: asserted.role,
        meters: asserted.meters.clone(),
        customer_id: None,
        grants: without_repeats(&asserted.grants),
        ..before.clone()
    };
    if after == before {
        return Ok(Settled {
            user: after,
            records: Vec::new(),
            change: None,
        });
    }
    let change = shown(&before, &after);
    let records = records(identities, &after, Expect::Revision(revision)).await?;
    Ok(Settled {
        user: after,
        records,
        change: Some(("update", change)),
    })
}

async fn made(identities: &Identities, act: &Act, asserted: &Asserted) -> Result<Settled> {
    let name = &asserted.username;
    let mut faults: Vec<_> = rules::username(name).into_iter().collect();
    faults.extend(rules::bounds(
        asserted.role,
        asserted.meters.as_deref(),
        None,
    ));
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    if find(identities, name).await?.is_some() {
        return Err(Error::Taken);
    }
    let user = User {
        username: name.clone(),
        // Of the right form, so that a guess at it costs what any does; and of no password.
        password_hash: PasswordHash::new(password::dummy_hash().to_owned()),
        role: asserted.role,
        meters: asserted.meters.clone(),
        customer_id: None,
        grants: without_repeats(&asserted.grants),
        disabled: false,
        epoch: u64::try_from(act.at.as_micros()).unwrap_or(0),
        created: act.at,
        second_factor: None,
        pending_factor: None,
        external: Some(asserted.external.clone()),
    };
    let mut records = records(identities, &user, Expect::Absent).await?;
    let to = Link {
        username: name.clone(),
    };
    let link = link_id(&asserted.external);
    records.push(put(Table::Users, &link, Expect::Absent, &to)?);
    let change = change(component(name), None, Some(user.redacted()));
    Ok(Settled {
        user,
        records,
        change: Some(("create", change)),
    })
}

/// What keeps a user, and the bookkeeping of administrators with it.
async fn records(
    identities: &Identities,
    user: &User,
    expect: Expect,
) -> Result<Vec<RecordChange>> {
    let name = &user.username;
    let mut records = vec![put(Table::Users, name, expect, user)?];
    let admin = user.is_active_admin();
    // Of a new user who is none, the bookkeeping has nothing to say.
    if admin || expect != Expect::Absent {
        records.extend(admins::change(identities.store(), name, admin).await?);
    }
    Ok(records)
}
