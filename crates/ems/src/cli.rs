//! The command line: every command, its flags, its help with an example.

use clap::{Parser, Subcommand};

use crate::cmd::{
    alert::Alert, ban::Ban, completions::Completions, config::Config, demo::Demo, export::Export,
    generate::Generate, health::Health, import::Import, incident::Incident, init::Init, key::Key,
    keyring::Keyring, migrate::Migrate, serve::Serve, user::User, verify::Verify,
};

/// A secure energy-data platform: meter readings in over TLS, kept encrypted, out to those allowed.
#[derive(Debug, Parser)]
#[command(
    name = "ems",
    version,
    arg_required_else_help = true,
    propagate_version = true,
    after_help = "\
Example:
  ems demo                        a server with sample data, and what to ask it
  ems init --dir /srv/ems         a new instance
  ems serve --dir /srv/ems        run it

Exit codes: 0 done, 1 failed, 64 wrong usage or configuration."
)]
pub(crate) struct Cli {
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it at work: a fresh instance with real sample data, served until Ctrl-C
    #[command(after_help = "Example:\n  ems demo --dir ./ems-demo --listen 127.0.0.1:8443")]
    Demo(Demo),
    /// Make a new instance: settings, secrets, certificates, the first admin
    #[command(after_help = "\
Example:
  ems init --dir /srv/ems --admin alice
  ems init --dir /srv/ems --store mongo --mongo-uri-file service.uri --mongo-owner-uri-file owner.uri

The admin's password is printed once. Keep DIR/secrets and DIR/keyring apart from copies of DIR/data.
In MongoDB the key tree is in a database of its own, and DIR/secrets is what to keep apart.")]
    Init(Init),
    /// Run the server until SIGTERM or SIGINT, then drain
    #[command(
        after_help = "Example:\n  ems serve --config /srv/ems/ems.toml --listen 0.0.0.0:8000"
    )]
    Serve(Serve),
    /// Users: add, list, disable, change a password
    #[command(
        after_help = "Example:\n  ems user add bob --role viewer --meters 'plant7-*' --dir /srv/ems"
    )]
    User(User),
    /// API keys: create, list, revoke, rotate
    #[command(after_help = "\
Example:
  ems key create 'Head-end of plant 7' --role meter_reader --meters 'plant7-*' --key-file plant7.key")]
    Key(Key),
    /// Addresses that are shut out: list, add, lift
    #[command(after_help = "Example:\n  ems ban list --dir /srv/ems")]
    Ban(Ban),
    /// The keys above all stored keys: status, rotation, destruction
    #[command(after_help = "Example:\n  ems keyring status --dir /srv/ems")]
    Keyring(Keyring),
    /// Reports on an incident: what a principal or an address saw, changed and tried
    #[command(after_help = "\
Example:
  ems incident report --principal key:3kTMd8Vy --since 2026-11-20T00:00:00Z --dir /srv/ems")]
    Incident(Incident),
    /// Who is told of security events: the channels, and a try of them
    #[command(after_help = "Example:\n  ems alert test --dir /srv/ems")]
    Alert(Alert),
    /// Send readings of a file to a running server
    #[command(after_help = "\
Example:
  ems import readings.csv.gz --url https://ems.example:8000 --key-file plant7.key

An import that was cut short goes on where it stopped, by FILE.ems-resume. Rejected rows do not
fail the command: they are counted, and written with their reasons to FILE.rejected.csv.")]
    Import(Import),
    /// Write a meter's readings to a file
    #[command(after_help = "\
Example:
  ems export plant7-a --start 2025-01-01T00:00:00Z --end 2025-02-01T00:00:00Z --output january.csv")]
    Export(Export),
    /// Move everything of an instance into another, such as from one kind of store to the other
    #[command(after_help = "\
Example:
  ems init --no-admin --dir /srv/new
  cp -p /srv/ems/secrets/pepper /srv/ems/secrets/token.key /srv/new/secrets/
  ems migrate --from /srv/ems/ems.toml --to /srv/new/ems.toml

No server may run on either side; with --serve the command itself serves A's reads meanwhile. A is
only read. One that was cut short goes on when it is run again. At the end both sides are read and compared, and the command fails where they differ. Values
that corrections replaced stay in A; their number is printed. Variables count for both sides, so
what differs between them has to stand in their files. A meter has another pseudonym in B: the
ledger of B ends with entries that name both.")]
    Migrate(Migrate),
    /// Settings: show the effective ones, check a file
    #[command(after_help = "Example:\n  ems config check --config /srv/ems/ems.toml")]
    Config(Config),
    /// Read and authenticate everything stored; beside the server only where that uses MongoDB
    #[command(after_help = "Example:\n  ems verify --dir /srv/ems")]
    Verify(Verify),
    /// Ask a server whether it is alive and ready
    #[command(
        after_help = "Example:\n  ems health --url https://127.0.0.1:8000 --ca /srv/ems/tls/ca.pem"
    )]
    Health(Health),
    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  ems completions bash > ~/.local/share/bash-completion/completions/ems")]
    Completions(Completions),
    /// Write the generated reference pages
    #[command(name = "gen", hide = true)]
    Generate(Generate),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        let shown = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        for command in shown {
            let below: Vec<_> = command.get_subcommands().collect();
            for command in below.into_iter().chain([command]) {
                let help = command
                    .get_after_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                assert!(
                    help.starts_with("Example:\n  ems "),
                    "{}",
                    command.get_name()
                );
            }
        }
    }
}
