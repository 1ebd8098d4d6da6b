//! The state of the moment in Redis, for several processes: one script, one round trip, Redis' clock.
//!
//! An ask that Redis does not answer in time, or cannot, is decided by this process alone, from the
//! windows that followed what Redis accepted here; so are all after it, at once, until a thread of our
//! own has Redis back. ADR 0011 says why it is so and what it costs.

mod address;
mod ask;
mod keeper;
mod link;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use ems_crypto::{hash::IndexKey, random};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};

pub use self::address::{RedisUnfit, redis_fits};
use self::{
    address::Address,
    ask::{Ask, Names},
    keeper::Keeper,
    link::{Fault, Link},
};
use super::{Answers, Shared, Standing, Step, local::LocalShared};
use crate::{Error, Result};

/// How long an ask waits for Redis.
const PATIENCE: Duration = Duration::from_millis(50);
/// How long a start waits for Redis.
const START: Duration = Duration::from_secs(5);

/// Where Redis is, and what the state needs.
pub struct RedisOptions {
    /// `redis://user:password@host:port/database`, or `rediss://` for TLS.
    pub url: String,
    /// The authorities that the server's certificate may be of, as PEM; for `rediss://`.
    pub ca_file: Option<PathBuf>,
    /// Keys are named by hashes under this. Processes that share a state need the same one.
    pub key: IndexKey,
    /// Is told how it goes.
    pub figures: Arc<dyn RedisFigures>,
}

/// Is told how a shared state is doing. Each is called in the midst of a request.
pub trait RedisFigures: Send + Sync {
    /// An ask was answered, after so long.
    fn answered(&self, took: Duration);
    /// An ask was not answered in time, or with an error.
    fn failed(&self);
    /// An ask was decided by this process alone.
    fn alone(&self);
    /// It can be reached from now on, or cannot any more.
    fn up(&self, up: bool);
}

/// The state of the moment in Redis, and in this process while Redis cannot be reached.
pub struct RedisShared {
    core: Arc<Core>,
    /// Ends when it is dropped.
    _keeper: Keeper,
}

/// What asks and the keeper of the connection have in common.
struct Core {
    address: Address,
    names: Names,
    local: LocalShared,
    figures: Arc<dyn RedisFigures>,
    /// How long an ask waits.
    patience: Duration,
    /// The connection, while Redis answers.
    link: ArcSwapOption<Link>,
    /// Tells the keeper that there is none any more.
    lost: Notify,
    epoch: AtomicU64,
    /// The run of the data that was last asked.
    run: Mutex<String>,
    /// What a new run is called; no two are called alike.
    runs: (String, AtomicU64),
}

impl RedisShared {
    /// Connects, and looks whether all that will be asked is allowed. Blocks for five seconds at most;
    /// asynchronous threads may call it, and asks may come from any runtime.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] with one line that names `shared.redis_url` or `shared.ca_file`, and
    /// never the password.
    pub fn connect(options: RedisOptions) -> Result<Self> {
        Self::connect_within(options, START, PATIENCE)
    }

    fn connect_within(
        options: RedisOptions,
        deadline: Duration,
        patience: Duration,
    ) -> Result<Self> {
        let address = Address::parse(&options.url, options.ca_file.as_deref());
        let address = address.map_err(|unfit| Error::Refused(unfit.to_string()))?;
        let core = Arc::new(Core {
            address,
            names: Names::new(options.key),
            local: LocalShared::new(),
            figures: options.figures,
            patience,
            link: ArcSwapOption::empty(),
            lost: Notify::new(),
            epoch: AtomicU64::new(0),
            run: Mutex::default(),
            runs: (random::base62(22), AtomicU64::new(0)),
        });
        let keeper = Keeper::start(&core, deadline)?;
        Ok(Self {
            core,
            _keeper: keeper,
        })
    }
}

impl fmt::Debug for RedisShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = self.standing();
        f.debug_struct("RedisShared")
            .field("standing", &standing)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Shared for RedisShared {
    async fn ask(&self, steps: &[Step]) -> Answers {
        let core = &self.core;
        let ask = Ask::new(&core.names, steps);
        if ask.is_empty() {
            let each = core.local.decide(steps);
            return Answers { each, alone: false };
        }
        let Some(link) = core.link.load_full() else {
            return core.alone(steps);
        };
        match core.ask(&link, &ask, steps).await {
            Ok(answers) => answers,
            Err(fault) => {
                core.lose(&link, &fault);
                core.alone(steps)
            }
        }
    }

    fn standing(&self) -> Standing {
        // The link first: where it is seen, so is the epoch that it came with.
        let up = self.core.link.load().is_some();
        let epoch = self.core.epoch.load(Ordering::SeqCst);
        Standing { up, epoch }
    }
}

impl Core {
    /// Asks Redis. An answer that comes too late reaches nobody.
    async fn ask(&self, link: &Link, ask: &Ask, steps: &[Step]) -> Result<Answers, Fault> {
        let began = Instant::now();
        let asked = timeout(self.patience, link.run(ask, &self.new_run())).await;
        let reply = asked.map_err(|_| Fault::Late)??;
        let each = reply.answers(steps).ok_or(Fault::Form)?;
        self.figures.answered(began.elapsed());
        self.noticed(&reply.run);
        self.local.follow(steps, &each);
        Ok(Answers { each, alone: false })
    }

    fn alone(&self, steps: &[Step]) -> Answers {
        self.figures.alone();
        let each = self.local.decide(steps);
        Answers { each, alone: true }
    }

    /// Notes what run answered: another than before has none of what was there.
    fn noticed(&self, run: &str) {
        let mut known = self.run.lock();
        if *known != run {
            let first = known.is_empty();
            run.clone_into(&mut known);
            // Its link raises the epoch itself.
            if !first {
                self.epoch.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// A name for the data of a server that has none: another for each ask, so that one which was
    /// emptied twice is told from one emptied once.
    fn new_run(&self) -> String {
        let number = self.runs.1.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.runs.0)
    }

    /// Has asks after this one not wait for a link that failed.
    fn lose(&self, link: &Arc<Link>, fault: &Fault) {
        self.figures.failed();
        let held = Some(Arc::clone(link));
        let before = self.link.compare_and_swap(&held, None);
        if before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, link))
        {
            self.figures.up(false);
            tracing::warn!(%fault, "Redis (shared.redis_url) is lost: limits are of this process alone");
            self.lost.notify_one();
        }
    }

    /// Takes a link into use that has shown that it works.
    fn gain(&self, link: Link) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        self.link.store(Some(Arc::new(link)));
        self.figures.up(true);
    }
}
