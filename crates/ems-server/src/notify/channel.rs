//! A channel at work: its queue, its tries, what became of each. One that is down holds up no other.

use std::{path::PathBuf, sync::Arc, time::Duration};

use ems_api::alert::AlertChannel;
use ems_core::{clock::Clock, time::Timestamp};
use ems_crypto::random;
use ems_guard::alert::Alert;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    email::Email,
    figures::Figures,
    message,
    spool::{Spool, Waiting, bury},
    syslog::Syslog,
    webhook::Webhook,
};

/// Alerts that may wait for one channel.
const MOST: usize = 1000;
/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// How long a try may take.
const WITHIN: Duration = Duration::from_secs(30);
/// How long the last tries may take when the process ends; what is left stays in the spool.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// What brings an alert to its receiver.
#[derive(Debug, Clone)]
pub(super) enum Sender {
    Webhook(Box<Webhook>),
    Syslog(Syslog),
    Email(Box<Email>),
}

impl Sender {
    fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Syslog(_) => "syslog",
            Self::Email(_) => "email",
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Webhook(webhook) => webhook.place(),
            Self::Syslog(syslog) => syslog.place().to_string(),
            Self::Email(email) => email.place().to_string(),
        }
    }

    async fn send(&self, waiting: &Waiting, common: &Common) -> Result<(), String> {
        let instance = &common.instance;
        match self {
            Self::Webhook(webhook) => webhook.send(waiting, instance, common.clock.now()).await,
            Self::Email(email) => email.send(waiting, instance).await,
            Self::Syslog(syslog) => {
                let text = message::syslog(waiting, instance);
                let sent = syslog.send(&text, WITHIN).await;
                sent.map_err(|error| error.to_string())
            }
        }
    }
}

/// One alert in the queue.
struct Queued {
    waiting: Waiting,
    tries: u32,
    due: Instant,
}

#[derive(Default)]
struct State {
    queue: Vec<Queued>,
    sent: u64,
    retried: u64,
    dropped: u64,
    dead: u64,
    last_sent: Option<Timestamp>,
    last_error: Option<String>,
}

/// A channel.
pub(super) struct Channel {
    pub(super) name: String,
    sender: Sender,
    state: Mutex<State>,
    more: Notify,
}

/// What all channels share.
pub(super) struct Common {
    pub(super) instance: String,
    pub(super) retry_for: Duration,
    pub(super) dead: PathBuf,
    pub(super) figures: Figures,
    pub(super) clock: Arc<dyn Clock>,
    /// Nothing where nothing runs, or where it cannot be opened.
    pub(super) spool: Arc<Mutex<Option<Spool>>>,
}

impl Common {
    /// An alert that begins to wait now.
    pub(super) fn waiting(&self, channel: &str, alert: Alert) -> Waiting {
        Waiting::new(channel, self.clock.now().as_seconds(), alert)
    }

    /// How long an alert has waited, in seconds.
    fn age(&self, waiting: &Waiting) -> i64 {
        self.clock.now().as_seconds().saturating_sub(waiting.born)
    }

    /// Does something with the spool, where no other task waits for it.
    pub(super) async fn spool(
        &self,
        work: impl FnOnce(&mut Spool) -> std::io::Result<()> + Send + 'static,
    ) {
        let spool = Arc::clone(&self.spool);
        let work = move || spool.lock().as_mut().map_or(Ok(()), work);
        let done = tokio::task::spawn_blocking(work).await;
        if let Ok(Err(error)) = done {
            tracing::error!(%error, "the spool of alerts cannot be written; they wait in memory");
        }
    }
}

impl Channel {
    pub(super) fn new(name: &str, sender: Sender) -> Self {
        Self {
            name: name.to_owned(),
            sender,
            state: Mutex::default(),
            more: Notify::new(),
        }
    }

    /// Takes an alert that is in the spool. Where too many wait it is dropped, and that counted.
    pub(super) fn put(&self, waiting: Waiting, figures: &Figures) -> bool {
        let mut state = self.state.lock();
        if state.queue.len() >= MOST {
            state.dropped += 1;
            figures.alert(&self.name, "dropped");
            return false;
        }
        figures.queued(1);
        state.queue.push(Queued {
            waiting,
            tries: 0,
            due: Instant::now(),
        });
        drop(state);
        self.more.notify_one();
        true
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.state.lock().queue.len() < MOST
    }

    /// Sends one now, beside the queue.
    pub(super) async fn try_now(&self, waiting: &Waiting, common: &Common) -> Result<(), String> {
        let sent = self.attempt(waiting, common).await;
        self.note(&sent, common.clock.now());
        if sent.is_ok() {
            common.figures.alert(&self.name, "sent");
        }
        sent
    }

    async fn attempt(&self, waiting: &Waiting, common: &Common) -> Result<(), String> {
        let sending = self.sender.send(waiting, common);
        // Room beyond the senders' own bounds.
        let sent = timeout(3 * WITHIN, sending).await;
        sent.unwrap_or_else(|_| Err("it took too long".to_owned()))
    }

    fn note(&self, sent: &Result<(), String>, at: Timestamp) {
        let mut state = self.state.lock();
        match sent {
            Ok(()) => {
                state.sent += 1;
                state.last_sent = Some(at);
            }
            Err(why) => state.last_error = Some(format!("{at} {why}")),
        }
    }

    /// Sends what is queued until told to stop, and then what can be sent at once.
    pub(super) async fn run(&self, common: &Common, stop: CancellationToken) {
        while let Some(next) = stop.run_until_cancelled(self.next()).await {
            let sending = self.deliver(next, common);
            if stop.run_until_cancelled(sending).await.is_none() {
                break;
            }
        }
        let last = async {
            while let Some(next) = self.first_untried() {
                self.deliver(next, common).await;
            }
        };
        // What is not sent is in the spool still.
        let _ = timeout(LAST_TRIES, last).await;
    }

    /// The id of the alert that is due next, once it is.
    async fn next(&self) -> String {
        loop {
            let more = self.more.notified();
            let first = {
                let state = self.state.lock();
                let first = state.queue.iter().min_by_key(|queued| queued.due);
                first.map(|queued| (queued.waiting.id.clone(), queued.due))
            };
            match first {
                None => more.await,
                Some((id, due)) if due <= Instant::now() => return id,
                Some((_, due)) => tokio::select! {
                    () = more => {}
                    () = sleep_until(due) => {}
                },
            }
        }
    }

    fn first_untried(&self) -> Option<String> {
        let state = self.state.lock();
        let first = state.queue.iter().find(|queued| queued.tries == 0)?;
        Some(first.waiting.id.clone())
    }

    async fn deliver(&self, id: String, common: &Common) {
        let found = {
            let state = self.state.lock();
            let found = state.queue.iter().find(|queued| queued.waiting.id == id);
            found.map(|queued| queued.waiting.clone())
        };
        let Some(waiting) = found else { return };
        let sent = self.attempt(&waiting, common).await;
        self.note(&sent, common.clock.now());
        match sent {
            Ok(()) => {
                common.figures.alert(&self.name, "sent");
                self.take_out(id, common).await;
            }
            Err(why) if common.age(&waiting) >= span(common.retry_for) => {
                self.bury(&waiting, &why, common).await;
            }
            Err(why) => {
                tracing::warn!(
                    channel = self.name,
                    why,
                    "an alert could not be sent; trying again"
                );
                common.figures.alert(&self.name, "retried");
                let mut state = self.state.lock();
                state.retried += 1;
                let mut queue = state.queue.iter_mut();
                if let Some(queued) = queue.find(|queued| queued.waiting.id == id) {
                    queued.tries = queued.tries.saturating_add(1);
                    queued.due = Instant::now() + pause(queued.tries);
                }
            }
        }
    }

    /// Gives an alert up: counted, logged, kept where somebody can look.
    pub(super) async fn bury(&self, waiting: &Waiting, why: &str, common: &Common) {
        buried(&self.name, waiting, why, common).await;
        self.state.lock().dead += 1;
        self.take_out(waiting.id.clone(), common).await;
    }

    async fn take_out(&self, id: String, common: &Common) {
        {
            let mut state = self.state.lock();
            let before = state.queue.len();
            state.queue.retain(|queued| queued.waiting.id != id);
            if state.queue.len() < before {
                common.figures.queued(-1);
            }
        }
        common.spool(move |spool| spool.remove(&id)).await;
    }

    /// How it stands.
    pub(super) fn shown(&self) -> AlertChannel {
        let state = self.state.lock();
        AlertChannel {
            name: self.name.clone(),
            kind: self.sender.kind().to_owned(),
            place: self.sender.place(),
            waiting: u64::try_from(state.queue.len()).unwrap_or(u64::MAX),
            sent: state.sent,
            retried: state.retried,
            dropped: state.dropped,
            dead: state.dead,
            last_sent: state.last_sent,
            last_error: state.last_error.clone(),
        }
    }
}

/// Writes a dead letter.
pub(super) async fn buried(channel: &str, waiting: &Waiting, why: &str, common: &Common) {
    let rule = &waiting.alert.rule;
    tracing::error!(channel, rule, why, "an alert was given up: see alerts.dead");
    common.figures.alert(channel, "dead");
    let letter = serde_json::json!({"why": why, "given_up": common.clock.now(), "alert": waiting});
    let path = common.dead.clone();
    let done = tokio::task::spawn_blocking(move || bury(&path, &letter)).await;
    if let Ok(Err(error)) = done {
        tracing::error!(%error, "alerts.dead cannot be written");
    }
}

/// The pause before the next try: doubled each time, cut by up to half at random so that not all
/// come back at once.
pub(super) fn pause(tries: u32) -> Duration {
    let (first, longest) = PAUSES;
    let doubled = first.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1)));
    let whole = doubled.min(longest);
    let [random] = random::bytes::<1>();
    whole.saturating_sub(whole / 2 * u32::from(random) / 255)
}

fn span(of: Duration) -> i64 {
    i64::try_from(of.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_second_to_five_minutes_and_differ() {
        for (tries, least, most) in [
            (1, 500, 1000),
            (2, 1000, 2000),
            (5, 8000, 16_000),
            (99, 150_000, 300_000),
        ] {
            let pauses: Vec<_> = (0..64).map(|_| pause(tries).as_millis()).collect();
            assert!(
                pauses.iter().all(|it| (least..=most).contains(it)),
                "{pauses:?}"
            );
            assert!(pauses.iter().any(|it| *it != pauses[0]));
        }
    }
}
