//! What goes over the wire: bodies of requests and answers, problem documents, error codes.
//!
//! These types are the contract in Rust: the server answers with them, the client reads them, and
//! the OpenAPI document is generated from them, so the three cannot drift apart.

pub mod account;
pub mod alert;
pub mod ban;
#[cfg(feature = "client")]
pub mod client;
pub mod health;
pub mod incident;
pub mod key;
pub mod keyring;
pub mod meter;
pub mod page;
pub mod problem;
pub mod reading;
pub mod schema;
mod secret;
pub mod security;
pub mod session;
pub mod usage;

pub use page::Page;
pub use problem::{ErrorCode, InputError, Problem};
pub use secret::SecretText;

/// The domain types that bodies hold, for those who know this crate alone.
pub mod domain {
    pub use ems_core::{
        FaultCode,
        meter::MeterId,
        policy,
        quantity::Location,
        role::{Grant, Permission, Role},
        scope::Pattern,
        time::Timestamp,
    };
}
