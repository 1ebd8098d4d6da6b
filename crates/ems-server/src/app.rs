//! The one state of a server, built in one function; handlers and layers get it as an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ems_core::{clock::Clock, time::Timestamp};
use ems_crypto::{hash::IndexKey, token::Expect};
use ems_guard::{
    Door, Identities, Journal, Limiter, door,
    identify::{self, Lifetimes},
    journal,
    jump::Jumps,
    limit::Limits,
};
use ems_store::Store;

use crate::{
    Error, Result,
    body::Budget,
    config::{Limit, Loaded, LogFormat, RootSource, Secrets, Settings},
    docs::Documents,
    gate::{Frozen, GatedCommit},
    inspect::Inspections,
    listener::HeadLimits,
    metrics::{MeteredCommit, Metrics},
    notify::{Alerts, Receiver},
    sso::Sso,
    store::{Place, SHARED_KEYS, share},
};

/// Everything that a request may need.
pub struct App {
    /// The settings.
    pub settings: Settings,
    /// Where everything is kept. Its commits are timed and counted.
    pub store: Store,
    /// Verifies credentials, and changes what they rest on.
    pub identities: Identities,
    /// `security.log` and `audit.log`.
    pub journal: Journal,
    /// Who is told of security events.
    pub alerts: Alerts,
    /// Where the logs are shipped.
    pub(crate) shipped: Vec<Receiver>,
    /// Rate windows of readings and of new meters.
    pub limiter: Limiter,
    /// Decides who is let in.
    pub door: Door,
    /// Notices readings that jump, where that is asked for.
    pub jumps: Option<Jumps>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// Seals the cursors of lists. Of the pepper: cursors outlive a restart, and every process of
    /// an instance takes those of the others, until the pepper changes.
    pub cursor_key: IndexKey,
    /// The bytes that bodies in memory may take.
    pub budget: Budget,
    /// The bounds of a request's head.
    pub heads: HeadLimits,
    /// How requests are inspected.
    pub inspections: Arc<Inspections>,
    /// What holds the root key.
    pub root_source: RootSource,
    /// Single sign-on, if there is any.
    pub sso: Option<Sso>,
    /// What is served as documentation.
    pub documents: Documents,
    /// Whether readings and meters are held as they are.
    pub frozen: Frozen,
    draining: AtomicBool,
}

impl App {
    /// Opens the store and the logs. Replays what the store had not folded, so it may take a
    /// second.
    ///
    /// # Errors
    /// [`crate::Error::Store`], also where another process has an embedded store open;
    /// [`crate::Error::Usage`] where the settings name a database that must not be used;
    /// [`crate::Error::Guard`] where a log cannot be opened.
    pub fn open(loaded: Loaded, clock: Arc<dyn Clock>) -> Result<Arc<Self>> {
        let Loaded { settings, secrets } = loaded;
        let place = Place::of(&settings, &secrets);
        let Secrets {
            root_key,
            root_source,
            token_keys,
            pepper,
            api_keys,
            receivers,
            ..
        } = secrets;
        let store = place.open(root_key, Arc::clone(&clock))?;
        let metrics = Metrics::new();
        let commit = Arc::new(MeteredCommit::new(
            Arc::clone(&store.commit),
            metrics.clone(),
        ));
        let frozen = Frozen::default();
        let commit = Arc::new(GatedCommit::new(commit, frozen.clone()));
        let store = Store { commit, ..store };
        let store = share(store, &settings, pepper.derive(SHARED_KEYS), &metrics)?;
        let cursor_key = pepper.derive("list cursors");
        let sso = Sso::new(&settings, &pepper).map_err(Error::Usage)?;
        let identities = identify::Options {
            token_keys,
            expect: Expect {
                issuer: settings.auth.issuer.clone(),
                audience: settings.auth.audience.clone(),
            },
            pepper,
            file_keys: api_keys,
            lifetimes: Lifetimes {
                access: settings.auth.access_ttl.get(),
                session: settings.auth.session_ttl.get(),
                key_overlap: settings.auth.key_overlap.get(),
            },
            require_mfa: settings.auth.require_mfa,
        };
        let limiter = Limiter::new(Arc::clone(&store.shared), limits(&settings));
        let alerts = Alerts::new(
            &settings,
            &receivers,
            metrics.notify.clone(),
            Arc::clone(&clock),
        );
        let journal = Journal::open(journal_options(&settings), alerts.sink())?;
        Ok(Arc::new(Self {
            identities: Identities::new(store.clone(), identities),
            journal,
            alerts,
            shipped: receivers.shipped,
            door: Door::new(store.clone(), limiter.clone(), door(&settings)),
            jumps: Jumps::new(settings.guard.reading_jump.get().unwrap_or(0)),
            inspections: Arc::new(Inspections::new(&settings.guard)),
            limiter,
            clock,
            metrics,
            cursor_key,
            budget: Budget::new(settings.limits.inflight_bytes.in_memory()),
            heads: HeadLimits::new(&settings.server),
            root_source,
            sso,
            documents: Documents::render(),
            frozen,
            draining: AtomicBool::new(false),
            settings,
            store,
        }))
    }

    /// Whether the server is stopping and takes no new work.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins to stop.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

fn journal_options(settings: &Settings) -> journal::Options {
    journal::Options {
        dir: settings.log.dir.clone(),
        rotate_bytes: settings.log.rotate_bytes.get(),
        keep: settings.log.keep,
        form: match settings.log.format {
            LogFormat::Guide => journal::Form::Guide,
            LogFormat::Ocsf => journal::Form::Ocsf,
        },
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits {
        user_per_hour: settings.limits.user_per_hour.get().unwrap_or(0),
        key_per_hour: settings.limits.key_per_hour.get().unwrap_or(0),
        address_per_hour: settings.limits.address_per_hour.get().unwrap_or(0),
        readings_per_hour: settings.limits.readings_per_hour.get().unwrap_or(0),
        new_meters_per_hour: settings.readings.new_meters_per_hour.get().unwrap_or(0),
    }
}

fn door(settings: &Settings) -> door::Options {
    let guard = &settings.guard;
    let proxies = &settings.server.trusted_proxies;
    let count = |limit: Limit| limit.get().unwrap_or(0);
    door::Options {
        failed_logins: count(guard.failed_logins),
        failed_login_window: guard.failed_login_window.get(),
        ban_score: count(guard.ban_score),
        block_time: guard.block_time.get(),
        spared: guard.ban_allow.iter().chain(proxies).copied().collect(),
        thresholds: door::Thresholds {
            many_accounts: count(guard.many_accounts),
            many_addresses: count(guard.many_addresses),
            burst_401: count(guard.burst_401),
            burst_403: count(guard.burst_403),
            burst_404: count(guard.burst_404),
            key_networks: count(guard.key_networks),
            scope_probes: count(guard.scope_probes),
            proxy_principals: count(guard.proxy_principals),
        },
        shared: settings.shared.redis_url.is_some(),
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::saturating_from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}
