//! One binary for all integration tests, in the shape of what they ask.

mod abuse;
mod api;
mod cli;
mod crash;
mod policy;
mod samples;
mod secrecy;
mod tokens;
