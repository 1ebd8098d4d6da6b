//! Everything that knows HTTP: the listener, the layers, the routes and the roles.
//!
//! The rest of the product speaks in domain types; here requests become them and answers leave.

pub mod accept;
pub mod api;
pub mod app;
pub mod body;
pub mod caller;
pub mod config;
pub mod cursor;
pub mod decode;
pub mod encode;
pub mod forwarded;
pub mod listener;
pub mod metrics;
pub mod middleware;
pub mod problem;
pub mod query;
pub mod router;
pub mod shim;
pub mod strict;
