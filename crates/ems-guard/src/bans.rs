//! Addresses that are shut out: for what, since when, until when.
//!
//! A *block* refuses logins and requests without a valid credential; a *ban* closes connections
//! before they say anything. Both end by themselves, later each time, a day at most. They are
//! records, each in one commit with its ledger entry; this is also the table in memory that every
//! connection is held against.

mod record;
mod table;

use std::{fmt, time::Duration};

use ems_core::time::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::record::commit;
pub use self::{
    record::{all, load, sweep},
    table::{Bans, Options},
};
use crate::Network;

/// The longest that an address is shut out by itself.
pub const LONGEST: Duration = Duration::from_hours(24);
/// The longest that an administrator may shut an address out.
pub const LONGEST_BY_HAND: Duration = Duration::from_hours(24 * 365);
/// How long it is remembered that an address was shut out, after it was let in again.
const REMEMBERED: Duration = Duration::from_hours(24);

/// How much of an address is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Logins, and requests without a valid credential.
    Block,
    /// Everything, when the connection is taken.
    Ban,
}

/// Why an address is shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Passwords, keys or tokens that were wrong.
    TooManyFailedAttempts,
    /// What it sent looked like attacks.
    AttackScore,
    /// Many networks of this /48 are shut out.
    Spread,
    /// Another process shares it, and no more is known here.
    Shared,
    /// An administrator says so.
    Manual,
}

/// One address that is, or was, shut out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentence {
    /// Whose.
    pub network: Network,
    /// How much is shut out.
    pub kind: Kind,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How often in a row, from 1.
    pub level: u32,
    /// Who says so: `system`, or an administrator.
    pub by: String,
}

impl Kind {
    /// The name in logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Ban => "ban",
        }
    }
}

impl Reason {
    /// The name in logs and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooManyFailedAttempts => "too_many_failed_attempts",
            Self::AttackScore => "attack_score",
            Self::Spread => "spread",
            Self::Shared => "shared",
            Self::Manual => "manual",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How long the `level`th time in a row lasts: each four times the one before, a day at most.
fn term(first: Duration, level: u32) -> Duration {
    let factor = 4_u32.saturating_pow(level.saturating_sub(1).min(15));
    first
        .saturating_mul(factor)
        .min(LONGEST)
        .max(first.min(LONGEST))
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
