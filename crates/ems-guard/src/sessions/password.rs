//! Changing the own password. The session that changes it lives on; all others end.

use ems_core::{audit::AuditKind, time::Timestamp};
use ems_crypto::password::Password;
use ems_store::{Batch, Expect, RecordChange, Table};

use super::{Session, login::verified, record};
use crate::{
    Act, AuthFault, Error, Identities, Principal, Result,
    accounts::{self, ATTEMPTS, PasswordHash, Read, User, crowded, put, remove},
    identify::Kind,
};

/// Changes the caller's password. Durable when it returns, and holds for every request that begins
/// after it.
///
/// # Errors
/// [`AuthFault::WrongPassword`], [`Error::Invalid`], [`Error::External`], [`Error::NoSession`] where the caller is not a
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
    if let Some(fault) = accounts::password_fault("/new", new, &principal.name) {
        return Err(Error::Invalid(vec![fault]));
    }
    let (mut known, mut hash) = (None, None);
    for _ in 0..ATTEMPTS {
        let found = accounts::find_user(identities, &principal.name).await?;
        let Read {
            revision,
            value: user,
        } = found.ok_or(AuthFault::Revoked)?;
        if user.external.is_some() {
            return Err(Error::External);
        }
        // Where another change was faster, what was the present password is so no longer.
        verified(identities, &user, current, &mut known).await?;
        let hash = match &hash {
            Some(hash) => PasswordHash::clone(hash),
            None => hash
                .insert(accounts::hash_password(identities, new).await?)
                .clone(),
        };
        let after = User {
            password_hash: hash,
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

/// What moves the session that stays into the new epoch and removes the others.
pub(crate) async fn moved(
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
