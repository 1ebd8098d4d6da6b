//! What the fuzzer calls; each target says what it asserts.

pub use crate::{
    embedded::fuzz::journal,
    readings::fuzz::{group, segment, stored},
};

#[cfg(test)]
mod tests;
