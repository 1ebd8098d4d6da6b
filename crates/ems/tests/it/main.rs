//! One binary for all integration tests, in the shape of what they ask.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test did not count on ends it"
)]

mod abuse;
mod alerts;
mod api;
mod cli;
mod crash;
mod credentials;
mod damage;
mod guard;
mod incident;
mod inspection;
mod log;
mod mongo;
mod monitoring;
mod policy;
mod redis;
mod samples;
mod secrecy;
mod security_events;
mod ship;
mod sso;
mod tokens;
