//! Sessions of those for whom a provider of identities vouches.

use ems_core::audit::AuditKind;
use ems_store::{Batch, Expect, Table};

use super::{Issued, Means, login::begin, removals};
use crate::{
    Act, Identities, Result,
    accounts::{ATTEMPTS, Asserted, External, Read, User, crowded, linked, put, settle},
};

/// Begins a session of somebody a provider vouches for, in one commit with what the assertion makes
/// or changes of the account. Durable when it returns; a change of rights holds for every request
/// that begins after it, in the user's other sessions too.
///
/// # Errors
/// [`crate::Error::Taken`] where the name is another's, [`crate::AuthFault::Revoked`] where the
/// account is disabled, [`crate::Error::LastAdmin`], [`crate::Error::Invalid`].
pub async fn login(identities: &Identities, act: &Act, asserted: &Asserted) -> Result<Issued> {
    for _ in 0..ATTEMPTS {
        let settled = settle(identities, act, asserted).await?;
        let mut batch = Batch {
            records: settled.records,
            ..Batch::default()
        };
        if let Some((action, change)) = settled.change {
            batch.ledger.push(act.change(action, "users", change));
        }
        match begin(identities, act, (&settled.user, Means::Sso), batch).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}

/// Ends every session of somebody to whom the provider gives no access any more, if it had any.
/// Durable when it returns.
pub async fn end(identities: &Identities, act: &Act, external: &External) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let Some(Read { revision, value }) = linked(identities, external).await? else {
            return Ok(());
        };
        let after = User {
            epoch: value.epoch + 1,
            ..value
        };
        let name = &after.username;
        let mut batch = Batch::default();
        let expect = Expect::Revision(revision);
        batch.records.push(put(Table::Users, name, expect, &after)?);
        let over = removals(identities.store(), name).await?;
        batch.records.extend(over);
        let mut event = act.event(AuditKind::Authentication, "revoke", "sessions");
        event.user.clone_from(name);
        batch.ledger.push(event);
        match identities.commit_and_forget(batch, name).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}
