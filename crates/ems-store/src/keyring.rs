//! What a store tells of its keys, and never the keys themselves.

use ems_core::time::Timestamp;

/// How the key tree stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringStatus {
    /// The random name of the instance.
    pub instance: [u8; 16],
    /// Grows with every change of the keyring.
    pub generation: u64,
    /// The format of the keyring's file.
    pub format: u16,
    /// Key-encryption keys, one a page.
    pub pages: u64,
    /// Data keys that the pages have room for.
    pub free_slots: u64,
    /// Data keys.
    pub subjects: u64,
    /// Keys of journals that are not folded.
    pub journal_keys: u64,
    /// Subjects whose keys were destroyed.
    pub destroyed: u64,
    /// When the root key was last changed, or first set.
    pub root_changed: Timestamp,
    /// Whether the keyring opens by the old root key and by the new one.
    pub root_change_pending: bool,
    /// When all pages were last rotated, or first made.
    pub pages_rotated: Timestamp,
    /// Pages that a rotation under way has not reached.
    pub pages_to_rotate: u64,
    /// Data keys in memory.
    pub cached_keys: u64,
    /// Data keys that may be in memory.
    pub cache_limit: u64,
    /// Keys that were found in memory, since the start.
    pub cache_hits: u64,
    /// Keys that had to be unwrapped, since the start.
    pub cache_misses: u64,
    /// How much each kind of key has sealed, the busiest one of a kind.
    pub seals: Vec<Seals>,
}

/// How many values a key has sealed at most, by an upper bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seals {
    /// Whose key: `records`, `ledger`, `head`, or `subject` for the busiest of all subjects.
    pub key: &'static str,
    /// The bound.
    pub count: u64,
}

/// What a rotation of pages did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotatedPages {
    /// Pages of which the key was replaced and destroyed.
    pub pages: u64,
    /// Data keys that were wrapped anew.
    pub keys: u64,
    /// Whether it went on with a rotation that was interrupted.
    pub resumed: bool,
}
