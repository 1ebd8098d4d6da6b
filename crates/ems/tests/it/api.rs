//! The HTTP interface, a file a resource.

mod analytics;
mod auth;
mod data;
mod input;
mod meters;
mod mfa;
mod rules;
