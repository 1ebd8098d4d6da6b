//! `ems export`: a meter's readings as a stream, to stdout or into a file that is whole or not there.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use clap::Args;
use ems_api::client::{Download, Format, Span};

use super::import::{Form, with_suffix};
use crate::{
    connect::{Proof, Remote},
    output::{Output, note},
};

/// The flags of `ems export`.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The meter
    meter: String,
    /// First instant, RFC 3339 with an offset
    #[arg(long, value_name = "T")]
    start: String,
    /// First instant after, RFC 3339 with an offset
    #[arg(long, value_name = "T")]
    end: String,
    /// Form [default: csv, with --json ndjson]
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// File to write [default: stdout]
    #[arg(long, value_name = "F")]
    output: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
    #[command(flatten)]
    proof: Proof,
}

impl Export {
    /// Exports.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let client = self.remote.client_with(&self.proof)?;
        let form = match self.format {
            Some(form) => form,
            None if output.is_json() => Form::Ndjson,
            None => Form::Csv,
        };
        let format = match form {
            Form::Csv => Format::Csv,
            Form::Ndjson => Format::Ndjson,
        };
        let span = Span {
            start: &self.start,
            end: &self.end,
        };
        let download = client.download(&self.meter, span, format).await?;
        let Some(path) = &self.output else {
            return copy(download, &mut io::stdout()).await.map(drop);
        };
        let part = with_suffix(path, ".part");
        let shown = || format!("{} cannot be written", path.display());
        let mut file = std::fs::File::create(&part).with_context(shown)?;
        let copied = copy(download, &mut file).await;
        let copied = copied.inspect_err(|_| drop(std::fs::remove_file(&part)))?;
        std::fs::rename(&part, path).with_context(shown)?;
        note(&format!("{copied} bytes in {}", path.display()));
        Ok(())
    }
}

/// Writes a download as it comes; the number of bytes.
async fn copy(mut download: Download, to: &mut impl Write) -> Result<u64> {
    let mut copied = 0;
    while let Some(bytes) = download.chunk().await? {
        to.write_all(&bytes)?;
        copied += u64::try_from(bytes.len())?;
    }
    to.flush()?;
    Ok(copied)
}
