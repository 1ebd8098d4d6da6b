//! `ems key`: API keys, by the admin socket or on the store where no server runs.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use ems_api::{
    SecretText,
    client::Client,
    domain::{Pattern, Timestamp},
    key::{Key as Record, NewKey},
};

use super::user::{RoleName, in_words, pattern};
use crate::{connect::Administration, instance::Instance, output::Output};

/// The flags of `ems key`.
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    command: Command,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key; it is shown, or written to a file, this once
    #[command(after_help = "\
Example:
  ems key create 'Head-end of plant 7' --role meter_reader --meters 'plant7-*' --key-file plant7.key")]
    Create(Create),
    /// List the keys
    #[command(after_help = "Example:\n  ems key list --json --dir /srv/ems")]
    List(Instance),
    /// End a key at once
    #[command(after_help = "Example:\n  ems key revoke Ab3dE6gH --dir /srv/ems")]
    Revoke(Named),
    /// Make a key's successor; both are taken for a while
    #[command(
        after_help = "Example:\n  ems key rotate Ab3dE6gH --key-file plant7.new --dir /srv/ems"
    )]
    Rotate(Rotate),
}

/// The flags of `ems key create`.
#[derive(Debug, Args)]
struct Create {
    /// What it is for, in words
    name: String,
    /// Its role
    #[arg(long, value_enum)]
    role: RoleName,
    /// Meters it is for: ids, prefixes such as 'plant7-*', '*' for all
    #[arg(long, value_name = "METER", value_delimiter = ',', required = true, value_parser = pattern)]
    meters: Vec<Pattern>,
    /// When it ends, RFC 3339 with an offset [default: when it is revoked]
    #[arg(long, value_name = "T", value_parser = instant)]
    expires_at: Option<Timestamp>,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    instance: Instance,
}

/// The flags of `ems key rotate`.
#[derive(Debug, Args)]
struct Rotate {
    /// Its id, the 8 characters after `ems_`
    id: String,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    instance: Instance,
}

/// A key of an instance.
#[derive(Debug, Args)]
struct Named {
    /// Its id, the 8 characters after `ems_`
    id: String,
    #[command(flatten)]
    instance: Instance,
}

/// Where a new key goes.
#[derive(Debug, Args)]
struct To {
    /// New file (mode 0600) for the key [default: stdout]
    #[arg(long, value_name = "F")]
    key_file: Option<PathBuf>,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|fault| fault.detail)
}

impl Key {
    /// Does it.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        match self.command {
            Command::Create(create) => create.run(output).await,
            Command::List(instance) => {
                let ask = async |client: &Client| Ok(client.keys().await?);
                let keys = Administration::ask(&instance, ask).await?;
                let head = ["ID", "NAME", "ROLE", "METERS", "STATE", "ENDS"];
                output.rows(&keys, head, row)
            }
            Command::Revoke(named) => {
                let id = &named.id;
                let ask = async |client: &Client| Ok(client.revoke_key(id).await?);
                Administration::ask(&named.instance, ask).await?;
                output.value(&serde_json::json!({"id": id, "revoked": true}), || {
                    format!("{id} is revoked")
                })
            }
            Command::Rotate(rotate) => rotate.run(output).await,
        }
    }
}

impl Create {
    async fn run(self, output: Output) -> Result<()> {
        let new = NewKey {
            name: self.name.clone(),
            role: self.role.into(),
            meters: self.meters.clone(),
            expires_at: self.expires_at,
        };
        let ask = async |client: &Client| Ok(client.create_key(&new).await?);
        let (made, kept) = self.to.make(&self.instance, ask, |made| &made.key).await?;
        self.to.show(output, &made, kept, || {
            format!("{} {}", made.about.id, made.about.name)
        })
    }
}

impl Rotate {
    async fn run(self, output: Output) -> Result<()> {
        let ask = async |client: &Client| Ok(client.rotate_key(&self.id).await?);
        let (made, kept) = self.to.make(&self.instance, ask, |made| &made.key).await?;
        self.to.show(output, &made, kept, || {
            format!(
                "{} takes the place of {}, which is taken until {}",
                made.about.id, made.replaces, made.replaced_valid_until
            )
        })
    }
}

impl To {
    /// Makes a key, and puts it into its file or gives it back to be shown.
    async fn make<T>(
        &self,
        instance: &Instance,
        ask: impl AsyncFnOnce(&Client) -> Result<T>,
        key: fn(&T) -> &SecretText,
    ) -> Result<(T, Option<SecretText>)> {
        let file = self.reserve()?;
        let made = Administration::ask(instance, ask).await;
        let made = made.inspect_err(|_| self.give_up())?;
        let kept = keep(file, key(&made))?;
        Ok((made, kept))
    }

    /// Makes the file before the key, so that no key is made that cannot be kept.
    fn reserve(&self) -> Result<Option<std::fs::File>> {
        let Some(path) = &self.key_file else {
            return Ok(None);
        };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("{} cannot be made", path.display()))?;
        Ok(Some(file))
    }

    /// Removes the file that was made for a key that was not.
    fn give_up(&self) {
        if let Some(path) = &self.key_file {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Tells of a new key, without itself where it is in a file.
    fn show<T: serde::Serialize>(
        &self,
        output: Output,
        made: &T,
        kept: Option<SecretText>,
        words: impl FnOnce() -> String,
    ) -> Result<()> {
        let mut value = serde_json::to_value(made)?;
        let path = self.key_file.as_deref().map(Path::display);
        if let (Some(path), Some(object)) = (&path, value.as_object_mut()) {
            object.remove("key");
            object.insert("key_file".to_owned(), path.to_string().into());
        }
        output.value(&value, || match (path, kept) {
            (Some(path), _) => format!("{}\nkey in {path}", words()),
            (None, Some(key)) => format!("{}\nkey (shown once): {}", words(), key.expose()),
            (None, None) => words(),
        })
    }
}

/// Writes a key to its file, or gives it back to be shown.
fn keep(file: Option<std::fs::File>, key: &SecretText) -> Result<Option<SecretText>> {
    let Some(mut file) = file else {
        return Ok(Some(key.clone()));
    };
    file.write_all(format!("{}\n", key.expose()).as_bytes())?;
    file.sync_all()?;
    Ok(None)
}

fn row(key: &Record) -> [String; 6] {
    let state = match (key.revoked, &key.replaced_by) {
        (true, _) => "revoked".to_owned(),
        (false, Some(by)) => format!("replaced by {by}"),
        (false, None) => "live".to_owned(),
    };
    let ends = key.valid_until.or(key.expires_at);
    [
        key.id.clone(),
        key.name.clone(),
        key.role.as_str().to_owned(),
        in_words(&key.meters),
        state,
        ends.map_or_else(|| "-".to_owned(), |at| at.to_string()),
    ]
}
