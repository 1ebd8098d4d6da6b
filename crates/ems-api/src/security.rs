//! Security events: bodies under `/api/v1/security`.

use ems_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A violation or a failed authentication, as `security.log` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecurityEvent {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    /// `security_violation` or `authentication`.
    pub event_type: String,
    /// What was violated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub violation_type: Option<String>,
    /// Of an authentication: what was tried, such as `login`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub action: Option<String>,
    /// The principal; of a failed login the name that was tried; or `anonymous`.
    pub user: String,
    /// The client's address; `various` in the summary of a flood from everywhere.
    pub ip_address: String,
    /// What else is known of it.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
    /// The request; empty in the summary of a flood.
    pub request_id: String,
    /// In the summary of a flood: how many events like this one were counted and have no item of
    /// their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub suppressed: Option<u64>,
}

/// A part of the security events, the newest first. `next_cursor` is there when there may be more: a
/// page looks through a bounded part of the log, so that it may hold fewer than `limit`, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecurityEvents {
    /// The items.
    pub items: Vec<SecurityEvent>,
    /// What to pass as `cursor` for the items that follow. Opaque, and good only for this caller
    /// and this query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next_cursor: Option<String>,
    /// Lines of the log that this page passed over since they are in neither form of it.
    pub skipped_lines: u64,
}
