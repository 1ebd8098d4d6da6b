//! What the fuzzer calls; each target says what it asserts.

pub use crate::inspect::fuzz::{body, decoder, head};

#[cfg(test)]
mod tests;
