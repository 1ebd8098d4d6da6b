//! `ems serve`: the server, until it is told to stop.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Result;
use clap::Args;
use ems_server::{
    app::SystemClock,
    config::{Environment, Level, Settings},
    roles::Role,
    serve::{Reload, Server, told_to_stop},
};
use futures_util::FutureExt as _;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::{
    connect::url_at,
    instance::{Instance, failed},
    output::Output,
};

/// The flags of `ems serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    instance: Instance,
    /// Part of the work to do: all, gateway, ingestion or analytics
    #[arg(long, value_name = "ROLE", default_value = "all")]
    role: Role,
    /// Address and port, in place of server.listen; port 0 for a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// Where the server is.
#[derive(Serialize)]
struct Serving {
    url: String,
    metrics: Option<String>,
}

impl Serve {
    /// Serves.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let flags = flags(self.listen);
        let loaded = self.instance.load(&flags)?;
        log_to_stderr(loaded.settings.log.level);
        let tls = loaded.settings.server.tls == ems_server::config::TlsMode::On;
        let server = Server::bind(loaded, self.role, Arc::new(SystemClock)).map_err(failed)?;
        let stop = stop_on_signal()?;
        let serving = Serving {
            url: url_at(tls, server.local_addr()?),
            metrics: server
                .metrics_addr()
                .map(|address| format!("http://{address}/metrics")),
        };
        output.value(&serving, || format!("listening on {}", serving.url))?;
        let file = self.instance.file()?;
        let reload: Reload =
            Arc::new(move || Settings::load(Some(&file), &Environment::read(), &flags));
        Ok(server.run(stop, Some(reload)).await?)
    }
}

/// The flags that stand for settings.
pub(crate) fn flags(listen: Option<SocketAddr>) -> Vec<(String, String)> {
    let listen = listen.map(|address| ("server.listen".to_owned(), address.to_string()));
    listen.into_iter().collect()
}

/// A token that is cancelled at SIGTERM or SIGINT.
pub(crate) fn stop_on_signal() -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut told = Box::pin(told_to_stop());
    // Asked once here, so that from now on a signal drains and does not kill.
    if let Some(told) = (&mut told).now_or_never() {
        told?;
        stop.cancel();
        return Ok(stop);
    }
    let told_here = stop.clone();
    tokio::spawn(async move {
        if let Err(error) = told.await {
            crate::output::complain(&format!("signals cannot be taken: {error}"));
        }
        told_here.cancel();
    });
    Ok(stop)
}

/// What the program says of itself goes to stderr.
pub(crate) fn log_to_stderr(level: Level) {
    let filter = tracing_subscriber::EnvFilter::new(level.as_str());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
