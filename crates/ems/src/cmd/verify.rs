//! `ems verify`: reads and authenticates everything stored.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use ems_server::{app::SystemClock, local};
use serde::Serialize;

use crate::{
    failure::Found,
    instance::{Instance, failed},
    output::{Output, complain},
};

/// The flags of `ems verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    instance: Instance,
}

/// What was read.
#[derive(Serialize)]
struct Verified {
    clean: bool,
    keys: u64,
    records: u64,
    ledger_entries: u64,
    segments: u64,
    readings: u64,
    faults: Vec<String>,
}

impl Verify {
    /// Verifies; fails where anything is not as it was written.
    pub(crate) fn run(self, output: Output) -> Result<()> {
        let report = local::verify(self.instance.load(&[])?, Arc::new(SystemClock));
        let report = report.map_err(failed)?;
        let verified = Verified {
            clean: report.faults.is_empty(),
            keys: report.keys,
            records: report.records,
            ledger_entries: report.ledger,
            segments: report.segments,
            readings: report.readings,
            faults: report.faults,
        };
        output.value(&verified, || {
            format!(
                "{}: {} readings in {} segments and the journal, {} records, {} ledger entries, {} keys",
                if verified.clean { "clean" } else { "DAMAGED" },
                verified.readings,
                verified.segments,
                verified.records,
                verified.ledger_entries,
                verified.keys
            )
        })?;
        if verified.clean {
            return Ok(());
        }
        for fault in &verified.faults {
            complain(fault);
        }
        Err(Found.into())
    }
}
