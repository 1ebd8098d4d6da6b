//! Security decisions without HTTP types: who calls, what they may still do, what is written down.
//!
//! `identify` verifies credentials, `sessions`, `mfa` and `accounts` change what they rest on, `limit`
//! counts, `door` decides who is let in, `bans` says who is shut out, `inspect` looks for attacks,
//! `journal` keeps the two logs, `alert` works out who is told of what. A change and its ledger entry are always one commit, and
//! whatever ends a credential empties the cache of verified ones before it is acknowledged.

pub mod accounts;
mod act;
pub mod alert;
pub mod bans;
mod digest;
pub mod door;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod identify;
pub mod inspect;
pub mod journal;
pub mod jump;
pub mod limit;
pub mod mfa;
mod network;
pub mod sessions;
#[cfg(test)]
mod testing;

pub use act::Act;
pub use door::Door;
pub use error::{AuthFault, Error, Result};
pub use identify::{Identities, Principal};
pub use journal::Journal;
pub use limit::Limiter;
pub use network::{Network, NoNetwork};
