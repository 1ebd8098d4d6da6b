//! `ems incident report`: what a principal or an address did, by the admin socket or on the store
//! where no server runs.

mod words;

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand, ValueEnum};
use ems_api::{
    client::{Client, Suspect},
    domain::Timestamp,
};

use crate::{
    connect::Administration,
    instance::Instance,
    output::{self, Output},
};

/// The flags of `ems incident`.
#[derive(Debug, Args)]
pub(crate) struct Incident {
    #[command(subcommand)]
    command: Command,
}

/// What to do about an incident.
#[derive(Debug, Subcommand)]
enum Command {
    /// Report what a principal or an address did, as far as the ledger and security.log tell
    #[command(after_help = "\
Example:
  ems incident report --principal key:3kTMd8Vy --since 2026-11-20T00:00:00Z --dir /srv/ems
  ems incident report --address 192.0.2.7 --since 2026-11-20T00:00:00Z --format md --out report.md --dir /srv/ems

It names meters and customers: keep it as you keep their data. What no log can tell is marked, to be
filled by a human. That a report was made is in the ledger, too.")]
    Report(Report),
}

/// The flags of `ems incident report`.
#[derive(Debug, Args)]
struct Report {
    #[command(flatten)]
    suspect: Who,
    /// The first instant, RFC 3339
    #[arg(long, value_name = "T", value_parser = instant)]
    since: Timestamp,
    /// The first instant after [default: now]
    #[arg(long, value_name = "T", value_parser = instant)]
    until: Option<Timestamp>,
    /// When the incident was detected [default: the first violation of the period, or now]
    #[arg(long, value_name = "T", value_parser = instant)]
    detected: Option<Timestamp>,
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// File to write it to, which is made (mode 0600) and must not be there
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    instance: Instance,
}

/// About whom.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Who {
    /// A principal: a user's name, or key: and a key's id
    #[arg(long, value_name = "ID")]
    principal: Option<String>,
    /// An address
    #[arg(long, value_name = "A")]
    address: Option<String>,
}

/// Forms of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Text,
    Md,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|fault| fault.detail)
}

impl Incident {
    /// Does it.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let Command::Report(report) = self.command;
        report.run(output).await
    }
}

impl Report {
    async fn run(self, output: Output) -> Result<()> {
        let suspect = match (self.suspect.principal, self.suspect.address) {
            (Some(name), _) => Suspect::Principal(name),
            (None, address) => Suspect::Address(address.unwrap_or_default()),
        };
        let span = (self.since, self.until);
        let detected = self.detected;
        let ask = async |client: &Client| Ok(client.incident(&suspect, span, detected).await?);
        let incident = Administration::ask(&self.instance, ask).await?;
        let text = match self.format {
            _ if output.is_json() => format!("{}\n", serde_json::to_string_pretty(&incident)?),
            Form::Json => format!("{}\n", serde_json::to_string_pretty(&incident)?),
            Form::Text => words::text(&incident),
            Form::Md => words::markdown(&incident),
        };
        match &self.out {
            None => output::text(&text),
            Some(path) => {
                keep(path, &text).with_context(|| path.display().to_string())?;
                output::note(&format!("written to {}", path.display()));
                Ok(())
            }
        }
    }
}

/// Writes a file that is its owner's alone; an older one is not touched.
fn keep(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}
