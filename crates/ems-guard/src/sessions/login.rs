//! Logging in. A user that does not exist, one that is disabled and a wrong password cost the
//! same time and get the same answer.

use ems_core::audit::AuditKind;
use ems_crypto::password::{self, Password};
use ems_store::{Batch, Expect, Table};

use super::{Issued, Session, issue, record};
use crate::{
    Act, AuthFault, Identities, Result,
    accounts::{self, Read, put, remove},
};

/// Sessions that a user may have at once; past it the oldest ends.
const MOST: usize = 256;

/// Begins a session. Durable when it returns. Removes sessions of the user that are over.
///
/// # Errors
/// [`AuthFault::WrongPassword`], [`crate::Error::Busy`].
pub async fn login(
    identities: &Identities,
    act: &Act,
    username: &str,
    password: &Password,
) -> Result<Issued> {
    let user = accounts::find_user(identities, username).await?;
    let user = user.map(|Read { value, .. }| value);
    let given = password.clone();
    let hash = user.as_ref().map(|user| user.password_hash.as_str());
    // A password that nobody has, in the place of an unknown user's.
    let hash = hash.unwrap_or_else(|| password::dummy_hash()).to_owned();
    let work = move || password::verify(&given, &hash);
    let right = identities.passwords().run(work).await?;
    let Some(user) = user.filter(|user| right && !user.disabled) else {
        return Err(AuthFault::WrongPassword.into());
    };
    let mut session = Session::new(&user, act.at, identities.lifetimes().session_micros());
    let issued = issue(identities, &user, &mut session, act.at)?;
    session.add(&issued.refresh_token);
    let mut batch = Batch::default();
    batch
        .records
        .push(put(Table::Sessions, &session.id, Expect::Absent, &session)?);
    batch.records.extend(ended(identities, act, &user).await?);
    let mut event = act.event(AuditKind::Authentication, "login", "sessions");
    event.user.clone_from(&user.username);
    batch.ledger.push(event);
    identities.commit_and_forget(batch, &user.username).await?;
    Ok(issued)
}

/// What removes the user's sessions that are over, and the oldest where there are too many.
async fn ended(
    identities: &Identities,
    act: &Act,
    user: &accounts::User,
) -> Result<Vec<ems_store::RecordChange>> {
    let sessions = record::of_user(identities.store(), &user.username).await?;
    let (good, over): (Vec<_>, Vec<_>) = sessions
        .into_iter()
        .map(|(_, session)| session)
        .partition(|session| session.is_good_for(user, act.at));
    let mut good = good;
    good.sort_by_key(|session| session.created);
    let too_many = (good.len() + 1).saturating_sub(MOST);
    let ended = over.iter().chain(good.iter().take(too_many));
    Ok(ended
        .map(|session| remove(Table::Sessions, &session.id, Expect::Any))
        .collect())
}
