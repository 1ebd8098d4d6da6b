//! Getting a second factor, giving it up, and having it taken away. Each is one commit with its
//! ledger entry, durable when it returns.

use ems_core::{audit::AuditKind, role::Role};
use ems_crypto::{password::Password, totp::RecoveryCode};
use ems_store::{Batch, Expect, Table};
use zeroize::Zeroizing;

use super::{Pending, SecondFactor, pass};
use crate::{
    Act, AuthFault, Error, Identities, Principal, Result,
    accounts::{self, ATTEMPTS, Read, User, crowded, put},
    identify::Kind,
    sessions,
};

/// The issuer that authenticators show beside the account.
const ISSUER: &str = "EMS Agent";

/// What is shown of a new second factor, once.
pub struct Enrolment {
    /// The secret in Base32.
    pub secret: Zeroizing<String>,
    /// The address that authenticators read.
    pub otpauth_uri: Zeroizing<String>,
    /// The recovery codes.
    pub recovery_codes: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Enrolment(…)")
    }
}

/// Makes a second factor for the caller, which counts once [`confirm`] has seen a code of it. An
/// earlier one that was not confirmed is void.
///
/// # Errors
/// [`AuthFault::WrongPassword`], [`Error::Enrolled`], [`Error::External`], [`Error::NoSession`].
pub async fn enrol(
    identities: &Identities,
    act: &Act,
    principal: &Principal,
    password: &Password,
) -> Result<Enrolment> {
    session_of(principal)?;
    let whose = (identities.pepper(), principal.name.as_str());
    let (pending, codes) = Pending::new(whose, act.at);
    let enrolment = Enrolment {
        secret: pending.secret().base32(),
        otpauth_uri: pending.secret().uri(ISSUER, &principal.name),
        recovery_codes: codes.iter().map(RecoveryCode::shown).collect(),
    };
    let mut verified = None;
    for _ in 0..ATTEMPTS {
        let (user, revision) = own(identities, principal).await?;
        if user.second_factor.is_some() {
            return Err(Error::Enrolled);
        }
        sessions::verified(identities, &user, password, &mut verified).await?;
        let after = User {
            pending_factor: Some(pending.clone()),
            ..user
        };
        let batch = changed(act, (&after, revision), "mfa_begin")?;
        match identities.commit_and_forget(batch, &after.username).await {
            Err(error) if error.is_conflict() => {}
            done => return done.map(|()| enrolment),
        }
    }
    Err(crowded())
}

/// Puts the caller's new second factor into force. Its other sessions end, since they were begun
/// without.
///
/// # Errors
/// [`AuthFault::WrongCode`]; [`Error::NotPending`] where none waits, or has waited for too long.
pub async fn confirm(
    identities: &Identities,
    act: &Act,
    principal: &Principal,
    code: &Password,
) -> Result<()> {
    let session = session_of(principal)?;
    for _ in 0..ATTEMPTS {
        let (user, revision) = own(identities, principal).await?;
        let pending = user.pending_factor.as_ref();
        let pending = pending.filter(|pending| pending.is_live(act.at));
        let factor = pending.ok_or(Error::NotPending)?;
        let factor = factor.confirmed(code.expose(), act.at);
        let after = User {
            second_factor: Some(factor.ok_or(AuthFault::WrongCode)?),
            pending_factor: None,
            epoch: user.epoch + 1,
            ..user
        };
        let mut batch = changed(act, (&after, revision), "mfa_enable")?;
        let moved = sessions::moved(identities, act.at, &after, session).await?;
        batch.records.extend(moved);
        match identities.commit_and_forget(batch, &after.username).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}

/// Takes the caller's second factor away. Its other sessions end.
///
/// # Errors
/// [`AuthFault::WrongPassword`] and those of a code; [`Error::FactorRequired`] where the settings
/// ask for one; [`Error::NotFound`] where there is none.
pub async fn remove(
    identities: &Identities,
    act: &Act,
    principal: &Principal,
    password: &Password,
    code: &Password,
) -> Result<()> {
    let session = session_of(principal)?;
    let mut verified = None;
    for _ in 0..ATTEMPTS {
        let (user, revision) = own(identities, principal).await?;
        if identities.requires_factor(user.role) {
            return Err(Error::FactorRequired);
        }
        sessions::verified(identities, &user, password, &mut verified).await?;
        match pass(identities, act, (&user, revision), Some(code)).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Error::NotFound),
            Err(error) if error.is_conflict() => continue,
            Err(error) => return Err(error),
        }
        let after = without(user);
        let mut batch = changed(act, (&after, revision), "mfa_disable")?;
        let moved = sessions::moved(identities, act.at, &after, session).await?;
        batch.records.extend(moved);
        match identities.commit_and_forget(batch, &after.username).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}

/// Takes a user's second factor away, for who has lost it. All sessions of the user end.
///
/// # Errors
/// [`Error::NotFound`]: no such user, or one without a second factor.
pub async fn reset(identities: &Identities, act: &Act, username: &str) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let found = accounts::find_user(identities, username).await?;
        let Read { revision, value } = found.ok_or(Error::NotFound)?;
        if value.second_factor.is_none() && value.pending_factor.is_none() {
            return Err(Error::NotFound);
        }
        let before = value.clone();
        let after = without(value);
        let mut batch = Batch::default();
        let expect = Expect::Revision(revision);
        batch
            .records
            .push(put(Table::Users, username, expect, &after)?);
        let over = sessions::removals(identities.store(), username).await?;
        batch.records.extend(over);
        let change = accounts::user_change(&before, &after);
        batch.ledger.push(act.change("mfa_reset", "users", change));
        match identities.commit_and_forget(batch, username).await {
            Err(error) if error.is_conflict() => {}
            done => return done,
        }
    }
    Err(crowded())
}

/// Keeps a factor in which a wrong code was counted.
pub(super) async fn count(
    identities: &Identities,
    act: &Act,
    (user, revision): (&User, u64),
    factor: SecondFactor,
) -> Result<()> {
    let after = User {
        second_factor: Some(factor),
        ..user.clone()
    };
    let batch = changed(act, (&after, revision), "mfa_wrong_code")?;
    identities.commit_and_forget(batch, &after.username).await
}

/// A batch that keeps a user as it is after `action`.
fn changed(act: &Act, (after, revision): (&User, u64), action: &str) -> Result<Batch> {
    let mut batch = Batch::default();
    let expect = Expect::Revision(revision);
    batch
        .records
        .push(put(Table::Users, &after.username, expect, after)?);
    let mut event = act.event(AuditKind::Authentication, action, "users");
    event.user.clone_from(&after.username);
    batch.ledger.push(event);
    Ok(batch)
}

fn without(user: User) -> User {
    User {
        second_factor: None,
        pending_factor: None,
        epoch: user.epoch + 1,
        ..user
    }
}

/// The caller's own account, where it is ours to keep a second factor of.
async fn own(identities: &Identities, principal: &Principal) -> Result<(User, u64)> {
    let found = accounts::find_user(identities, &principal.name).await?;
    let Read { revision, value } = found.ok_or(AuthFault::Revoked)?;
    if value.external.is_some() {
        return Err(Error::External);
    }
    Ok((value, revision))
}

fn session_of(principal: &Principal) -> Result<&str> {
    match &principal.kind {
        Kind::User { session_id, .. } => Ok(session_id),
        Kind::Key { .. } | Kind::Local => Err(Error::NoSession),
    }
}

impl Identities {
    /// Whether the settings ask a user of this role for a second factor.
    pub(crate) fn requires_factor(&self, role: Role) -> bool {
        self.require_mfa() && role == Role::Admin
    }
}
