//! Staying in, and going.

use ems_core::audit::AuditKind;
use ems_crypto::opaque::RefreshToken;
use ems_store::{Batch, Expect, Table};

use super::{Issued, Means, Session, issue, record::Standing};
use crate::{
    Act, AuthFault, Error, Identities, Principal, Result,
    accounts::{self, ATTEMPTS, Read, crowded, put, read, remove},
    identify::Kind,
};

/// Exchanges a refresh token for a fresh pair and spends it. Durable when it returns.
///
/// One that was spent before ends its session. Only the one used last may come again within ten
/// seconds, since the first answer may have been lost, and gets a pair too; of the pairs so given,
/// the first to be used makes the others void.
///
/// # Errors
/// [`Error::Auth`]: all its faults look the same outside.
pub async fn refresh(identities: &Identities, act: &Act, token: &str) -> Result<Issued> {
    let token = RefreshToken::parse(token).ok_or(AuthFault::Forged)?;
    for _ in 0..ATTEMPTS {
        let store = identities.store();
        let found = read::<Session>(store, Table::Sessions, token.session_id()).await?;
        let Read {
            revision,
            value: mut session,
        } = found.ok_or(AuthFault::Revoked)?;
        let standing = session.standing(&token, act.at);
        match standing {
            Standing::Unknown => return Err(AuthFault::Forged.into()),
            Standing::Crowded => return Err(AuthFault::Revoked.into()),
            Standing::Spent => return end(identities, act, &session).await,
            Standing::Good | Standing::Retry => {}
        }
        if session.is_over(act.at) {
            return Err(AuthFault::Expired.into());
        }
        let user = accounts::find_user(identities, &session.username).await?;
        let user = user.ok_or(AuthFault::Revoked)?.value;
        if !session.is_good_for(&user, act.at) {
            return Err(AuthFault::Revoked.into());
        }
        let issued = issue(identities, (&user, Means::Refresh), &mut session, act.at)?;
        if standing == Standing::Good {
            session.rotate(&token, &issued.refresh_token, act.at);
        } else {
            session.add(&issued.refresh_token);
        }
        let expect = Expect::Revision(revision);
        let mut batch = Batch::default();
        batch
            .records
            .push(put(Table::Sessions, &session.id, expect, &session)?);
        let mut event = act.event(AuditKind::Authentication, "refresh", "sessions");
        event.user.clone_from(&user.username);
        batch.ledger.push(event);
        match store.commit.commit(batch).await.map_err(Error::from) {
            Err(error) if error.is_conflict() => {}
            done => return done.map(|_| issued),
        }
    }
    Err(crowded())
}

/// Ends the session of a refresh token that was used twice.
async fn end(identities: &Identities, act: &Act, session: &Session) -> Result<Issued> {
    let mut batch = Batch::default();
    batch
        .records
        .push(remove(Table::Sessions, &session.id, Expect::Any));
    let mut event = act.event(AuditKind::Authentication, "revoke", "sessions");
    event.user.clone_from(&session.username);
    batch.ledger.push(event);
    identities
        .commit_and_forget(batch, &session.username)
        .await?;
    Err(AuthFault::Reused.into())
}

/// Ends the caller's session: its access and refresh tokens are dead for every request that begins
/// after it returns. Durable then, too.
///
/// # Errors
/// [`Error::NoSession`] where the caller is not a user with an access token.
pub async fn logout(identities: &Identities, act: &Act, principal: &Principal) -> Result<()> {
    let Kind::User { session_id, .. } = &principal.kind else {
        return Err(Error::NoSession);
    };
    let mut batch = Batch::default();
    batch
        .records
        .push(remove(Table::Sessions, session_id, Expect::Any));
    batch
        .ledger
        .push(act.event(AuditKind::Authentication, "logout", "sessions"));
    identities.commit_and_forget(batch, &principal.name).await
}
