//! Shipping: every line of `security.log` and `audit.log` to a receiver, at least once.
//!
//! The lines are read from the files, wherever rotation has moved them (`follow.rs`). How far the
//! receiver has confirmed them is on disk, and only that counts: after a restart, a broken connection
//! or a receiver that went away it goes on from there. A line has one id however often it is sent,
//! so that a receiver can drop what it has.

mod follow;
mod line;
mod otlp;
mod syslog;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use ems_guard::{Act, journal::Violation};
use serde_json::{Map, json};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::follow::{Batch, Follower, Position};
pub(super) use self::otlp::Otlp;
use super::{
    channel::pause,
    spool::{bury, replace},
    syslog::Syslog,
};
use crate::{app::App, config::ShippedLog};

/// How often a file is looked at that had no more lines.
const LOOK: Duration = Duration::from_millis(200);
/// How long the last lines may take when the process ends.
const LAST_LINES: Duration = Duration::from_secs(5);

/// A receiver of logs.
#[derive(Debug, Clone)]
pub(crate) enum Receiver {
    Syslog(Syslog),
    Otlp(Otlp),
}

impl Receiver {
    fn name(&self) -> &'static str {
        match self {
            Self::Syslog(_) => "syslog",
            Self::Otlp(_) => "otlp",
        }
    }
}

/// Why a receiver could not take lines, and how long it asks to be left alone.
#[derive(Debug)]
struct Refused {
    why: String,
    after: Option<Duration>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        let why = error.to_string();
        Self { why, after: None }
    }
}

/// Ships until told to stop, and then what is there.
pub(crate) async fn ship(app: Arc<App>, stop: CancellationToken) {
    let mut running = JoinSet::new();
    for receiver in &app.shipped {
        for log in &app.settings.ship.logs {
            let shipper = Shipper::new(Arc::clone(&app), receiver.clone(), *log);
            running.spawn(shipper.run(stop.clone()));
        }
    }
    running.join_all().await;
}

/// One log on its way to one receiver.
struct Shipper {
    app: Arc<App>,
    receiver: Receiver,
    log: ShippedLog,
    follower: Option<Follower>,
    /// How far the receiver has confirmed.
    confirmed: Option<Position>,
    state: PathBuf,
    /// Tries since the receiver last took something.
    tries: u32,
}

impl Shipper {
    fn new(app: Arc<App>, receiver: Receiver, log: ShippedLog) -> Self {
        let name = format!("ship.{}.{}", receiver.name(), log.as_str());
        let state = app.settings.log.dir.join(name);
        Self {
            app,
            receiver,
            log,
            follower: None,
            confirmed: None,
            state,
            tries: 0,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        loop {
            let Err(Refused { why, after }) = self.session(&stop).await else {
                return;
            };
            let (log, to) = self.labels();
            if self.tries == 0 {
                tracing::error!(log, to, why, "a log cannot be shipped; trying again");
            } else {
                tracing::debug!(log, to, why, "a log cannot be shipped; trying again");
            }
            self.tries = self.tries.saturating_add(1);
            let pause = pause(self.tries).max(after.unwrap_or_default());
            if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                // One last time, for the last lines; what is not confirmed is sent again.
                if let Err(Refused { why, .. }) = self.session(&stop).await {
                    tracing::warn!(log, to, why, "the last lines are not shipped yet");
                }
                return;
            }
        }
    }

    /// Ships until told to stop or until something fails; begins at what is confirmed.
    async fn session(&mut self, stop: &CancellationToken) -> Result<(), Refused> {
        if let Some(follower) = &mut self.follower {
            if let Some(confirmed) = &self.confirmed {
                follower.go_back(confirmed);
            }
        } else {
            self.open().await?;
        }
        let shipping = async {
            match self.receiver.clone() {
                Receiver::Syslog(to) => syslog::session(self, &to, stop).await,
                Receiver::Otlp(to) => otlp::session(self, &to, stop).await,
            }
        };
        let stopped = async {
            stop.cancelled().await;
            sleep(LAST_LINES).await;
        };
        tokio::select! {
            done = shipping => done,
            () = stopped => Ok(()),
        }
    }

    async fn open(&mut self) -> io::Result<()> {
        let (dir, log) = (self.app.settings.log.dir.clone(), self.log.as_str());
        let state = self.state.clone();
        let opening = move || {
            let position = match std::fs::read(&state) {
                Ok(text) => Some(serde_json::from_slice(&text)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            };
            Follower::open(dir, log, position)
        };
        let follower = tokio::task::spawn_blocking(opening).await??;
        // Also where it begins, so that a line that is sent again after a crash has its id still.
        let begin = follower.position().clone();
        self.follower = Some(follower);
        self.confirm(begin, 0).await
    }

    /// The next lines; none where there are none yet. Lines that were removed before they could
    /// be shipped are told of.
    async fn next(&mut self, most: usize) -> io::Result<Batch> {
        let Some(mut follower) = self.follower.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let reading = move || {
            let read = follower.next(most);
            (follower, read)
        };
        let (follower, read) = tokio::task::spawn_blocking(reading).await?;
        let confirmed = self.confirmed.as_ref();
        let behind = confirmed.map_or(0, |confirmed| follower.behind(confirmed));
        self.app.metrics.notify.behind(self.labels(), behind);
        self.follower = Some(follower);
        let batch = read?;
        if batch.missed > 0 {
            self.missed(batch.missed);
        }
        Ok(batch)
    }

    /// Says loudly that lines are gone: it was the operator's choice to keep no more.
    fn missed(&self, lines: u64) {
        let (log, to) = self.labels();
        tracing::error!(
            log,
            to,
            lines,
            "lines were removed before they were shipped"
        );
        self.app.metrics.notify.lines((log, to), "missed", lines);
        let details = json!({"log": log, "to": to, "lines": lines});
        let details = match details {
            serde_json::Value::Object(details) => details,
            _ => Map::new(),
        };
        let act = Act::system(self.app.clock.now());
        self.app
            .journal
            .violation(&act, Violation::LogsNotShipped, details);
    }

    /// Notes that everything up to a position is with the receiver; durable when it returns.
    async fn confirm(&mut self, to: Position, lines: u64) -> io::Result<()> {
        let text = serde_json::to_vec(&to)?;
        let state = self.state.clone();
        tokio::task::spawn_blocking(move || replace(&state, &text)).await??;
        if let Some(follower) = &mut self.follower {
            follower.forget_before(&to);
            let behind = follower.behind(&to);
            self.app.metrics.notify.behind(self.labels(), behind);
        }
        self.confirmed = Some(to);
        if lines > 0 {
            self.tries = 0;
        }
        self.app.metrics.notify.lines(self.labels(), "sent", lines);
        Ok(())
    }

    /// Keeps a line that the receiver will not take, however often it is sent.
    async fn bury(&self, id: &str, line: &str, why: &str) {
        let (log, to) = self.labels();
        tracing::error!(log, to, id, why, "a line was refused: see ship.dead");
        self.app.metrics.notify.lines((log, to), "dead", 1);
        let letter = json!({"log": log, "to": to, "id": id, "why": why, "line": line});
        let path = self.app.settings.log.dir.join("ship.dead");
        let done = tokio::task::spawn_blocking(move || bury(&path, &letter)).await;
        if let Ok(Err(error)) = done {
            tracing::error!(%error, "ship.dead cannot be written");
        }
    }

    fn labels(&self) -> (&'static str, &'static str) {
        (self.log.as_str(), self.receiver.name())
    }
}

/// Waits for lines; `false` once told to stop.
async fn look_again(stop: &CancellationToken) -> bool {
    timeout(LOOK, stop.cancelled()).await.is_err()
}
