//! `ems verify`: reads and authenticates everything stored.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use ems_server::{
    app::SystemClock,
    local::{self, Progress, Report},
};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{
    failure::Found,
    instance::{Instance, failed},
    output::{Output, complain},
};

/// What a clean report stands for, and what not.
const PROVES: &str = "\
proves: every key, record, ledger entry, manifest, segment and young block, and every replaced \
value of a known meter, opened under its key and in its place; none was removed, added or put back \
as it once was; segments are those that their manifests list; journals are whole up to their last record. Does not prove: that \
the whole is no older copy of itself, data and keyring together, nor that the last records of the \
open journal were not zeroed";

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
    journals: u64,
    records: u64,
    ledger_entries: u64,
    segments: u64,
    readings: u64,
    superseded: u64,
    bytes: u64,
    seconds: f64,
    megabytes_per_second: f64,
    faults: Vec<String>,
}

impl Verified {
    fn new(report: Report, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        // More than 2^32 kilobytes are told as so many.
        let kilobytes = f64::from(u32::try_from(report.bytes / 1000).unwrap_or(u32::MAX));
        Self {
            clean: report.faults.is_empty(),
            keys: report.keys,
            journals: report.journals,
            records: report.records,
            ledger_entries: report.ledger,
            segments: report.segments,
            readings: report.readings,
            superseded: report.superseded,
            bytes: report.bytes,
            seconds,
            megabytes_per_second: kilobytes / 1000.0 / seconds.max(1e-6),
            faults: report.faults,
        }
    }

    fn in_words(&self) -> String {
        format!(
            "{}: {} readings in {} segments, runs and {} journals, {} replaced values, {} records, \
             {} ledger entries, {} keys; {} in {:.1} s, {:.0} MB/s\n{PROVES}",
            if self.clean { "clean" } else { "DAMAGED" },
            self.readings,
            self.segments,
            self.journals,
            self.superseded,
            self.records,
            self.ledger_entries,
            self.keys,
            HumanBytes(self.bytes),
            self.seconds,
            self.megabytes_per_second
        )
    }
}

impl Verify {
    /// Verifies; fails where anything is not as it was written.
    pub(crate) fn run(self, output: Output) -> Result<()> {
        let loaded = self.instance.load(&[])?;
        let bar = bar()?;
        let began = Instant::now();
        let watch = |progress: Progress| {
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        };
        let report = local::verify(loaded, Arc::new(SystemClock), &watch);
        bar.finish_and_clear();
        let verified = Verified::new(report.map_err(failed)?, began.elapsed());
        output.value(&verified, || verified.in_words())?;
        if verified.clean {
            return Ok(());
        }
        for fault in &verified.faults {
            complain(fault);
        }
        Err(Found.into())
    }
}

/// A bar for people; indicatif draws none where stderr is no terminal.
fn bar() -> Result<ProgressBar> {
    let bar = ProgressBar::new(0);
    let style = "{spinner} {bar:40} {percent}% {pos}/{len} segments {eta}";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}
