//! `ems import`: readings of a file into a running server, batch by batch.
//!
//! Reading and compressing go on beside the sending of the batch before. What the server has
//! answered is noted beside the file, so that an import that was cut short goes on there.

mod batch;
mod rejects;
mod resume;
mod rows;
mod send;
mod source;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use ems_api::{client::Client, reading::BatchStored};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio::sync::mpsc;

use self::{
    batch::Batch,
    rejects::Rejects,
    resume::{Progress, Resume},
    rows::Rows,
    source::Meter,
};
pub(crate) use self::{resume::with_suffix, rows::Form};
use crate::{
    connect::{Proof, Remote},
    output::{Output, note},
};

/// Batches read ahead.
const AHEAD: usize = 2;

/// The flags of `ems import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// File of readings, plain or compressed with gzip or zstd; `-` for stdin
    file: PathBuf,
    /// Form of the file [default: what it looks like]
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// File for rejected rows and their reasons [default: FILE.rejected.csv]
    #[arg(long, value_name = "F")]
    rejected: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    proof: Proof,
}

/// What an import came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    /// Readings that were not there before.
    pub(crate) accepted: u64,
    /// Readings that were there with the same values.
    pub(crate) unchanged: u64,
    /// Readings that replaced one with other values.
    pub(crate) corrected: u64,
    /// Rows that were refused.
    pub(crate) rejected: u64,
    /// Where those are, with the reasons.
    pub(crate) rejected_file: Option<PathBuf>,
    /// Rows sent by this run; those that an earlier run had sent are in the counts only.
    pub(crate) rows: u64,
    /// Seconds that it took.
    pub(crate) seconds: f64,
}

impl Import {
    /// Imports.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let client = self.remote.client_with(&self.proof)?;
        // Later a server that is gone is waited for; one that never was is a mistake.
        client.health().await.with_context(|| {
            format!(
                "{} cannot be reached: is it up, and are --url and --ca right?",
                client.base()
            )
        })?;
        let summary = self.import(&client).await?;
        output.value(&summary, || summary.in_words())
    }

    async fn import(&self, client: &Client) -> Result<Summary> {
        let server = client.base().as_str().to_owned();
        let resume = Resume::beside(&self.file);
        let meter = Meter::default();
        let earlier = resume.load(&server);
        let file = (self.file.clone(), self.format, meter.clone());
        let opened = tokio::task::spawn_blocking(move || open(&file, earlier)).await??;
        let (rows, earlier) = opened;
        let begun = earlier.unwrap_or_else(|| Progress {
            server,
            form: rows.form(),
            place: rows.place(),
            stored: BatchStored::default(),
            rejected_bytes: 0,
        });
        if begun.stored != BatchStored::default() {
            note(&format!(
                "going on at line {}, where an earlier import stopped",
                begun.place.lines + 1
            ));
        }
        let name = || {
            let stdin = self.file == Path::new("-");
            with_suffix(
                if stdin {
                    Path::new("stdin")
                } else {
                    &self.file
                },
                ".rejected.csv",
            )
        };
        let rejects = Rejects::open(
            self.rejected.clone().unwrap_or_else(name),
            begun.rejected_bytes,
        )?;
        let bar = bar(&self.file)?;
        let run = Run {
            client,
            resume,
            rejects,
            progress: begun,
            bar,
            meter,
        };
        run.finish(rows).await
    }
}

impl Summary {
    fn in_words(&self) -> String {
        #[expect(
            clippy::cast_precision_loss,
            clippy::as_conversions,
            reason = "a rate for people needs no more than 52 bits"
        )]
        let rate = self.rows as f64 / self.seconds.max(1e-6);
        let mut text = format!(
            "{} accepted, {} unchanged, {} corrected, {} rejected ({rate:.0} rows/s)",
            self.accepted, self.unchanged, self.corrected, self.rejected
        );
        if let Some(path) = &self.rejected_file {
            let _ = write!(text, "\nrejected rows and reasons: {}", path.display());
        }
        text
    }
}

/// Opens a file at its beginning or, where it is still the same, where an earlier import stopped.
fn open(
    (path, form, meter): &(PathBuf, Option<Form>, Meter),
    earlier: Option<Progress>,
) -> Result<(Rows, Option<Progress>)> {
    let fresh = |form| Rows::new(source::open(path, meter.clone())?, form);
    if let Some(earlier) = earlier {
        let mut rows = fresh(form.or(Some(earlier.form)))?;
        if rows.skip_to(earlier.place).unwrap_or(false) && rows.form() == earlier.form {
            return Ok((rows, Some(earlier)));
        }
    }
    Ok((fresh(*form)?, None))
}

/// An import under way.
struct Run<'c> {
    client: &'c Client,
    resume: Resume,
    rejects: Rejects,
    progress: Progress,
    bar: ProgressBar,
    meter: Meter,
}

impl Run<'_> {
    async fn finish(mut self, rows: Rows) -> Result<Summary> {
        let started = Instant::now();
        let mut batches = read_ahead(rows);
        let mut sent_rows = 0;
        while let Some(batch) = batches.recv().await {
            let batch = batch.context("reading the file")?;
            let sent = send::batch(self.client, &batch).await?;
            sent_rows += batch.count();
            self.keep(&batch, &sent)?;
            self.bar.set_position(self.meter.get());
            self.bar.set_message(rate(sent_rows, started.elapsed()));
        }
        self.bar.finish_and_clear();
        self.resume.remove()?;
        let stored = self.progress.stored;
        Ok(Summary {
            accepted: stored.accepted,
            unchanged: stored.unchanged,
            corrected: stored.corrected,
            rejected: stored.rejected,
            rejected_file: self.rejects.path().cloned(),
            rows: sent_rows,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Notes what became of a batch: refused rows first, so that what is noted as done is.
    fn keep(&mut self, batch: &Batch, sent: &send::Sent) -> Result<()> {
        let named = u64::try_from(sent.rejected.len())?;
        if named < sent.stored.rejected {
            let passed = sent.stored.rejected - named;
            note(&format!(
                "{passed} rejected rows would pass by now: import the file again"
            ));
        }
        self.rejects.add(&sent.rejected)?;
        let total = &mut self.progress.stored;
        total.accepted += sent.stored.accepted;
        total.unchanged += sent.stored.unchanged;
        total.corrected += sent.stored.corrected;
        total.rejected += sent.stored.rejected;
        self.progress.place = batch.after;
        self.progress.rejected_bytes = self.rejects.bytes();
        self.resume.save(&self.progress)
    }
}

/// Reads batches on a thread of its own.
fn read_ahead(mut rows: Rows) -> mpsc::Receiver<Result<Batch>> {
    let (give, batches) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        loop {
            let batch = Batch::read(&mut rows).transpose();
            let Some(batch) = batch else { return };
            let last = batch.is_err();
            if give.blocking_send(batch).is_err() || last {
                return;
            }
        }
    });
    batches
}

/// A bar for people; indicatif draws none where stderr is no terminal.
fn bar(file: &Path) -> Result<ProgressBar> {
    let size = std::fs::metadata(file)
        .ok()
        .filter(std::fs::Metadata::is_file);
    let bar = match size {
        Some(size) => ProgressBar::new(size.len()),
        None => ProgressBar::new_spinner(),
    };
    let style = "{spinner} {bar:40} {percent}% {msg} {eta}";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

fn rate(rows: u64, elapsed: Duration) -> String {
    let millis = elapsed.as_millis().max(1);
    format!("{rows} rows, {} rows/s", u128::from(rows) * 1000 / millis)
}

/// Imports a sample that is compiled in, quietly.
pub(crate) async fn sample(client: &Client, bytes: &'static [u8]) -> Result<BatchStored> {
    let mut rows = Rows::new(source::of_bytes(bytes, Meter::default())?, None)?;
    let mut total = BatchStored::default();
    while let Some(batch) = Batch::read(&mut rows)? {
        let sent = send::batch(client, &batch).await?;
        total.accepted += sent.stored.accepted;
        total.unchanged += sent.stored.unchanged;
        total.corrected += sent.stored.corrected;
        total.rejected += sent.stored.rejected;
    }
    Ok(total)
}
