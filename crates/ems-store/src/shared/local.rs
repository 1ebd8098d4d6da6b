//! Rate windows in process, exact: each window remembers when what was accepted in it, so that no
//! stretch of its length ever holds more than its limit, and nothing else is refused.
//!
//! Memory: 16 bytes an accepted request of the last window, only for keys that were used in it.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Shared, Verdict, Window};

const SHARDS: usize = 16;
/// Keys in a shard after which those that hold nothing any more are cleared out.
const SWEEP: usize = 4096;

/// Tells microseconds that never go back; what they count from does not matter.
pub type Ticks = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Windows of one process. They do not follow steps of the wall clock.
pub struct LocalShared {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    ticks: Ticks,
}

#[derive(Default)]
struct Shard {
    rings: HashMap<String, Ring>,
    /// The number of keys at which the next sweep is due.
    sweep_at: usize,
}

/// What was accepted, oldest first.
#[derive(Default)]
struct Ring {
    accepted: VecDeque<(i64, u64)>,
    total: u64,
    length: i64,
}

impl LocalShared {
    /// Empty windows on the machine's monotonic clock.
    pub fn new() -> Self {
        let start = Instant::now();
        Self::with_ticks(Arc::new(move || {
            i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX)
        }))
    }

    /// Empty windows on a clock that is given.
    pub fn with_ticks(ticks: Ticks) -> Self {
        Self {
            shards: Default::default(),
            hasher: RandomState::new(),
            ticks,
        }
    }

    fn decide(&self, window: &Window, cost: u64) -> Verdict {
        let place = usize::try_from(self.hasher.hash_one(&window.key) % 16).unwrap_or(0);
        let Some(shard) = self.shards.get(place) else {
            return Verdict::unlimited();
        };
        let mut shard = shard.lock();
        // Read under the lock, so that times in a ring never go back.
        let now = (self.ticks)();
        if shard.rings.len() > shard.sweep_at {
            shard.rings.retain(|_, ring| {
                ring.accepted
                    .back()
                    .is_some_and(|(at, _)| at + ring.length > now)
            });
            shard.sweep_at = (shard.rings.len() * 2).max(SWEEP);
        }
        if let Some(ring) = shard.rings.get_mut(&window.key) {
            return ring.take(now, window, cost);
        }
        let mut ring = Ring::default();
        let verdict = ring.take(now, window, cost);
        if verdict.allowed {
            shard.rings.insert(window.key.clone(), ring);
        }
        verdict
    }
}

impl Default for LocalShared {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    fn take(&mut self, now: i64, window: &Window, cost: u64) -> Verdict {
        self.length = window.length_micros;
        while let Some((at, count)) = self
            .accepted
            .front()
            .copied()
            .filter(|(at, _)| at + window.length_micros <= now)
        {
            debug_assert!(at <= now, "times never go back");
            self.accepted.pop_front();
            self.total -= count;
        }
        let allowed = self
            .total
            .checked_add(cost)
            .is_some_and(|total| total <= window.limit);
        if allowed && cost > 0 {
            self.total += cost;
            match self.accepted.back_mut() {
                Some((at, count)) if *at == now => *count += cost,
                _ => self.accepted.push_back((now, cost)),
            }
        }
        Verdict {
            allowed,
            remaining: window.limit.saturating_sub(self.total),
            retry_after_micros: if allowed {
                Some(0)
            } else {
                self.retry_after(now, window, cost)
            },
            reset_after_micros: self
                .accepted
                .back()
                .map_or(0, |(at, _)| at + window.length_micros - now),
        }
    }

    /// When enough of what was accepted has left the window.
    fn retry_after(&self, now: i64, window: &Window, cost: u64) -> Option<i64> {
        let room = window.limit.checked_sub(cost)?;
        let mut total = self.total;
        for (at, count) in &self.accepted {
            if total <= room {
                break;
            }
            total -= count;
            if total <= room {
                return Some(at + window.length_micros - now);
            }
        }
        Some(0)
    }
}

impl Verdict {
    fn unlimited() -> Self {
        Self {
            allowed: true,
            remaining: u64::MAX,
            retry_after_micros: Some(0),
            reset_after_micros: 0,
        }
    }
}

#[async_trait]
impl Shared for LocalShared {
    async fn take(&self, window: &Window, cost: u64) -> crate::Result<Verdict> {
        if window.limit == 0 {
            return Ok(Verdict::unlimited());
        }
        Ok(self.decide(window, cost))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use proptest::prelude::*;

    use super::*;

    fn on_a_clock() -> (LocalShared, Arc<AtomicI64>) {
        let clock = Arc::new(AtomicI64::new(0));
        let hand = Arc::clone(&clock);
        (
            LocalShared::with_ticks(Arc::new(move || hand.load(Ordering::SeqCst))),
            clock,
        )
    }

    fn window(limit: u64, length: i64) -> Window {
        Window {
            key: "k".into(),
            limit,
            length_micros: length,
        }
    }

    proptest! {
        /// The model keeps every accepted cost and adds up those of the last window.
        #[test]
        fn agrees_with_a_model_that_forgets_nothing(
            limit in 1_u64..20,
            length in 1_i64..50,
            steps in prop::collection::vec((0_i64..20, 1_u64..8), 1..200),
        ) {
            let (shared, clock) = on_a_clock();
            let mut accepted: Vec<(i64, u64)> = Vec::new();
            for (wait, cost) in steps {
                let now = clock.fetch_add(wait, Ordering::SeqCst) + wait;
                let held = |now: i64| accepted.iter().filter(|(at, _)| at + length > now).map(|(_, cost)| cost).sum::<u64>();
                let expected = held(now) + cost <= limit;
                let verdict = shared.decide(&window(limit, length), cost);
                prop_assert_eq!(verdict.allowed, expected);
                if !expected {
                    match verdict.retry_after_micros {
                        None => prop_assert!(cost > limit),
                        Some(wait) => {
                            prop_assert!(held(now + wait) + cost <= limit, "late enough");
                            prop_assert!(held(now + wait - 1) + cost > limit, "and no later");
                        }
                    }
                }
                if expected {
                    accepted.push((now, cost));
                }
                let held = accepted.iter().filter(|(at, _)| at + length > now).map(|(_, cost)| cost).sum::<u64>();
                prop_assert_eq!(verdict.remaining, limit - held);
            }
            for (from, _) in &accepted {
                let inside = accepted.iter().filter(|(at, _)| (*from..from + length).contains(at)).map(|(_, cost)| cost).sum::<u64>();
                prop_assert!(inside <= limit);
            }
        }
    }

    #[test]
    fn of_many_at_once_exactly_the_limit_passes() {
        let shared = Arc::new(LocalShared::new());
        let take = || {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                (0..1000)
                    .filter(|_| shared.decide(&window(100, 3_600_000_000), 1).allowed)
                    .count()
            })
        };
        let threads: Vec<_> = (0..8).map(|_| take()).collect();
        let passed: usize = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        assert_eq!(passed, 100);
    }

    #[test]
    fn keys_that_hold_nothing_any_more_are_cleared_out() {
        let (shared, clock) = on_a_clock();
        for number in 0..200_000_i64 {
            clock.store(number * 10, Ordering::SeqCst);
            shared.decide(
                &Window {
                    key: number.to_string(),
                    limit: 5,
                    length_micros: 100,
                },
                1,
            );
        }
        let kept: usize = shared
            .shards
            .iter()
            .map(|shard| shard.lock().rings.len())
            .sum();
        assert!(kept <= SHARDS * (SWEEP + 1), "{kept}");
    }
}
