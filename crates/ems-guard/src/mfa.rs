//! The second factor of users: one-time codes by time (TOTP) and recovery codes.
//!
//! Its secret lies in the user's record and leaves only once, when it is made. A code is spent by
//! the very commit that begins the session, so of two logins with one code one gets in; guesses
//! are counted in the record, and past ten in a row codes are refused for a quarter of an hour.

mod changes;
mod record;

use ems_crypto::password::Password;

pub(crate) use self::record::{Pending, SecondFactor, Tried};
pub use self::{
    changes::{Enrolment, confirm, enrol, remove, reset},
    record::is_code,
};
use crate::{Act, AuthFault, Identities, Result, accounts::User, sessions::Means};

/// Asks a user's second factor for a code, if it has one. What is to be kept of the factor where
/// the code is right, which spends it: the caller has to commit it at the revision it was read at.
///
/// # Errors
/// [`AuthFault::CodeRequired`], [`AuthFault::WrongCode`], [`AuthFault::CodesRefused`]: a wrong code
/// is counted, durably, before they are returned. A conflict, where another change was faster.
pub(crate) async fn pass(
    identities: &Identities,
    act: &Act,
    (user, revision): (&User, u64),
    code: Option<&Password>,
) -> Result<Option<(SecondFactor, Means)>> {
    let Some(factor) = &user.second_factor else {
        return Ok(None);
    };
    let code = code.ok_or(AuthFault::CodeRequired)?;
    let pepper = identities.pepper();
    match factor.try_code(code.expose(), (pepper, &user.username), act.at) {
        Tried::Right(factor, means) => Ok(Some((factor, means))),
        Tried::Refused => Err(AuthFault::CodesRefused.into()),
        Tried::Wrong(factor) => {
            let fault = if factor.refuses(act.at) {
                AuthFault::CodesRefused
            } else {
                AuthFault::WrongCode
            };
            changes::count(identities, act, (user, revision), factor).await?;
            Err(fault.into())
        }
    }
}

#[cfg(test)]
mod tests;
