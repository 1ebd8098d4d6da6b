//! `ems alert`: who is told of security events, and whether that works.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use ems_api::{
    alert::{AlertChannels, AlertTests, TestAlert},
    client::Client,
};

use crate::{connect::Administration, instance::Instance, output::Output};

/// The flags of `ems alert`.
#[derive(Debug, Args)]
pub(crate) struct Alert {
    #[command(subcommand)]
    command: Command,
}

/// What to do with alerts.
#[derive(Debug, Subcommand)]
enum Command {
    /// Show the channels, what became of their alerts, and what failed last
    #[command(after_help = "Example:\n  ems alert list --dir /srv/ems")]
    List(Instance),
    /// Send a test alert on each channel and print what it said; 1 if one failed
    #[command(after_help = "Example:\n  ems alert test --channel soc --dir /srv/ems")]
    Test(Test),
}

/// The flags of `ems alert test`.
#[derive(Debug, Args)]
struct Test {
    /// This channel alone
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    #[command(flatten)]
    instance: Instance,
}

impl Alert {
    /// Does it.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        match self.command {
            Command::List(instance) => {
                let ask = async |client: &Client| Ok(client.alert_channels().await?);
                let channels = Administration::ask(&instance, ask).await?;
                output.value(&channels, || listed(&channels))
            }
            Command::Test(test) => test.run(output).await,
        }
    }
}

impl Test {
    async fn run(self, output: Output) -> Result<()> {
        let test = TestAlert {
            channel: self.channel,
        };
        let ask = async |client: &Client| Ok(client.test_alerts(&test).await?);
        let AlertTests { results } = Administration::ask(&self.instance, ask).await?;
        let tests = AlertTests { results };
        output.value(&tests, || tested(&tests))?;
        let failed = tests.results.iter().filter(|it| !it.sent).count();
        if failed > 0 {
            bail!("{failed} of {} channels failed", tests.results.len());
        }
        Ok(())
    }
}

fn listed(AlertChannels { channels }: &AlertChannels) -> String {
    if channels.is_empty() {
        return "no channels: name them in alerts.channels of the settings".to_owned();
    }
    let mut text = String::new();
    for channel in channels {
        let _ = writeln!(
            text,
            "{:16}{:9}{}\n{:16}{} sent, {} waiting, {} tried again, {} given up, {} dropped",
            channel.name,
            channel.kind,
            channel.place,
            "",
            channel.sent,
            channel.waiting,
            channel.retried,
            channel.dead,
            channel.dropped,
        );
        if let Some(error) = &channel.last_error {
            let _ = writeln!(text, "{:16}last error: {error}", "");
        }
    }
    text.trim_end().to_owned()
}

fn tested(AlertTests { results }: &AlertTests) -> String {
    let lines = results.iter().map(|it| {
        let how = if it.sent { "ok" } else { "failed" };
        format!("{:16}{how:8}{}", it.channel, it.detail)
    });
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        return "no channels: name them in alerts.channels of the settings".to_owned();
    }
    lines.join("\n")
}
