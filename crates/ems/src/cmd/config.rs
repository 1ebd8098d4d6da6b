//! `ems config`: the effective settings, and every fault of a settings file at once.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::{instance::Instance, output::Output};

/// The flags of `ems config`.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    command: Command,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
enum Command {
    /// Print the effective settings, secrets struck out
    #[command(after_help = "Example:\n  ems config show --config /srv/ems/ems.toml")]
    Show(Instance),
    /// Name every error in the settings, the certificate and the secrets
    #[command(after_help = "Example:\n  ems config check --config /srv/ems/ems.toml")]
    Check(Instance),
}

/// A sound configuration.
#[derive(Serialize)]
struct Sound {
    config: String,
    sound: bool,
}

impl Config {
    /// Shows or checks.
    pub(crate) fn run(self, output: Output) -> Result<()> {
        match self.command {
            Command::Show(instance) => {
                let settings = instance.settings()?;
                output.value(&settings, || settings.redacted_toml().trim_end().to_owned())
            }
            Command::Check(instance) => {
                instance.load(&[])?;
                let config = instance.file()?.display().to_string();
                let words = format!("{config} is sound");
                output.value(
                    &Sound {
                        config,
                        sound: true,
                    },
                    || words,
                )
            }
        }
    }
}
