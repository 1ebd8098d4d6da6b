//! The one state of a server, built in one function; handlers and layers get it as an argument.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use ems_core::{clock::Clock, time::Timestamp};
use ems_crypto::hash::IndexKey;
use ems_store::Store;

use crate::{body::Budget, config::Settings, listener::HeadLimits, metrics::Metrics};

/// Everything that a request may need.
pub struct App {
    /// The settings.
    pub settings: Settings,
    /// Where everything is kept.
    pub store: Store,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Metrics,
    /// Seals the cursors of lists.
    pub cursor_key: IndexKey,
    /// The bytes that bodies in memory may take.
    pub budget: Budget,
    /// The bounds of a request's head.
    pub heads: HeadLimits,
    draining: AtomicBool,
}

impl App {
    /// Whether the server is stopping and takes no new work.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Begins to stop.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::saturating_from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}
