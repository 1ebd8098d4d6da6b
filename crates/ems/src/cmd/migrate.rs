//! `ems migrate`: everything of one instance's store into that of another.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use ems_server::{
    app::SystemClock,
    config::{Environment, Loaded, Settings, TlsMode},
    migrate::{self, Mark, Moved, Side, Step, Watch},
    roles::Role,
    serve::Server,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::serve::{flags, log_to_stderr, stop_on_signal};
use crate::{
    connect::url_at,
    failure::{Found, usage},
    instance::{FILE, failed, faults},
    output::{Output, complain, note},
};

/// The flags of `ems migrate`.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Settings file, or directory, of the instance to read
    #[arg(long, value_name = "A")]
    from: PathBuf,
    /// Settings file, or directory, of the instance to fill: a new one, without an admin
    #[arg(long, value_name = "B")]
    to: PathBuf,
    /// Serve A's reads until its readings are moved; what would change readings is answered 503
    #[arg(long)]
    serve: bool,
    /// Address and port to serve on, in place of A's server.listen
    #[arg(long, value_name = "ADDR", requires = "serve")]
    listen: Option<SocketAddr>,
}

/// What was moved.
#[derive(Serialize)]
struct Summary {
    complete: bool,
    seconds: f64,
    #[serde(flatten)]
    moved: Moved,
}

impl Migrate {
    /// Moves; fails where the two sides are not the same afterwards.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let began = Instant::now();
        let flags = flags(self.listen);
        let from = load(&self.from, &flags).await?;
        let to = load(&self.to, &[]).await?;
        let target = Side::open(to).map_err(failed).context("the target")?;
        let bar = bar()?;
        let watch = |progress: migrate::Progress| show(&bar, progress);
        let moved = if self.serve {
            beside_reads(from, &target, &watch).await
        } else {
            alone(from, &target, &watch).await
        };
        bar.finish_and_clear();
        let closed = target.close().await.context("the target");
        let moved = moved?;
        closed?;
        let summary = Summary {
            complete: moved.differences.is_empty(),
            seconds: began.elapsed().as_secs_f64(),
            moved,
        };
        output.value(&summary, || summary.in_words())?;
        if summary.complete {
            return Ok(());
        }
        for difference in &summary.moved.differences {
            complain(difference);
        }
        Err(Found.into())
    }
}

/// Moves with nobody at the source.
async fn alone(from: Loaded, target: &Side, watch: Watch<'_>) -> Result<Moved> {
    let source = Side::open(from).map_err(failed).context("the source")?;
    let moved = async {
        let moved = migrate::readings(&source, target, watch).await?;
        migrate::rest(&source, target, moved, watch).await
    };
    let moved = moved.await.map_err(failed);
    let closed = source.close().await.context("the source");
    let moved = moved?;
    closed?;
    Ok(moved)
}

/// Moves the readings while the source serves reads, then stops serving and moves the rest.
async fn beside_reads(from: Loaded, target: &Side, watch: Watch<'_>) -> Result<Moved> {
    log_to_stderr(from.settings.log.level);
    let tls = from.settings.server.tls == TlsMode::On;
    let pepper = Mark::of(&from);
    let server = Server::bind(from, Role::All, Arc::new(SystemClock));
    let server = server.map_err(failed).context("the source")?;
    let source = Side::served(&server, pepper);
    let stop = stop_on_signal()?;
    note(&format!(
        "serving reads on {}",
        url_at(tls, server.local_addr()?)
    ));
    let serving = tokio::spawn(server.run(stop.clone(), None));
    let readings = migrate::readings(&source, target, watch);
    let moved = stop.run_until_cancelled(readings).await;
    stop.cancel();
    serving.await?.map_err(failed).context("the source")?;
    let moved = moved.context("it was told to stop; run again, it goes on")?;
    let moved = moved.map_err(failed)?;
    migrate::rest(&source, target, moved, watch)
        .await
        .map_err(failed)
}

fn show(bar: &ProgressBar, progress: migrate::Progress) {
    bar.set_message(match progress.step {
        Step::Readings => "readings",
        Step::Ledger => "ledger entries",
        Step::Verification => "readings compared",
    });
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}

impl Summary {
    fn in_words(&self) -> String {
        let Moved {
            source,
            superseded_left_behind,
            ..
        } = &self.moved;
        format!(
            "{}: {} meters, {} readings, {} records, {} ledger entries, in {:.1} s\n\
             SHA-256 of the readings {}\n\
             SHA-256 of the records  {}\n\
             SHA-256 of the ledger   {}\n\
             stay behind: {superseded_left_behind} values that were replaced by corrections",
            if self.complete {
                "moved, both sides are the same"
            } else {
                "NOT THE SAME"
            },
            source.meters,
            source.readings,
            source.records,
            source.ledger_entries,
            self.seconds,
            source.readings_sha256,
            source.records_sha256,
            source.ledger_sha256,
        )
    }
}

/// Settings and secrets of an instance that no server of this machine uses.
async fn load(named: &Path, flags: &[(String, String)]) -> Result<Loaded> {
    let file = if named.is_dir() {
        named.join(FILE)
    } else {
        named.to_owned()
    };
    let loaded = Settings::load(Some(&file), &Environment::read(), flags);
    let loaded = loaded.map_err(|errors| faults(&errors))?;
    let socket = &loaded.settings.server.admin_socket;
    if tokio::net::UnixStream::connect(socket).await.is_ok() {
        let file = file.display();
        return Err(usage(format!("a server runs with {file}: stop it first")));
    }
    Ok(loaded)
}

/// A bar for people; indicatif draws none where stderr is no terminal.
fn bar() -> Result<ProgressBar> {
    let bar = ProgressBar::new(0);
    let style = "{spinner} {bar:40} {percent}% {pos}/{len} {msg} {eta}";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}
