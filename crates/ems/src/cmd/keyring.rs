//! `ems keyring`: the keys above all stored keys, by the admin socket or on the store where no
//! server runs.

use std::{fmt::Write as _, io, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use ems_api::{
    client::Client,
    domain::MeterId,
    keyring::{Keyring as Status, NewRoot, RotatedPages, RotatedRoot},
};
use serde::Serialize;

use crate::{
    connect::Administration,
    failure::usage,
    instance::Instance,
    output::{self, Output},
};

/// The flags of `ems keyring`.
#[derive(Debug, Args)]
pub(crate) struct Keyring {
    #[command(subcommand)]
    command: Command,
}

/// What to do with the keyring.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show how the key tree stands; no key is shown
    #[command(after_help = "Example:\n  ems keyring status --dir /srv/ems")]
    Status(Instance),
    /// Give the keyring a new root key, or every page of data keys a new key above it
    #[command(after_help = "\
Example:
  ems keyring rotate --pages --dir /srv/ems
  ems keyring rotate --root --dir /srv/ems

The server goes on beside it. A rotation that was interrupted goes on when it is asked for again.
Back up the new root key and the keyring, each apart from the data, and let older copies go.")]
    Rotate(Rotate),
    /// Destroy a meter's key with all that is stored of it, for ever
    #[command(after_help = "Example:\n  ems keyring destroy --meter plant7-a --dir /srv/ems")]
    Destroy(Destroy),
}

/// The flags of `ems keyring rotate`.
#[derive(Debug, Args)]
struct Rotate {
    /// A new root key: its file is replaced, where it comes from a file
    #[arg(long, required_unless_present = "pages")]
    root: bool,
    /// File that holds the new root key (mode 0600), or is made with one
    #[arg(long, value_name = "F", requires = "root")]
    new_root_file: Option<PathBuf>,
    /// A new key above the data keys of each page; the old ones are destroyed
    #[arg(long)]
    pages: bool,
    #[command(flatten)]
    instance: Instance,
}

/// The flags of `ems keyring destroy`.
#[derive(Debug, Args)]
struct Destroy {
    /// The meter
    #[arg(long, value_name = "ID", value_parser = meter)]
    meter: MeterId,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    instance: Instance,
}

fn meter(text: &str) -> Result<MeterId, String> {
    MeterId::parse(text).map_err(|fault| fault.detail)
}

/// What was rotated.
#[derive(Default, Serialize)]
struct Rotated {
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<RotatedRoot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<RotatedPages>,
}

/// What was destroyed.
#[derive(Serialize)]
struct Destroyed {
    meter_id: MeterId,
    destroyed: bool,
}

impl Keyring {
    /// Does it.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        match self.command {
            Command::Status(instance) => {
                let ask = async |client: &Client| Ok(client.keyring().await?);
                let status = Administration::ask(&instance, ask).await?;
                output.value(&status, || in_words(&status))
            }
            Command::Rotate(rotate) => rotate.run(output).await,
            Command::Destroy(destroy) => destroy.run(output).await,
        }
    }
}

impl Rotate {
    async fn run(self, output: Output) -> Result<()> {
        let file = self.new_root_file.map(std::path::absolute).transpose();
        let file = file.context("--new-root-file")?;
        let new = NewRoot {
            new_root_file: file.map(|file| file.display().to_string()),
        };
        let ask = async |client: &Client| {
            let mut rotated = Rotated::default();
            if self.root {
                rotated.root = Some(client.rotate_root(&new).await?);
            }
            if self.pages {
                rotated.pages = Some(client.rotate_pages().await?);
            }
            Ok(rotated)
        };
        let rotated = Administration::ask(&self.instance, ask).await?;
        output.value(&rotated, || rotated.in_words())
    }
}

impl Rotated {
    fn in_words(&self) -> String {
        let root = self.root.as_ref().map(|root| {
            let RotatedRoot {
                settled,
                file,
                source,
            } = root;
            if *settled {
                return format!(
                    "the root key in {file} is new, and no other opens the keyring: back it up, \
                     apart from keyring and data"
                );
            }
            format!(
                "the keyring opens by the root key in use and by the new one in {file}. Put the new \
                 one where the root key comes from ({source}), and restart: from then on it alone \
                 opens the keyring"
            )
        });
        let pages = self.pages.as_ref().map(|pages| {
            let how = if pages.resumed {
                ", going on with a rotation that was interrupted"
            } else {
                ""
            };
            format!(
                "{} pages have new keys, {} data keys were wrapped anew{how}; the old keys are \
                 destroyed",
                pages.pages, pages.keys
            )
        });
        let lines: Vec<String> = root.into_iter().chain(pages).collect();
        lines.join("\n")
    }
}

impl Destroy {
    async fn run(self, output: Output) -> Result<()> {
        let meter = &self.meter;
        if !self.yes {
            confirm(meter)?;
        }
        let ask = async |client: &Client| Ok(client.destroy_meter_key(meter.as_str()).await?);
        Administration::ask(&self.instance, ask).await?;
        let destroyed = Destroyed {
            meter_id: meter.clone(),
            destroyed: true,
        };
        output.value(&destroyed, || {
            format!(
                "{meter} is destroyed: nothing that is stored of it, and no copy of the data from \
                 before, can be opened. Copies of the keyring from before still open older copies \
                 of the data: let them go"
            )
        })
    }
}

/// Lets the meter's id be typed.
fn confirm(meter: &MeterId) -> Result<()> {
    if !output::is_interactive() {
        return Err(usage(
            "there is no terminal to ask: give --yes to destroy the meter for ever",
        ));
    }
    output::complain_as_is(&format!(
        "All readings of {meter} and its key will be destroyed for ever.\nType the meter's id to go on: "
    ));
    let mut typed = String::new();
    io::stdin().read_line(&mut typed).context("the terminal")?;
    if typed.trim() == meter.as_str() {
        return Ok(());
    }
    Err(usage("that is not the meter's id: nothing was destroyed"))
}

fn in_words(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:16}{value}");
    };
    line("instance", status.instance.clone());
    line(
        "generation",
        format!("{} (format {})", status.generation, status.format),
    );
    let pending = if status.root_change_pending {
        "; a change is pending: the old one opens the keyring too"
    } else {
        ""
    };
    line("root key", format!("set {}{pending}", status.root_changed));
    let left = match status.pages_to_rotate {
        0 => String::new(),
        left => format!("; {left} are still to be rotated"),
    };
    line(
        "pages",
        format!(
            "{}, {} free slots, rotated {}{left}",
            status.pages, status.free_slots, status.pages_rotated
        ),
    );
    line("data keys", status.subjects.to_string());
    line("journal keys", status.journal_keys.to_string());
    line("destroyed", status.destroyed.to_string());
    for seals in &status.seals {
        let share = 100.0 * seals.share;
        line(
            "seals",
            format!("{}: {} ({share:.4} % of 2^32)", seals.key, seals.count),
        );
    }
    let cache = &status.cache;
    line(
        "cache",
        format!(
            "{} of {} keys, {} found, {} unwrapped",
            cache.keys, cache.limit, cache.hits, cache.misses
        ),
    );
    text.trim_end().to_owned()
}
