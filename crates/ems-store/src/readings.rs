//! The readings engine, above whatever backend keeps the rows: what is in memory and what is folded,
//! how they lie over each other, which keys seal what, and how a commit is worked out.

pub(crate) mod beside;
pub(crate) mod codec;
pub(crate) mod disk;
pub(crate) mod engine;
pub(crate) mod erasure;
pub(crate) mod fold;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
pub(crate) mod guarded;
pub(crate) mod keys;
pub(crate) mod manifest;
pub(crate) mod memory;
pub(crate) mod merge;
pub(crate) mod meter;
pub(crate) mod months;
pub(crate) mod plan;
pub(crate) mod queue;
pub(crate) mod rows;
pub(crate) mod run;
pub(crate) mod segment;
pub(crate) mod table;
pub(crate) mod verify;
pub(crate) mod wire;
