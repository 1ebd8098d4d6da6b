//! A clock that stands still until a test turns it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use ems_core::{clock::Clock, time::Timestamp};
use ems_server::app::SystemClock;

/// Starts at the machine's present, since certificates are checked by that, and then stands.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(SystemClock.now().as_micros()))
    }

    /// Turns it on.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    /// Sets it to an instant.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_micros(), Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::saturating_from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Year, month and day of the machine's present, in UTC.
pub(crate) fn today() -> (i32, u8, u8) {
    let text = SystemClock.now().to_string();
    let mut parts = text.split(['-', 'T']);
    let mut part = || parts.next().unwrap_or_default();
    (
        part().parse().unwrap_or(1970),
        part().parse().unwrap_or(1),
        part().parse().unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_until_it_is_turned() {
        let clock = TestClock::new();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        clock.advance(Duration::from_hours(1));
        assert_eq!(clock.now().as_micros() - before.as_micros(), 3_600_000_000);
    }
}
