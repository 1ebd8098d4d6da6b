//! The handlers, one file for a resource.

pub mod health;
