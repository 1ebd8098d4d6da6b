//! The record of an API key. The key itself is shown once and kept only as a keyed hash.

use ems_core::{Fault, role::Role, scope::Pattern, time::Timestamp};
use ems_crypto::api_key::ApiKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{rules, user::counted};
use crate::digest::Digest;

/// An API key, without itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id: the 8 characters after `ems_`.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The meters it is for.
    pub meters: Vec<Pattern>,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
    /// The key that took its place in a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<String>,
    /// After a rotation: until when it is still taken beside the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// The pepper's version and the key's HMAC under it.
    pub(crate) hash: Digest,
}

impl Key {
    /// The instant from which on it is no longer taken, if there is one.
    pub fn ends(&self) -> Option<Timestamp> {
        let ends = [self.expires_at, self.revoked, self.valid_until];
        ends.into_iter().flatten().min()
    }

    /// What the ledger may say of it.
    pub(super) fn redacted(&self) -> Value {
        json!({
            "name": self.name,
            "role": self.role,
            "meters": counted(&self.meters),
            "expires_at": self.expires_at,
            "revoked": self.revoked.is_some(),
            "replaced_by": self.replaced_by,
            "valid_until": self.valid_until,
        })
    }
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What it is for, in words.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The meters it is for.
    pub meters: Vec<Pattern>,
    /// When it is to end.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    pub(super) fn faults(&self, now: Timestamp) -> Vec<Fault> {
        rules::key_name(&self.name)
            .into_iter()
            .chain(rules::meters(&self.meters))
            .chain(rules::expiry(self.expires_at, now))
            .collect()
    }
}

/// A key's successor, and how long the old one lives on.
#[derive(Debug)]
pub struct Rotated {
    /// The successor.
    pub key: Key,
    /// The successor itself, to be shown once.
    pub secret: ApiKey,
    /// The old key's id.
    pub replaces: String,
    /// Until when the old key is taken too.
    pub replaced_valid_until: Timestamp,
}
