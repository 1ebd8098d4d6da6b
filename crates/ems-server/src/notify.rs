//! Telling the outside: alerts to channels, and the logs to receivers. Never on a request's way:
//! events come through a bounded queue from the writer of `security.log`, lines from the files.
//!
//! `ems-guard` decides who is told of what (`alert.rs`); here is how. An alert is in the spool before
//! it is tried, so that it survives a restart, and has one id over all its tries.

mod channel;
mod email;
pub(crate) mod figures;
mod message;
mod place;
mod receivers;
mod rfc5424;
mod ship;
mod spool;
mod syslog;
mod webhook;

use std::{path::Path, sync::Arc, time::Instant};

use ems_api::alert::{AlertChannel, AlertTest};
use ems_core::{clock::Clock, time::Timestamp};
use ems_guard::alert::{Alert, Due, Engine, Occurrence, Sink};
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Duration, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub use self::receivers::Receivers;
use self::{
    channel::{Channel, Common, buried},
    figures::Figures,
    spool::{Spool, Waiting},
};
pub(crate) use self::{
    email::is_mailbox,
    place::Place,
    ship::{Receiver, ship},
};
use crate::config::Settings;

/// Events that may wait for the rules.
const QUEUED: usize = 4096;

/// Alerts at work.
pub struct Alerts {
    channels: Vec<Arc<Channel>>,
    engine: Mutex<Option<Engine>>,
    feed: Option<Feed>,
    events: Mutex<Option<mpsc::Receiver<Occurrence>>>,
    common: Arc<Common>,
}

/// The way of events from the log's writer.
#[derive(Clone)]
struct Feed {
    sender: mpsc::Sender<Occurrence>,
    figures: Figures,
}

impl Sink for Feed {
    fn told(&self, occurrence: Occurrence) {
        if self.sender.try_send(occurrence).is_err() {
            // No channel is known yet: what is lost is lost to all.
            self.figures.alert("all", "dropped");
        }
    }
}

impl Alerts {
    pub(crate) fn new(
        settings: &Settings,
        receivers: &Receivers,
        figures: Figures,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let channels = receivers.channels.iter();
        let channels = channels
            .map(|(name, sender)| Arc::new(Channel::new(name, sender.clone())))
            .collect();
        let rules = receivers::rules(&settings.alerts);
        let per_hour = settings.alerts.per_hour.get().unwrap_or(0);
        let per_hour = usize::try_from(per_hour).unwrap_or(usize::MAX);
        let (sender, events) = mpsc::channel(QUEUED);
        let feed = Feed {
            sender,
            figures: figures.clone(),
        };
        Self {
            channels,
            feed: (!rules.is_empty()).then_some(feed),
            engine: Mutex::new(Some(Engine::new(
                rules,
                settings.alerts.dedup.get(),
                per_hour,
            ))),
            events: Mutex::new(Some(events)),
            common: Arc::new(Common {
                instance: receivers.instance.clone(),
                retry_for: settings.alerts.retry_for.get(),
                dead: settings.log.dir.join("alerts.dead"),
                figures,
                clock,
                spool: Arc::default(),
            }),
        }
    }

    /// What takes events from the log; nothing where no rule asks for any.
    pub(crate) fn sink(&self) -> Option<Arc<dyn Sink>> {
        let feed = self.feed.clone()?;
        Some(Arc::new(feed))
    }

    /// The name of this instance, as the outside is told it.
    pub(crate) fn instance(&self) -> &str {
        &self.common.instance
    }

    /// How the channels stand.
    pub fn list(&self) -> Vec<AlertChannel> {
        self.channels
            .iter()
            .map(|channel| channel.shown())
            .collect()
    }

    /// Sends a test alert on the channel of this name, or on all; `None` where there is no such one.
    pub async fn test(
        &self,
        name: Option<&str>,
        at: Timestamp,
        user: &str,
    ) -> Option<Vec<AlertTest>> {
        let asked = |channel: &&Arc<Channel>| name.is_none_or(|name| channel.name == name);
        let mut trying = JoinSet::new();
        for channel in self.channels.iter().filter(asked).cloned() {
            let (common, alert) = (Arc::clone(&self.common), Alert::test(at, user));
            trying.spawn(async move {
                let waiting = common.waiting(&channel.name, alert);
                let sent = channel.try_now(&waiting, &common).await;
                AlertTest {
                    channel: channel.name.clone(),
                    sent: sent.is_ok(),
                    detail: sent.err().unwrap_or_else(|| "sent".to_owned()),
                }
            });
        }
        let mut results = trying.join_all().await;
        results.sort_by(|one, other| one.channel.cmp(&other.channel));
        (name.is_none() || !results.is_empty()).then_some(results)
    }

    /// Runs rules and channels until told to stop; then what is still open is told, and what cannot
    /// be sent at once waits in the spool.
    pub(crate) async fn run(&self, log_dir: &Path, stop: CancellationToken) {
        let taken = self.events.lock().take().zip(self.engine.lock().take());
        let Some((mut events, mut engine)) = taken else {
            return;
        };
        if self.channels.is_empty() {
            return;
        }
        self.open_spool(log_dir).await;
        let channels = CancellationToken::new();
        let mut running = JoinSet::new();
        for channel in &self.channels {
            let channel = Arc::clone(channel);
            let (common, stop) = (Arc::clone(&self.common), channels.clone());
            running.spawn(async move { channel.run(&common, stop).await });
        }
        let start = Instant::now();
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                () = stop.cancelled() => break,
                Some(occurrence) = events.recv() => engine.observe(&occurrence, start.elapsed()),
                _ = ticks.tick() => engine.tick(start.elapsed()),
            };
            self.hand_on(due).await;
        }
        while let Ok(occurrence) = events.try_recv() {
            let due = engine.observe(&occurrence, start.elapsed());
            self.hand_on(due).await;
        }
        self.hand_on(engine.end()).await;
        channels.cancel();
        running.join_all().await;
    }

    /// Opens the spool, and puts what waits there back into the queues.
    async fn open_spool(&self, log_dir: &Path) {
        let dir = log_dir.to_owned();
        let opened = tokio::task::spawn_blocking(move || Spool::open(&dir)).await;
        let spool = match opened {
            Ok(Ok(spool)) => spool,
            Ok(Err(error)) => {
                return tracing::error!(%error, "the spool of alerts cannot be opened");
            }
            Err(error) => return tracing::error!(%error, "the spool of alerts cannot be opened"),
        };
        let waiting: Vec<Waiting> = spool.waiting().cloned().collect();
        *self.common.spool.lock() = Some(spool);
        for it in waiting {
            let id = it.id.clone();
            let kept = if let Some(channel) = self.channel(&it.channel) {
                channel.put(it, &self.common.figures)
            } else {
                let why = "there is no such channel any more";
                buried(&it.channel, &it, why, &self.common).await;
                false
            };
            if !kept {
                self.common.spool(move |spool| spool.remove(&id)).await;
            }
        }
    }

    async fn hand_on(&self, due: Due) {
        let figures = &self.common.figures;
        for (channels, outcome) in [(due.deduplicated, "deduplicated"), (due.limited, "limited")] {
            channels.iter().for_each(|it| figures.alert(it, outcome));
        }
        for (name, alert) in due.alerts {
            let Some(channel) = self.channel(&name) else {
                continue;
            };
            let waiting = self.common.waiting(&name, alert);
            if channel.has_room() {
                let kept = waiting.clone();
                self.common.spool(move |spool| spool.add(&kept)).await;
            }
            channel.put(waiting, figures);
        }
    }

    fn channel(&self, name: &str) -> Option<&Arc<Channel>> {
        self.channels.iter().find(|channel| channel.name == name)
    }
}
