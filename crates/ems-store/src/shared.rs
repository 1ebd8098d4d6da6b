//! State of the moment, with an expiry: rate windows and blocks. What must survive is a record.

pub mod local;

use async_trait::async_trait;

/// A window's name, its length and its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Whose and which, such as `req:user:alice`. Kept only as a keyed hash outside the process.
    pub key: String,
    /// Never more than this in any stretch of `length_micros`.
    pub limit: u64,
    /// The window's length in microseconds.
    pub length_micros: i64,
}

/// What a window says to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it was let through (and counted).
    pub allowed: bool,
    /// How much is left in the window now.
    pub remaining: u64,
    /// Microseconds until the request would be let through; 0 when it was. `None`: never, the cost
    /// is beyond the limit.
    pub retry_after_micros: Option<i64>,
    /// Microseconds until the window is wholly free again.
    pub reset_after_micros: i64,
}

/// Rate windows, exact: in any stretch of a window's length no more than its limit is accepted, and
/// nothing is refused that this allows.
#[async_trait]
pub trait Shared: Send + Sync {
    /// Takes `cost` from a window, or refuses and takes nothing.
    async fn take(&self, window: &Window, cost: u64) -> crate::Result<Verdict>;
}
