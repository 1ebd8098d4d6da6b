//! What a connection is doing: shared between its requests, which know, and its socket, which acts.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::GivenUp;

/// Counts and times of one connection. Each is a hint by itself; no order among them is needed.
pub(super) struct Activity {
    origin: Instant,
    /// Requests begun so far.
    begun: AtomicU64,
    /// Requests whose response is not yet handed over whole.
    in_flight: AtomicU32,
    /// Responses of which the client has not taken the part that waits.
    unread: AtomicU32,
    /// Milliseconds from `origin` to when the first of them began to be.
    unread_since: AtomicU64,
    /// Milliseconds from `origin` to the last progress of any kind.
    progress: AtomicU64,
    given_up: OnceLock<GivenUp>,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            origin: Instant::now(),
            begun: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            unread: AtomicU32::new(0),
            unread_since: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            given_up: OnceLock::new(),
        })
    }

    /// A request begins; it ends when what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.begun.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight {
            activity: Arc::clone(self),
            unread: false,
        }
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Relaxed) > 0
    }

    /// Since when a part of a response has waited for the client to take it, if one does.
    pub(super) fn unread_since(&self) -> Option<Instant> {
        let since = Duration::from_millis(self.unread_since.load(Relaxed));
        (self.unread.load(Relaxed) > 0).then(|| self.origin + since)
    }

    pub(super) fn origin(&self) -> Instant {
        self.origin
    }

    pub(super) fn last_progress(&self) -> Instant {
        self.origin + Duration::from_millis(self.progress.load(Relaxed))
    }

    /// Waits until no answer has been owed and nothing has moved for a while.
    pub(super) async fn at_rest(&self, span: Duration) {
        loop {
            let now = Instant::now();
            let since = if self.is_busy() {
                now
            } else {
                self.last_progress()
            };
            if since + span <= now {
                return;
            }
            sleep_until(since + span).await;
        }
    }

    /// Notes why the connection is given up; the first reason counts.
    pub(super) fn give_up(&self, why: GivenUp) {
        let _ = self.given_up.set(why);
    }

    /// Why it was given up, if it was.
    pub(super) fn given_up(&self) -> Option<GivenUp> {
        self.given_up.get().copied()
    }

    /// Something moved.
    pub(super) fn touch(&self) {
        self.progress.store(self.millis(), Relaxed);
    }

    /// A part of one more response waits for the client.
    fn unread_begins(&self) {
        if self.unread.fetch_add(1, Relaxed) == 0 {
            self.unread_since.store(self.millis(), Relaxed);
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// One request of a connection, from its head to the end of its response.
pub(super) struct InFlight {
    activity: Arc<Activity>,
    unread: bool,
}

impl InFlight {
    /// A part of the response waits for the client (or no longer does).
    pub(super) fn set_unread(&mut self, unread: bool) {
        self.activity.touch();
        match (self.unread, unread) {
            (false, true) => self.activity.unread_begins(),
            (true, false) => drop(self.activity.unread.fetch_sub(1, Relaxed)),
            _ => {}
        }
        self.unread = unread;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set_unread(false);
        self.activity.in_flight.fetch_sub(1, Relaxed);
    }
}
