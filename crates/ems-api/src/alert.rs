//! Alerts: bodies under `/api/v1/security/alerts`. No secret of a channel is ever in one.

use ems_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertChannels {
    /// Each, in the order of the settings.
    pub channels: Vec<AlertChannel>,
}

/// How a channel stands. Counts are of the time since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertChannel {
    /// Its name.
    pub name: String,
    /// `webhook`, `syslog` or `email`.
    pub kind: String,
    /// Where it leads: scheme, host and port.
    pub place: String,
    /// Alerts that wait to be sent.
    pub waiting: u64,
    /// Alerts that were sent.
    pub sent: u64,
    /// Tries that failed and were to be made again.
    pub retried: u64,
    /// Alerts that were too many to wait.
    pub dropped: u64,
    /// Alerts that were given up.
    pub dead: u64,
    /// When one was last sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_sent: Option<Timestamp>,
    /// When and why a try last failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Which channel is to be tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestAlert {
    /// Its name; all of them without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9_-]{1,32}$", example = "soc")]
    pub channel: Option<String>,
}

/// What the channels said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertTests {
    /// Each that was tried, by its name.
    pub results: Vec<AlertTest>,
}

/// What a channel said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertTest {
    /// Its name.
    pub channel: String,
    /// Whether the alert was sent.
    pub sent: bool,
    /// What was said.
    pub detail: String,
}
