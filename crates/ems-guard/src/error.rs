//! What can go wrong, by what the caller can do about it. Nothing here repeats a secret.

use std::{fmt, io, path::PathBuf};

use ems_core::Fault;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A credential is refused. Outside, all faults look the same; the log may tell them apart.
    #[error("{0}")]
    Auth(AuthFault),
    /// What was to be made or changed breaks rules: all of them, with pointers into the body.
    #[error("{} rules are broken", .0.len())]
    Invalid(Vec<Fault>),
    /// The name is another's already.
    #[error("the name is taken")]
    Taken,
    /// The change would leave no enabled administrator.
    #[error("the last administrator cannot be removed, disabled or demoted")]
    LastAdmin,
    /// The key was rotated before, or was revoked: there is nothing to rotate.
    #[error("the key was already rotated or revoked")]
    NotRotatable,
    /// There is no such user or key.
    #[error("there is no such record")]
    NotFound,
    /// The address is one that is never shut out, by the settings.
    #[error("this address is never shut out: guard.ban_allow or server.trusted_proxies names it")]
    Spared,
    /// The act needs a user's session, and the caller has none (it is a key, or local).
    #[error("the caller has no session")]
    NoSession,
    /// The user has a second factor already.
    #[error("there is a second factor already")]
    Enrolled,
    /// No second factor waits to be confirmed, or it has waited for too long.
    #[error("no second factor waits to be confirmed")]
    NotPending,
    /// The settings ask for the second factor that was to be taken away.
    #[error("a second factor is asked for")]
    FactorRequired,
    /// The account is kept by another party, and so are its password and second factor.
    #[error("the account is kept by the single sign-on")]
    External,
    /// More passwords wait to be hashed than can be in reasonable time. Nothing was done.
    #[error("too many passwords are being verified")]
    Busy,
    /// A stored record does not parse.
    #[error("a record of {table} does not parse: {source}")]
    Damaged {
        /// The table.
        table: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ems_store::Error),
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] ems_crypto::Error),
    /// A log file could not be opened or written.
    #[error("{}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<AuthFault> for Error {
    fn from(fault: AuthFault) -> Self {
        Self::Auth(fault)
    }
}

impl Error {
    /// Whether a commit lost against another and may be tried again on what is there now.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(ems_store::Error::Conflict { .. }))
    }
}

/// Why a credential is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuthFault {
    /// Not one that we made: wrong form, signature, algorithm, issuer, audience, or an unknown key.
    Forged,
    /// Signed by us, yet not one that we issued.
    NeverIssued,
    /// It was good, and its time is over.
    Expired,
    /// It is good from a later instant on.
    NotYetValid,
    /// It was good, and was ended: logged out, revoked, its user disabled or gone.
    Revoked,
    /// A wrong user name or password, or a disabled user.
    WrongPassword,
    /// A refresh token that was spent before. Its session has been ended.
    Reused,
    /// The password is right, and a one-time code is asked for beside it.
    CodeRequired,
    /// A wrong one-time or recovery code, or one that was spent.
    WrongCode,
    /// A code that was not looked at, since too many were wrong before.
    CodesRefused,
    /// What a provider of identities said does not hold.
    Unproven,
}

impl AuthFault {
    /// Whether it is to be counted as a failed attempt. One who comes with a credential that was
    /// theirs and is over guesses nothing.
    pub fn is_failed_attempt(self) -> bool {
        matches!(
            self,
            Self::Forged
                | Self::NeverIssued
                | Self::WrongPassword
                | Self::Reused
                | Self::WrongCode
                | Self::CodesRefused
                | Self::Unproven
        )
    }

    /// The name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::NeverIssued => "never_issued",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::WrongPassword => "wrong_password",
            Self::Reused => "refresh_token_reuse",
            Self::CodeRequired => "otp_required",
            Self::WrongCode => "wrong_code",
            Self::CodesRefused => "too_many_wrong_codes",
            Self::Unproven => "unproven_identity",
        }
    }
}

impl fmt::Display for AuthFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the credential is refused ({})", self.as_str())
    }
}
