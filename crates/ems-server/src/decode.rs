//! Readings out of a body: JSON, NDJSON and CSV, row by row into a batch that is valid.
//!
//! A plain row takes a fast path that can only accept; whatever it does not take goes through the
//! full parser and [`Draft`](ems_core::reading::Draft), which alone refuse. So speed never changes
//! what is taken. Nothing is kept of a bad row but its broken rules, and of those at most 100.

mod csv;
mod fast;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod json;
mod ndjson;
mod rows;

use std::collections::HashSet;

use ems_core::{
    Fault,
    meter::MeterId,
    reading::{Reading, ReadingBatch},
    scope::Scope,
    time::Timestamp,
};

pub use json::single;

/// The most broken rules that are named.
pub const MAX_FAULTS: usize = ems_api::problem::MAX_ERRORS;

/// Why a meter within the scope is refused.
pub const NOT_REGISTERED: &str = "this meter is not registered";
/// Why a reading is refused that would correct another.
pub const TOO_OLD: &str = "a reading this old is no longer corrected";

/// The forms of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A JSON array of objects (RFC 8259).
    Json,
    /// One JSON object a line; blank lines only at the end.
    Ndjson,
    /// RFC 4180 with a header row.
    Csv,
}

/// What a row is held against beside the rules of a reading.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The meters that the caller may write.
    pub scope: &'a Scope,
    /// What the store has against rows, if anything.
    pub refused: &'a Refused,
    /// The last instant that is not the future.
    pub latest: Timestamp,
    /// The most rows; `None` for no bound.
    pub max_rows: Option<u64>,
}

/// What the store has against rows that break no rule by themselves. Mostly nothing: a batch is
/// read once, held against the store, and read again only if something is refused, so that the
/// rows can be named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// Meters within the scope that are not registered.
    pub meters: HashSet<MeterId>,
    /// Readings that are too old to be corrected, and would be.
    pub corrections: HashSet<(MeterId, Timestamp)>,
}

impl Refused {
    /// Whether it refuses nothing.
    pub fn is_empty(&self) -> bool {
        self.meters.is_empty() && self.corrections.is_empty()
    }
}

/// A batch that was read to its end.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The good rows.
    pub batch: ReadingBatch,
    /// The number of bad rows.
    pub rejected: u64,
    /// The broken rules of the bad rows, by row counted from 0; at most [`MAX_FAULTS`].
    pub faults: Vec<(u64, Fault)>,
    /// Whether more rules were broken than `faults` names.
    pub truncated: bool,
}

/// Why a body yields nothing at all.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// It is not well-formed.
    #[error("{0}")]
    Malformed(String),
    /// It is well-formed and breaks rules as a whole; at most [`MAX_FAULTS`] are named.
    #[error("the body breaks a rule")]
    Invalid {
        /// The broken rules.
        faults: Vec<Fault>,
        /// Whether there are more.
        truncated: bool,
    },
    /// It has more rows than allowed.
    #[error("a batch has at most {0} rows")]
    TooManyRows(u64),
}

impl Failure {
    /// Rules that a body breaks as a whole.
    fn invalid(mut faults: Vec<Fault>, truncated: bool) -> Self {
        let truncated = truncated || faults.len() > MAX_FAULTS;
        faults.truncate(MAX_FAULTS);
        Self::Invalid { faults, truncated }
    }
}

/// Reads a batch. Time and memory grow with the body alone, whatever is in it.
pub fn batch(form: Form, body: &[u8], rules: &Rules<'_>) -> Result<Decoded, Failure> {
    match form {
        Form::Json => json::array(body, rules),
        Form::Ndjson => ndjson::lines(body, rules),
        Form::Csv => csv::table(body, rules),
    }
}

/// A meter and its reading.
pub type Row = (MeterId, Reading);

#[cfg(test)]
mod tests;
