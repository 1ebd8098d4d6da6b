//! Logging in. A user that does not exist, one that is disabled and a wrong password cost the
//! same time and get the same answer; so does a wrong code, but for the commit that counts it.

use ems_core::audit::AuditKind;
use ems_crypto::password::{self, Password};
use ems_store::{Batch, Expect, RecordChange, Table};
use serde_json::json;

use super::{Issued, Means, Session, issue, record};
use crate::{
    Act, AuthFault, Identities, Result,
    accounts::{self, ATTEMPTS, PasswordHash, Read, User, crowded, put, remove},
    mfa,
};

/// Sessions that a user may have at once; past it the oldest ends.
const MOST: usize = 256;

/// Begins a session. Durable when it returns. Removes sessions of the user that are over, and
/// spends the code where the user has a second factor.
///
/// # Errors
/// [`AuthFault::WrongPassword`], [`crate::Error::Busy`]; of a user with a second factor
/// [`AuthFault::CodeRequired`], [`AuthFault::WrongCode`], [`AuthFault::CodesRefused`].
pub async fn login(
    identities: &Identities,
    act: &Act,
    username: &str,
    password: &Password,
    code: Option<&Password>,
) -> Result<Issued> {
    let mut verified = None;
    for _ in 0..ATTEMPTS {
        let found = accounts::find_user(identities, username).await?;
        let ours = found.filter(|read| read.value.external.is_none());
        let Some(Read { revision, value }) = ours else {
            // A password that nobody has, in the place of an unknown user's.
            let dummy = password::dummy_hash().to_owned();
            matches(identities, password, dummy).await?;
            return Err(AuthFault::WrongPassword.into());
        };
        self::verified(identities, &value, password, &mut verified).await?;
        if value.disabled {
            return Err(AuthFault::WrongPassword.into());
        }
        match attempt(identities, act, (value, revision), code).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}

async fn attempt(
    identities: &Identities,
    act: &Act,
    (user, revision): (User, u64),
    code: Option<&Password>,
) -> Result<Issued> {
    let passed = mfa::pass(identities, act, (&user, revision), code).await?;
    let Some((factor, means)) = passed else {
        return begin(identities, act, (&user, Means::Password), Batch::default()).await;
    };
    let user = User {
        second_factor: Some(factor),
        ..user
    };
    let mut batch = Batch::default();
    let expect = Expect::Revision(revision);
    batch
        .records
        .push(put(Table::Users, &user.username, expect, &user)?);
    begin(identities, act, (&user, means), batch).await
}

/// Begins a session of a user who has shown who it is, in one commit with what `batch` holds.
pub(super) async fn begin(
    identities: &Identities,
    act: &Act,
    (user, means): (&User, Means),
    mut batch: Batch,
) -> Result<Issued> {
    let mut session = Session::new(user, act.at, identities.lifetimes().session_micros());
    let issued = issue(identities, (user, means), &mut session, act.at)?;
    session.add(&issued.refresh_token);
    batch
        .records
        .push(put(Table::Sessions, &session.id, Expect::Absent, &session)?);
    batch.records.extend(ended(identities, act, user).await?);
    let mut event = act.event(AuditKind::Authentication, "login", "sessions");
    event.user.clone_from(&user.username);
    event.filters = json!({ "method": means.as_str() });
    batch.ledger.push(event);
    identities.commit_and_forget(batch, &user.username).await?;
    Ok(issued)
}

/// Verifies a user's password, unless it was verified against this very hash before.
///
/// # Errors
/// [`AuthFault::WrongPassword`], [`crate::Error::Busy`].
pub(crate) async fn verified(
    identities: &Identities,
    user: &User,
    password: &Password,
    known: &mut Option<PasswordHash>,
) -> Result<()> {
    if known.as_ref() == Some(&user.password_hash) {
        return Ok(());
    }
    let hash = user.password_hash.as_str().to_owned();
    if !matches(identities, password, hash).await? {
        return Err(AuthFault::WrongPassword.into());
    }
    *known = Some(user.password_hash.clone());
    Ok(())
}

async fn matches(identities: &Identities, password: &Password, phc: String) -> Result<bool> {
    let given = password.clone();
    let work = move || password::verify(&given, &phc);
    identities.passwords().run(work).await
}

/// What removes the user's sessions that are over, and the oldest where there are too many.
async fn ended(identities: &Identities, act: &Act, user: &User) -> Result<Vec<RecordChange>> {
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
