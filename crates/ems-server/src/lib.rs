//! Everything that knows HTTP: the listener, the layers, the routes and the roles.
//!
//! The rest of the product speaks in domain types; here requests become them and answers leave.

pub mod accept;
pub mod admin;
pub mod api;
pub mod app;
pub mod body;
pub mod caller;
pub mod config;
pub mod cursor;
pub mod decode;
pub mod docs;
mod door;
pub mod encode;
mod error;
mod events;
pub mod forwarded;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod gate;
mod incident;
pub mod inspect;
pub mod instance;
mod jobs;
pub mod listener;
pub mod local;
pub mod metrics;
pub mod middleware;
pub mod migrate;
pub mod notify;
pub mod openapi;
pub mod paging;
mod plain;
pub mod problem;
pub mod query;
pub mod roles;
mod root;
pub mod router;
pub mod serve;
pub mod sso;
mod store;
pub mod strict;
#[cfg(test)]
mod testing;

pub use ems_guard::inspect::reference as rules;
pub use error::{Error, Result};
