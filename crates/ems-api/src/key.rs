//! API keys: bodies under `/api/v1/keys`. The key itself is shown once, when it is made.

use ems_core::{role::Role, scope::Pattern, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    SecretText,
    schema::{RoleName, ScopeEntry},
};

/// Makes a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it is for, in words; no control characters.
    #[schema(
        pattern = r"^[^\x00-\x1f\x7f-\x9f]{1,100}$",
        example = "Head-end of plant 7"
    )]
    pub name: String,
    /// Its role.
    #[schema(value_type = RoleName)]
    pub role: Role,
    /// The meters it is for: ids, prefixes such as `plant7-*`, `*` for all.
    #[schema(value_type = Vec<ScopeEntry>, min_items = 1, max_items = 1000)]
    pub meters: Vec<Pattern>,
    /// When it ends; it must lie in the future. Without it the key lives until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, format = DateTime, example = "2099-01-01T00:00:00Z")]
    pub expires_at: Option<Timestamp>,
}

/// A key, without itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Key {
    /// Its id: the 8 characters after `ems_`.
    #[schema(example = "Ab3dE6gH")]
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Its role.
    #[schema(value_type = RoleName)]
    pub role: Role,
    /// The meters it is for.
    #[schema(value_type = Vec<ScopeEntry>)]
    pub meters: Vec<Pattern>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it ends, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
    /// The key that took its place in a rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub replaced_by: Option<String>,
    /// After a rotation: until when it is still taken beside the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, format = DateTime)]
    pub valid_until: Option<Timestamp>,
}

/// A new key, shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedKey {
    /// What it is.
    #[serde(flatten)]
    #[schema(inline)]
    pub about: Key,
    /// The key: `ems_`, its id, `_`, and 256 random bits with a checksum.
    #[schema(value_type = String)]
    pub key: SecretText,
}

/// A key's successor, shown this once, and how long the old one lives on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotatedKey {
    /// What the new one is.
    #[serde(flatten)]
    #[schema(inline)]
    pub about: Key,
    /// The new key.
    #[schema(value_type = String)]
    pub key: SecretText,
    /// The id of the old key.
    pub replaces: String,
    /// Until when the old key is taken too.
    #[schema(value_type = String, format = DateTime)]
    pub replaced_valid_until: Timestamp,
}
