//! What fuzz targets share: an input taken apart, the bound on time that they hold decoders to, and
//! the corpus, which every test run plays again.
//!
//! The targets themselves are in the module `fuzz` of the crate that owns the code. This crate is
//! for them and for tests alone: nothing of the product is built with it.

mod corpus;
mod input;
mod pace;

pub use corpus::{replay, seeds};
pub use input::Input;
pub use pace::linear;
