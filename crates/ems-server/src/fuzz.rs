//! What the fuzzer calls; each target says what it asserts.

mod text;

pub use self::text::{cursor, document, forwarded, settings};
pub use crate::{
    body::fuzz::expand,
    decode::fuzz::{csv, json, ndjson, rows},
    listener::fuzz::{proxy, sieve},
};

#[cfg(test)]
mod tests;
