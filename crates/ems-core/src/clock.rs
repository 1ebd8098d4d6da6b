//! The clock as a capability: what needs "now" is given one, so that tests can turn its hands.

use crate::time::Timestamp;

/// Tells the time of day. The implementation that reads the machine's clock is the server's.
pub trait Clock: Send + Sync {
    /// The present instant in UTC.
    fn now(&self) -> Timestamp;
}
