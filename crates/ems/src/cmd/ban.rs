//! `ems ban`: addresses that are shut out, by the admin socket or on the store where no server runs.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use ems_api::{
    ban::{Ban as Record, BanKind, NewBan},
    client::Client,
    domain::Timestamp,
};

use crate::{connect::Administration, instance::Instance, output::Output};

/// The flags of `ems ban`.
#[derive(Debug, Args)]
pub(crate) struct Ban {
    #[command(subcommand)]
    command: Command,
}

/// What to do with addresses.
#[derive(Debug, Subcommand)]
enum Command {
    /// List the addresses that are shut out now
    #[command(after_help = "Example:\n  ems ban list --dir /srv/ems")]
    List(Instance),
    /// Shut an address out
    #[command(after_help = "\
Example:
  ems ban add 203.0.113.9 --kind block --dir /srv/ems")]
    Add(Add),
    /// Let an address in again
    #[command(after_help = "Example:\n  ems ban lift 203.0.113.9 --dir /srv/ems")]
    Lift(Lift),
}

/// The flags of `ems ban add`.
#[derive(Debug, Args)]
struct Add {
    /// IPv4 address, or IPv6 address, /64 or /48
    ip: String,
    /// How much is shut out
    #[arg(long, value_enum, default_value = "ban")]
    kind: Kind,
    /// Until when, RFC 3339 with an offset [default: a day from now]
    #[arg(long, value_name = "T", value_parser = instant)]
    until: Option<Timestamp>,
    #[command(flatten)]
    instance: Instance,
}

/// How much of an address is shut out.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Logins, and requests without a valid credential
    Block,
    /// Everything, when the connection is taken
    Ban,
}

/// The flags of `ems ban lift`.
#[derive(Debug, Args)]
struct Lift {
    /// The address, or the network as the list has it
    ip: String,
    #[command(flatten)]
    instance: Instance,
}

fn instant(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|fault| fault.detail)
}

impl Ban {
    /// Does it.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        match self.command {
            Command::List(instance) => {
                let ask = async |client: &Client| Ok(client.bans().await?);
                let bans = Administration::ask(&instance, ask).await?;
                let head = ["ADDRESS", "KIND", "REASON", "SINCE", "UNTIL", "BY"];
                output.rows(&bans, head, row)
            }
            Command::Add(add) => add.run(output).await,
            Command::Lift(lift) => {
                let ip = &lift.ip;
                let ask = async |client: &Client| Ok(client.lift_ban(ip).await?);
                Administration::ask(&lift.instance, ask).await?;
                output.value(&serde_json::json!({"ip": ip, "lifted": true}), || {
                    format!("{ip} is let in again")
                })
            }
        }
    }
}

impl Add {
    async fn run(self, output: Output) -> Result<()> {
        let kind = match self.kind {
            Kind::Block => BanKind::Block,
            Kind::Ban => BanKind::Ban,
        };
        let new = NewBan {
            ip: self.ip,
            kind: Some(kind),
            until: self.until,
        };
        let ask = async |client: &Client| Ok(client.ban(&new).await?);
        let ban = Administration::ask(&self.instance, ask).await?;
        output.value(&ban, || {
            format!("{} is shut out until {}", ban.ip, ban.until)
        })
    }
}

fn row(ban: &Record) -> [String; 6] {
    [
        ban.ip.clone(),
        ban.kind.as_str().to_owned(),
        ban.reason.clone(),
        ban.since.to_string(),
        ban.until.to_string(),
        ban.by.clone(),
    ]
}
