//! Changing the own password. The session that changes it lives on; all others end.

use ems_core::{audit::AuditKind, time::Timestamp};
use ems_crypto::password::{self, Password};
use ems_store::{Batch, Expect, RecordChange, Table};

use super::{Session, record};
use crate::{
    Act, AuthFault, Error, Identities, Principal, Result,
    accounts::{self, ATTEMPTS, PasswordHash, Read, User, crowded, put, remove},
    identify::Kind,
};

/// Changes the caller's password. Durable when it returns, and holds for every request that begins
/// after it.
///
/// # Errors
/// [`AuthFault::WrongPassword`], [`Error::Invalid`], [`Error::NoSession`] where the caller is not a
/// user with an access token.
pub async fn change_password(
    identities: &Identities,
    act: &Act,
    principal: &Principal,
    current: &Password,
    new: &Password,
) -> Result<()> {
    let Kind::User { session_id, .. } = &principal.kind else {
        return Err(Error::NoSession);
    };
    if let Some(fault) = accounts::password_fault("/new", new) {
        return Err(Error::Invalid(vec![fault]));
    }
    let mut verified = verify(identities, principal, current).await?;
    let hash = accounts::hash_password(identities, new).await?;
    for _ in 0..ATTEMPTS {
        let found = accounts::find_user(identities, &principal.name).await?;
        let Read {
            revision,
            value: user,
        } = found.ok_or(AuthFault::Revoked)?;
        if user.password_hash != verified {
            // Another change was faster; what was the present one is so no longer.
            verified = verify(identities, principal, current).await?;
            continue;
        }
        let after = User {
            password_hash: hash.clone(),
            epoch: user.epoch + 1,
            ..user
        };
        let mut batch = Batch::default();
        let expect = Expect::Revision(revision);
        batch
            .records
            .push(put(Table::Users, &after.username, expect, &after)?);
        batch
            .records
            .extend(moved(identities, act.at, &after, session_id).await?);
        let event = act.event(AuditKind::Authentication, "change_password", "users");
        batch.ledger.push(event);
        match identities.commit_and_forget(batch, &after.username).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}

/// The user's present hash, which `current` has to match.
async fn verify(
    identities: &Identities,
    principal: &Principal,
    current: &Password,
) -> Result<PasswordHash> {
    let found = accounts::find_user(identities, &principal.name).await?;
    let hash = found.ok_or(AuthFault::Revoked)?.value.password_hash;
    let (given, phc) = (current.clone(), hash.as_str().to_owned());
    let work = move || password::verify(&given, &phc);
    if !identities.passwords().run(work).await? {
        return Err(AuthFault::WrongPassword.into());
    }
    Ok(hash)
}

/// What moves the session that stays into the new epoch and removes the others.
async fn moved(
    identities: &Identities,
    now: Timestamp,
    user: &User,
    stays: &str,
) -> Result<Vec<RecordChange>> {
    let mut changes = Vec::new();
    let mut stayed = false;
    for (revision, session) in record::of_user(identities.store(), &user.username).await? {
        let id = session.id.clone();
        if id != stays {
            changes.push(remove(Table::Sessions, &id, Expect::Any));
            continue;
        }
        stayed = !session.is_over(now);
        let session = Session {
            epoch: user.epoch,
            ..session
        };
        changes.push(put(
            Table::Sessions,
            &id,
            Expect::Revision(revision),
            &session,
        )?);
    }
    if !stayed {
        return Err(AuthFault::Revoked.into());
    }
    Ok(changes)
}
