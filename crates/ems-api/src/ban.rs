//! Addresses that are shut out: bodies under `/api/v1/security/bans`.

use ems_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How much of an address is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BanKind {
    /// Logins, and requests without a valid credential.
    Block,
    /// Everything, when the connection is taken.
    Ban,
}

impl BanKind {
    /// All of them, with the names they have on the wire.
    pub const NAMED: [(&str, Self); 2] = [("block", Self::Block), ("ban", Self::Ban)];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Ban => "ban",
        }
    }
}

/// Shuts an address out by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBan {
    /// An IPv4 address, or an IPv6 address (its /64), /64 or /48.
    #[schema(example = "192.0.2.7", min_length = 2, max_length = 64)]
    pub ip: String,
    /// How much; `ban` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub kind: Option<BanKind>,
    /// Until when, a year from now at most; a day when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, format = DateTime, example = "2099-01-01T00:00:00Z")]
    pub until: Option<Timestamp>,
}

/// An address that is shut out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ban {
    /// The address; in IPv6 the network.
    #[schema(example = "192.0.2.7")]
    pub ip: String,
    /// How much.
    pub kind: BanKind,
    /// Why: `too_many_failed_attempts`, `attack_score`, `spread` (many networks of a /48), `shared`
    /// (another process says so) or `manual`.
    pub reason: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// How often in a row; each time lasts longer.
    pub level: u32,
    /// Who says so: `system`, or an administrator.
    pub by: String,
}
