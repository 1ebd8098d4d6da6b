//! `ems health`: whether a server is alive, and ready.

use anyhow::{Result, bail};
use clap::Args;
use ems_api::{
    client::{Method, Request},
    health::Ready,
};

use crate::{connect::Remote, output::Output};

/// The flags of `ems health`.
#[derive(Debug, Args)]
pub(crate) struct Health {
    #[command(flatten)]
    remote: Remote,
}

impl Health {
    /// Asks, and fails where the server is not ready.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let client = self.remote.client()?;
        client.health().await?;
        // Its answer is the same document when it is not ready, with the status 503.
        let answer = client.send(Request::new(Method::GET, "/ready")).await?;
        let ready: Ready =
            serde_json::from_slice(&answer.bytes().await.map_err(anyhow::Error::from)?)?;
        output.value(&ready, || {
            format!("{} (store {})", ready.status, ready.dependencies.store)
        })?;
        if ready.status != "ready" {
            bail!("the server is alive and not ready: {}", ready.status);
        }
        Ok(())
    }
}
