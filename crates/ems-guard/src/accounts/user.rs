//! The record of a user, and what makes or changes one.

use std::fmt;

use ems_core::{
    Fault,
    role::{Grant, Role},
    scope::{Pattern, Scope},
    time::Timestamp,
};
use ems_crypto::password::Password;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rules;
use crate::mfa::{Pending, SecondFactor};

/// An Argon2id hash in PHC text. Shows nothing of itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub(crate) fn new(phc: String) -> Self {
        Self(phc)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its name, which is its id.
    pub username: String,
    /// Its password's hash.
    pub password_hash: PasswordHash,
    /// Its role.
    pub role: Role,
    /// The meters it is bound to, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meters: Option<Vec<Pattern>>,
    /// The customer whose meters it sees, in place of `meters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
    /// Single permissions beside the role's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Whether it is shut out.
    #[serde(default)]
    pub disabled: bool,
    /// Grows whenever all sessions of the user end; a session is good only in the epoch it began
    /// in. Starts at the microsecond of creation, so that a later user of the same name has
    /// another.
    pub epoch: u64,
    /// When it was made.
    pub created: Timestamp,
    /// Its second factor, in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) second_factor: Option<SecondFactor>,
    /// A second factor that it has yet to show a code of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pending_factor: Option<Pending>,
    /// Who vouches for it, where it logs in by single sign-on; its password's hash is then nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
}

/// An account at a provider of identities: an issuer's name for somebody, which never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct External {
    /// The provider.
    pub issuer: String,
    /// Its name for the user.
    pub subject: String,
}

impl User {
    /// Whether it logs in with more than a password: by a second factor here, or by a provider
    /// whose matter that is.
    pub fn has_second_factor(&self) -> bool {
        self.second_factor.is_some() || self.external.is_some()
    }

    /// The meters it may see and write. A user bound to a customer sees that customer's meters;
    /// while no meter is a customer's, that is none.
    pub fn scope(&self) -> Scope {
        match (&self.meters, &self.customer_id) {
            (Some(meters), _) => Scope::of(meters.clone()),
            (None, None) if !self.role.needs_meters() => Scope::all(),
            (None, _) => Scope::of(Vec::new()),
        }
    }

    /// Whether it counts as one of the administrators of whom one must remain.
    pub(crate) fn is_active_admin(&self) -> bool {
        self.role == Role::Admin && !self.disabled
    }

    /// What the ledger may say of it: no password, and of meters and customers only how many.
    pub(super) fn redacted(&self) -> Value {
        json!({
            "role": self.role,
            "meters": self.meters.as_deref().map(counted),
            "customer": self.customer_id.is_some(),
            "grants": self.grants,
            "disabled": self.disabled,
            "mfa": self.second_factor.is_some(),
            "sso": self.external.is_some(),
        })
    }
}

/// A scope as the ledger has it: meters are named there by pseudonym only, and a pattern has none.
pub(super) fn counted(patterns: &[Pattern]) -> Value {
    if patterns.contains(&Pattern::All) {
        return json!("all");
    }
    json!(patterns.len())
}

/// What a new user is to be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its name.
    pub username: String,
    /// Its password.
    pub password: Password,
    /// Its role.
    pub role: Role,
    /// The meters it is bound to.
    pub meters: Option<Vec<Pattern>>,
    /// The customer whose meters it sees, in place of `meters`.
    pub customer_id: Option<String>,
    /// Single permissions beside the role's.
    pub grants: Vec<Grant>,
    /// Whether it is shut out.
    pub disabled: bool,
}

impl NewUser {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = rules::username(&self.username)
            .into_iter()
            .chain(rules::password("/password", &self.password, &self.username))
            .collect();
        faults.extend(rules::bounds(
            self.role,
            self.meters.as_deref(),
            self.customer_id.as_deref(),
        ));
        faults
    }
}

/// A change of a user. `None` leaves as it is; `Some(None)` takes away.
#[derive(Debug, Clone, Default)]
pub struct UserPatch {
    /// A new password; all sessions of the user end.
    pub password: Option<Password>,
    /// A new role.
    pub role: Option<Role>,
    /// Other meters, or none.
    pub meters: Option<Option<Vec<Pattern>>>,
    /// Another customer, or none.
    pub customer_id: Option<Option<String>>,
    /// Other grants.
    pub grants: Option<Vec<Grant>>,
    /// Shut out, which ends all sessions, or let in again.
    pub disabled: Option<bool>,
}

impl UserPatch {
    /// The user as it is after the change; `hash` is that of the new password.
    pub(super) fn apply(&self, user: &User, hash: Option<&PasswordHash>) -> User {
        let mut after = user.clone();
        after.role = self.role.unwrap_or(user.role);
        after.disabled = self.disabled.unwrap_or(user.disabled);
        if let Some(meters) = &self.meters {
            after.meters.clone_from(meters);
        }
        if let Some(customer_id) = &self.customer_id {
            after.customer_id.clone_from(customer_id);
        }
        if let Some(grants) = &self.grants {
            after.grants = without_repeats(grants);
        }
        if let Some(hash) = hash {
            after.password_hash = hash.clone();
        }
        if hash.is_some() || (after.disabled && !user.disabled) {
            after.epoch = user.epoch + 1;
        }
        after
    }
}

/// Grants, each once.
pub(super) fn without_repeats(grants: &[Grant]) -> Vec<Grant> {
    let mut once = Vec::with_capacity(grants.len().min(2));
    for grant in grants {
        if !once.contains(grant) {
            once.push(*grant);
        }
    }
    once
}
