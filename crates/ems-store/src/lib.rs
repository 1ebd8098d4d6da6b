//! Persistence: one way to write ([`Commit`]), small read traits, and the backends behind them.
//!
//! Only this crate names a database. What it writes is sealed under the key tree; a value is bound
//! to its place, so that one which was moved, swapped or cut fails to open.

pub mod answers;
pub mod batch;
#[cfg(test)]
mod contract;
pub mod embedded;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod keyring;
pub mod migrate;
pub mod mongo;
mod readings;
pub mod shared;
pub mod subject;
mod traits;

use std::sync::Arc;

pub use batch::{Batch, Counts, Deletion, Expect, Outcome, Record, RecordChange, Table};
pub use error::{Error, Result};
pub use keyring::{KeyringStatus, RotatedPages, Seals};
pub use readings::verify::{Progress, Report, Watch};
pub use traits::{Columns, Commit, Keys, Ledger, Piece, Records, Segments, Subjects, Superseded};

use crate::shared::Shared;

/// An open store: the write and the read capabilities of one backend, and the state of the moment.
#[derive(Clone)]
pub struct Store {
    /// The only way to write.
    pub commit: Arc<dyn Commit>,
    /// Readings.
    pub segments: Arc<dyn Segments>,
    /// Everything with an id.
    pub records: Arc<dyn Records>,
    /// The audit ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Data subjects and their pseudonyms.
    pub subjects: Arc<dyn Subjects>,
    /// The care of keys: their state, rotation, destruction.
    pub keys: Arc<dyn Keys>,
    /// State of the moment: rate windows, blocks.
    pub shared: Arc<dyn Shared>,
}
