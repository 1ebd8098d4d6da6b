//! The commands, one file each.

pub(crate) mod alert;
pub(crate) mod ban;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod incident;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod keyring;
pub(crate) mod migrate;
pub(crate) mod serve;
pub(crate) mod user;
pub(crate) mod verify;

use anyhow::Result;

use crate::{
    cli::{Cli, Command},
    output::Output,
};

/// Runs a command.
pub(crate) fn run(cli: Cli) -> Result<()> {
    let output = Output::new(cli.json);
    match cli.command {
        Command::Demo(demo) => blocking(demo.run(output)),
        Command::Init(init) => blocking(init.run(output)),
        Command::Serve(serve) => blocking(serve.run(output)),
        Command::User(user) => blocking(user.run(output)),
        Command::Key(key) => blocking(key.run(output)),
        Command::Ban(ban) => blocking(ban.run(output)),
        Command::Alert(alert) => blocking(alert.run(output)),
        Command::Keyring(keyring) => blocking(keyring.run(output)),
        Command::Import(import) => blocking(import.run(output)),
        Command::Incident(incident) => blocking(incident.run(output)),
        Command::Export(export) => blocking(export.run(output)),
        Command::Migrate(migrate) => blocking(migrate.run(output)),
        Command::Config(config) => config.run(output),
        Command::Verify(verify) => verify.run(output),
        Command::Health(health) => blocking(health.run(output)),
        Command::Completions(completions) => completions.run(),
        Command::Generate(generate) => generate.run(),
    }
}

/// Runs an asynchronous command to its end.
fn blocking(command: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(command);
    // A prompt or a file that is still being read must not hold the end up.
    runtime.shutdown_background();
    done
}
