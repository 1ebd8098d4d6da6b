//! What the ledger keeps of every change and every look: who, what, how much, from where.
//!
//! No payload, no secret and no personal field: meters and customers appear only as pseudonyms
//! that are worthless once their subject is erased.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The kind of event, by the security guide's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditKind {
    /// Data was read, written or deleted.
    DataAccess,
    /// A user, key, meter or setting was changed.
    ConfigurationChange,
    /// A login, a refresh or a logout changed a session.
    Authentication,
}

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    /// When, by the server's clock.
    pub timestamp: Timestamp,
    /// What kind of event.
    pub event_type: AuditKind,
    /// Who: a user name, `key:` and a key's id, `system` or `anonymous`.
    pub user: String,
    /// What was done: `read`, `create`, `update`, `delete`, `login` …
    pub action: String,
    /// The kind of record: `readings`, `meters`, `users`, `keys`, `sessions` …
    pub table: String,
    /// How many records it touched.
    pub record_count: u64,
    /// What was asked for, as a JSON object; meters only by pseudonym.
    pub filters: serde_json::Value,
    /// The pseudonyms of the subjects that were looked at or changed; empty for an ingest, which
    /// carries counts and a hash instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// The client's address, or `system`.
    pub source_ip: String,
    /// The request that caused it.
    pub request_id: String,
    /// For a configuration change: what was changed, its old and its new value, redacted.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// A configuration change. Values are redacted before they come here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What was changed, such as `user:alice`.
    pub component: String,
    /// Before.
    pub old_value: String,
    /// After.
    pub new_value: String,
}
