//! Everything that knows HTTP: the listener, the layers, the routes and the roles.
//!
//! The rest of the product speaks in domain types; here requests become them and answers leave.

pub mod config;
