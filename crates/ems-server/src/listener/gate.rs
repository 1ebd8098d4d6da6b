//! What the listener asks of an address before it says anything, and what it tells of one whose
//! connection it gave up.

use std::{net::IpAddr, sync::Arc};

/// Keeps the addresses.
pub trait Gate: Send + Sync + 'static {
    /// Whether connections of an address are closed before they say anything.
    fn is_shut(&self, address: IpAddr) -> bool;

    /// Hears that a client's connection was given up. Must not wait.
    fn gave_up(self: Arc<Self>, client: IpAddr, why: GivenUp);
}

/// Why we gave up a connection that its client held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// It sent frames of HTTP/2 that cost us work and bring nothing, past what any client needs.
    Flood,
    /// Two readers might read differently what it sent.
    Ambiguous,
    /// It sent no request, or half a head, for too long.
    SlowHead,
    /// It took nothing of an answer for too long, or too little of it.
    SlowRead,
    /// It had nothing to ask.
    Idle,
    /// Its address held as many connections as one may.
    Crowded,
}

impl GivenUp {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Flood,
        Self::Ambiguous,
        Self::SlowHead,
        Self::SlowRead,
        Self::Idle,
        Self::Crowded,
    ];

    /// The name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Ambiguous => "ambiguous",
            Self::SlowHead => "slow_head",
            Self::SlowRead => "slow_read",
            Self::Idle => "idle",
            Self::Crowded => "crowded",
        }
    }
}
