//! What the tests share: a real store in a directory of its own, and identities on it.

use std::{sync::Arc, time::Duration};

use ems_core::{
    clock::Clock,
    role::Role,
    scope::Pattern,
    time::{SECOND, Timestamp},
};
use ems_crypto::{
    api_key::Pepper,
    keyring::RootKey,
    password::Password,
    token::{Algorithm, Expect, TokenKeys},
};
use ems_store::{Store, embedded};
use tempfile::TempDir;

use crate::{
    Act, AuthFault, Error, Identities, Principal, Result,
    accounts::{self, NewUser, User},
    identify::{FileKey, Lifetimes, Options},
    sessions::{self, Issued},
};

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const TOKEN_SECRET: &[u8] = &[7; 32];
/// Access tokens live an hour, sessions a day.
pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;

/// An instant, counted in seconds from 2026-01-01T00:00:00Z.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::saturating_from_micros((1_767_225_600 + seconds) * SECOND)
}

/// Somebody does something then.
pub(crate) fn act(seconds: i64) -> Act {
    Act {
        at: at(seconds),
        user: "root".into(),
        source_ip: "192.0.2.1".into(),
        request_id: "r".into(),
    }
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        at(0)
    }
}

pub(crate) fn expect() -> Expect {
    Expect {
        issuer: "ems-agent".into(),
        audience: "ems-api".into(),
    }
}

pub(crate) fn token_keys(secret: &[u8]) -> TokenKeys {
    TokenKeys::new(Algorithm::Hs256, secret, &[]).unwrap()
}

/// Forty-four characters: 32 equal bytes in Base64.
pub(crate) fn pepper(lines: &str) -> Pepper {
    Pepper::parse(lines).unwrap()
}

pub(crate) const PEPPER_1: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
pub(crate) const PEPPER_2: &str = "2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) identities: Arc<Identities>,
    _dir: TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = embedded::Options {
            data_dir: dir.path().join("data"),
            keyring_dir: dir.path().join("keyring"),
            journal_bytes: 1 << 20,
            key_cache_bytes: 1 << 20,
            reserve_bytes: 0,
        };
        let store = embedded::open(options, RootKey::generate(), Arc::new(Fixed)).unwrap();
        let identities = Arc::new(Self::identities(&store, PEPPER_1, Vec::new()));
        Self {
            store,
            identities,
            _dir: dir,
        }
    }

    pub(crate) fn identities(store: &Store, peppers: &str, file_keys: Vec<FileKey>) -> Identities {
        Identities::new(store.clone(), Self::options(peppers, file_keys))
    }

    /// Those of a house that asks administrators for a second factor.
    pub(crate) fn strict(store: &Store) -> Identities {
        let options = Options {
            require_mfa: true,
            ..Self::options(PEPPER_1, Vec::new())
        };
        Identities::new(store.clone(), options)
    }

    fn options(peppers: &str, file_keys: Vec<FileKey>) -> Options {
        Options {
            token_keys: token_keys(TOKEN_SECRET),
            expect: expect(),
            pepper: pepper(peppers),
            file_keys,
            lifetimes: Lifetimes {
                access: Duration::from_hours(1),
                session: Duration::from_hours(24),
                key_overlap: Duration::from_hours(24),
            },
            require_mfa: false,
        }
    }

    pub(crate) async fn user(&self, name: &str, role: Role) -> User {
        let user = new(name, role);
        accounts::new_user(&self.identities, &act(0), user)
            .await
            .unwrap()
    }

    pub(crate) async fn login(&self, name: &str, seconds: i64) -> Issued {
        let password = Password::new(PASSWORD.into());
        sessions::login(&self.identities, &act(seconds), name, &password, None)
            .await
            .unwrap()
    }

    pub(crate) async fn bearer(&self, issued: &Issued, seconds: i64) -> Result<Arc<Principal>> {
        self.identities
            .bearer(&issued.access_token, at(seconds))
            .await
    }

    pub(crate) async fn refresh(&self, issued: &Issued, seconds: i64) -> Result<Issued> {
        let token = issued.refresh_token.expose();
        sessions::refresh(&self.identities, &act(seconds), token).await
    }
}

pub(crate) fn new(name: &str, role: Role) -> NewUser {
    NewUser {
        username: name.into(),
        password: Password::new(PASSWORD.into()),
        role,
        meters: role
            .needs_meters()
            .then(|| vec![Pattern::parse("plant7-*").unwrap()]),
        customer_id: None,
        grants: Vec::new(),
        disabled: false,
    }
}

pub(crate) fn fault<T: std::fmt::Debug>(result: Result<T>) -> AuthFault {
    match result {
        Err(Error::Auth(fault)) => fault,
        other => panic!("expected a refused credential, got {other:?}"),
    }
}
