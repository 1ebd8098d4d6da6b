//! The keyring: bodies under `/api/v1/keyring`. No key is ever in one.

use ems_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the key tree stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Keyring {
    /// The random name of the instance.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub instance: String,
    /// Grows with every change of the keyring.
    pub generation: u64,
    /// The format of the keyring's file.
    pub format: u16,
    /// Key-encryption keys, one a page.
    pub pages: u64,
    /// Data keys that the pages have room for.
    pub free_slots: u64,
    /// Data keys: one a meter, and those of the store's own tables.
    pub subjects: u64,
    /// Keys of journals that are not folded.
    pub journal_keys: u64,
    /// Meters of which the key was destroyed.
    pub destroyed: u64,
    /// When the root key was last changed, or first set.
    #[schema(value_type = String, format = DateTime)]
    pub root_changed: Timestamp,
    /// Whether the keyring opens by the old root key and by the new one.
    pub root_change_pending: bool,
    /// When all pages were last rotated, or first made.
    #[schema(value_type = String, format = DateTime)]
    pub pages_rotated: Timestamp,
    /// Pages that a rotation under way has not reached.
    pub pages_to_rotate: u64,
    /// How much the keys that seal most have sealed.
    pub seals: Vec<Seals>,
    /// Data keys in memory.
    pub cache: KeyCache,
}

/// How much a key has sealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Seals {
    /// Whose: a table of the store, or `subject` for the busiest of all subjects.
    pub key: String,
    /// Values sealed, at most.
    pub count: u64,
    /// The share of the 2^32 values that one key may seal.
    pub share: f64,
}

/// Data keys in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyCache {
    /// How many there are.
    pub keys: u64,
    /// How many there may be.
    pub limit: u64,
    /// Keys that were found in memory, since the start.
    pub hits: u64,
    /// Keys that had to be unwrapped, since the start.
    pub misses: u64,
}

/// What a rotation of the pages did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotatedPages {
    /// Pages of which the key was replaced and destroyed.
    pub pages: u64,
    /// Data keys that were wrapped anew.
    pub keys: u64,
    /// Whether it went on with a rotation that was interrupted.
    pub resumed: bool,
}

/// Where a new root key is to come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoot {
    /// A file on the server's machine: it holds the new root key, or is made with one. Needed where
    /// the root key does not come from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        pattern = "^/[^\\x00-\\x1f]{1,4000}$",
        example = "/srv/ems/secrets/root.key.2"
    )]
    pub new_root_file: Option<String>,
}

/// What a change of the root key did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RotatedRoot {
    /// Whether the new root key alone opens the keyring. If not, the old one does too, until a
    /// start with the new one.
    pub settled: bool,
    /// The file that holds the new root key.
    pub file: String,
    /// What has to hold the new root key at the next start.
    pub source: String,
}
