//! Sessions of users: logging in, staying in by refresh tokens, going, changing the own password.
//!
//! An access token is good only as long as its session lists it, so that a logout or a password
//! change ends it at once. Refresh tokens are spent by use (RFC 9700 §4.14.2): one that is used
//! twice was stolen from somebody, and ends the session, except for a retry within seconds.

mod external;
mod login;
mod password;
mod record;
mod refresh;
mod sweep;

use std::fmt;

use ems_core::time::Timestamp;
use ems_crypto::{opaque::RefreshToken, random, token::Claims};

pub use self::{
    external::{end as end_external, login as login_external},
    login::login,
    password::change_password,
    record::Session,
    refresh::{logout, refresh},
    sweep::sweep,
};
pub(crate) use self::{login::verified, password::moved, record::removals};
use crate::{Identities, Result, accounts::User};

/// By what a session was begun or renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// A password alone.
    Password,
    /// A password and a one-time code.
    Otp,
    /// A password and a recovery code.
    Recovery,
    /// Single sign-on.
    Sso,
    /// A refresh token.
    Refresh,
}

impl Means {
    /// The name in ledger and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Otp => "otp",
            Self::Recovery => "recovery",
            Self::Sso => "sso",
            Self::Refresh => "refresh",
        }
    }
}

/// A fresh pair of tokens.
pub struct Issued {
    /// Whose it is.
    pub username: String,
    /// By what.
    pub means: Means,
    /// The session.
    pub session_id: String,
    /// The access token, signed. Secret.
    pub access_token: String,
    /// Whole seconds for which the access token is good.
    pub expires_in: u64,
    /// The refresh token, good once.
    pub refresh_token: RefreshToken,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued")
            .field("username", &self.username)
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// The length of the random part of a token's name: 131 bits.
const NAME: usize = 22;

/// Signs an access token, notes it in the session, and makes a refresh token (which the caller
/// has to note). Neither is good before the session is committed.
fn issue(
    identities: &Identities,
    (user, means): (&User, Means),
    session: &mut Session,
    now: Timestamp,
) -> Result<Issued> {
    let lifetime = identities.lifetimes().access_micros();
    let expires = now.saturating_add_micros(lifetime).min(session.expires);
    let seconds = |at: Timestamp| u64::try_from(at.as_seconds()).unwrap_or(0);
    let jti = format!("{}.{}", session.id, random::base62(NAME));
    let claims = Claims {
        sub: user.username.clone(),
        role: user.role.as_str().to_owned(),
        iat: seconds(now),
        exp: seconds(expires),
        nbf: seconds(now),
        iss: identities.expect().issuer.clone(),
        aud: identities.expect().audience.clone(),
        jti: jti.clone(),
    };
    let access_token = identities.token_keys().sign(&claims)?;
    session.note_token(jti, claims.exp, now);
    Ok(Issued {
        username: user.username.clone(),
        means,
        session_id: session.id.clone(),
        access_token,
        expires_in: claims.exp.saturating_sub(claims.iat),
        refresh_token: RefreshToken::generate(&session.id),
    })
}

#[cfg(test)]
mod tests;
