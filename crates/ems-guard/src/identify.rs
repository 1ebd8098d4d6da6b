//! Who calls: verifies tokens and API keys into a [`Principal`].
//!
//! A verified credential is remembered by its SHA-256 for a few seconds; every change that ends
//! one forgets it before the change is acknowledged, so that nothing outlives a revocation.

mod cache;
mod file_keys;
mod principal;
mod slow;

use std::{sync::Arc, time::Duration};

use ems_core::{
    role::Role,
    scope::{Pattern, Scope},
    time::Timestamp,
};
use ems_crypto::{
    api_key::{ApiKey, Pepper},
    hash::sha256,
    password,
    token::{Expect, TokenFault, TokenKeys},
};
use ems_store::{Batch, Store, Table};
use parking_lot::RwLock;

use self::{cache::Cache, file_keys::FileKeys, slow::Slow};
pub use self::{
    file_keys::FileKey,
    principal::{Factor, Kind, Principal},
};
use crate::{
    AuthFault, Error, Result,
    accounts::{self, Read},
    sessions::Session,
};

/// What credentials are made and verified with.
#[derive(Debug)]
pub struct Options {
    /// Sign and verify access tokens.
    pub token_keys: TokenKeys,
    /// The issuer and the audience of access tokens.
    pub expect: Expect,
    /// Under which API keys are hashed.
    pub pepper: Pepper,
    /// The keys of the security guide's key file.
    pub file_keys: Vec<FileKey>,
    /// How long credentials live.
    pub lifetimes: Lifetimes,
    /// Whether administrators need a second factor.
    pub require_mfa: bool,
}

/// How long credentials live.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// An access token.
    pub access: Duration,
    /// A session, from the login on: how long its refresh tokens are taken.
    pub session: Duration,
    /// After a rotation, an old API key beside the new one.
    pub key_overlap: Duration,
}

impl Lifetimes {
    pub(crate) fn access_micros(self) -> i64 {
        micros(self.access)
    }

    pub(crate) fn session_micros(self) -> i64 {
        micros(self.session)
    }

    pub(crate) fn overlap_micros(self) -> i64 {
        micros(self.key_overlap)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Verifies credentials against the store.
pub struct Identities {
    store: Store,
    token_keys: RwLock<Arc<TokenKeys>>,
    expect: Expect,
    pepper: Pepper,
    file_keys: FileKeys,
    lifetimes: Lifetimes,
    require_mfa: bool,
    cache: Arc<Cache>,
    passwords: Slow,
}

impl Identities {
    /// Verifies against a store. Takes the time of one password hash.
    pub fn new(store: Store, options: Options) -> Self {
        // Made now, so that not even the first login of an unknown user has to make it.
        password::dummy_hash();
        Self {
            store,
            token_keys: RwLock::new(Arc::new(options.token_keys)),
            expect: options.expect,
            pepper: options.pepper,
            file_keys: FileKeys::new(options.file_keys),
            lifetimes: options.lifetimes,
            require_mfa: options.require_mfa,
            cache: Arc::new(Cache::new()),
            passwords: Slow::new(),
        }
    }

    /// The principal of an access token. Sees every change of a user or session that was
    /// acknowledged before.
    ///
    /// # Errors
    /// [`Error::Auth`]; [`Error::Store`] where the store cannot be asked.
    pub async fn bearer(&self, token: &str, now: Timestamp) -> Result<Arc<Principal>> {
        let digest = sha256(token.as_bytes());
        self.cache.see(self.store.records.changed_by_others());
        if let Some(principal) = self.cache.get(&digest, now) {
            return Ok(principal);
        }
        let seconds = u64::try_from(now.as_seconds()).unwrap_or(0);
        let token_keys = self.token_keys();
        let claims = token_keys
            .verify(token, seconds, &self.expect)
            .map_err(fault_of)?;
        // Taken before the records are read: what is forgotten meanwhile is not remembered after.
        let mark = self.cache.mark(&claims.sub);
        let (session_id, _) = claims.jti.split_once('.').ok_or(AuthFault::NeverIssued)?;
        let session = accounts::read::<Session>(&self.store, Table::Sessions, session_id).await?;
        let session = session.ok_or(AuthFault::Revoked)?.value;
        if session.username != claims.sub || !session.issued(&claims.jti) {
            return Err(AuthFault::NeverIssued.into());
        }
        let user = accounts::find_user(self, &claims.sub).await?;
        let user = user.ok_or(AuthFault::Revoked)?.value;
        if !session.is_good_for(&user, now) {
            return Err(AuthFault::Revoked.into());
        }
        let expires = i64::try_from(claims.exp).unwrap_or(i64::MAX);
        let principal = Arc::new(Principal {
            name: user.username.clone(),
            kind: Kind::User {
                session_id: session.id,
                jti: claims.jti,
            },
            role: user.role,
            grants: user.grants.clone(),
            scope: user.scope(),
            factor: if user.has_second_factor() {
                Factor::Present
            } else if self.requires_factor(user.role) {
                Factor::Missing
            } else {
                Factor::Absent
            },
            expires_at: Some(Timestamp::saturating_from_micros(
                expires.saturating_mul(1_000_000),
            )),
        });
        self.cache.put(digest, mark, &principal, now);
        Ok(principal)
    }

    /// The principal of an API key: one of ours, or one of the key file. Sees every change of a
    /// key that was acknowledged before.
    ///
    /// # Errors
    /// [`Error::Auth`]; [`Error::Store`] where the store cannot be asked; [`Error::Busy`] where
    /// too many keys of the key file wait to be verified.
    pub async fn api_key(&self, text: &str, now: Timestamp) -> Result<Arc<Principal>> {
        let digest = sha256(text.as_bytes());
        self.cache.see(self.store.records.changed_by_others());
        if let Some(principal) = self.cache.get(&digest, now) {
            return Ok(principal);
        }
        let Some(given) = ApiKey::parse(text) else {
            return self.file_keys.verify(text, digest).await;
        };
        let name = key_name(given.id());
        let mark = self.cache.mark(&name);
        let found = accounts::find_key(&self.store, given.id()).await?;
        let Some(Read { value: key, .. }) = found else {
            return Err(AuthFault::Forged.into());
        };
        if !given.matches(&self.pepper, key.hash.as_bytes()) {
            return Err(AuthFault::Forged.into());
        }
        if key.revoked.is_some() {
            return Err(AuthFault::Revoked.into());
        }
        let expires_at = key.ends();
        if expires_at.is_some_and(|end| end <= now) {
            return Err(AuthFault::Expired.into());
        }
        let principal = Arc::new(Principal {
            name,
            kind: Kind::Key { id: key.id },
            role: key.role,
            grants: Vec::new(),
            scope: Scope::of(key.meters),
            factor: Factor::Absent,
            expires_at,
        });
        self.cache.put(digest, mark, &principal, now);
        Ok(principal)
    }

    /// Whether to verify a key text would take a slow hash: it may be one of the key file, and is
    /// not known to be right or wrong yet.
    pub fn is_costly(&self, text: &str) -> bool {
        ApiKey::parse(text).is_none() && self.file_keys.is_costly(text, sha256(text.as_bytes()))
    }

    /// Forgets the verified credentials of a principal, by its name: the next request asks the
    /// store. The changes of this crate do so themselves; it is for records changed otherwise.
    pub fn forget(&self, name: &str) {
        self.cache.forget(name);
    }

    /// Takes other token keys, such as after a rotation. Tokens signed with a key that is no
    /// longer among them are refused from now on.
    pub fn replace_token_keys(&self, keys: TokenKeys) {
        *self.token_keys.write() = Arc::new(keys);
        self.cache.forget_all();
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn token_keys(&self) -> Arc<TokenKeys> {
        Arc::clone(&self.token_keys.read())
    }

    pub(crate) fn expect(&self) -> &Expect {
        &self.expect
    }

    pub(crate) fn pepper(&self) -> &Pepper {
        &self.pepper
    }

    pub(crate) fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    pub(crate) fn require_mfa(&self) -> bool {
        self.require_mfa
    }

    pub(crate) fn passwords(&self) -> &Slow {
        &self.passwords
    }

    /// Commits what ends, or may end, credentials of a principal, and forgets them. Goes on to
    /// its end even where the request that asked for it is gone; else a change that was made
    /// might not be noticed.
    pub(crate) async fn commit_and_forget(&self, batch: Batch, name: &str) -> Result<()> {
        let commit = Arc::clone(&self.store.commit);
        let cache = Arc::clone(&self.cache);
        let name = name.to_owned();
        let done = tokio::spawn(async move {
            let outcome = commit.commit(batch).await;
            cache.forget(&name);
            outcome
        });
        match done.await {
            Ok(outcome) => Ok(outcome.map(|_| ())?),
            Err(error) => Err(ems_store::Error::Unavailable(error.to_string()).into()),
        }
    }
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities")
            .field("expect", &self.expect)
            .field("lifetimes", &self.lifetimes)
            .finish_non_exhaustive()
    }
}

/// The name of a key's principal.
pub(crate) fn key_name(id: &str) -> String {
    format!("key:{id}")
}

/// The principal of a key from the key file.
fn file_principal(prefix: &str, role: Role, meters: &[Pattern]) -> Principal {
    Principal {
        name: key_name(prefix),
        kind: Kind::Key {
            id: prefix.to_owned(),
        },
        role,
        grants: Vec::new(),
        scope: Scope::of(meters.to_vec()),
        factor: Factor::Absent,
        expires_at: None,
    }
}

fn fault_of(fault: TokenFault) -> Error {
    let fault = match fault {
        TokenFault::Expired => AuthFault::Expired,
        TokenFault::NotYetValid => AuthFault::NotYetValid,
        TokenFault::Malformed
        | TokenFault::WrongAlgorithm
        | TokenFault::WrongType
        | TokenFault::UnknownKey
        | TokenFault::BadSignature
        | TokenFault::WrongIssuer
        | TokenFault::WrongAudience => AuthFault::Forged,
    };
    fault.into()
}

#[cfg(test)]
mod tests;
