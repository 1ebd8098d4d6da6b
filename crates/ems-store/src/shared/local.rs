//! Rate windows in process, exact: each window remembers when what was accepted in it, so that no
//! stretch of its length ever holds more than its limit, and nothing else is refused.
//!
//! Memory: 16 bytes an accepted request of the last window, only for keys that were used in it.
//! The number of keys is bounded: past it, those used longest ago are forgotten first.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{Shared, Verdict, Window};

const SHARDS: u64 = 16;
/// Keys in a shard after which those that hold nothing any more are cleared out.
const SWEEP: usize = 4096;
/// Keys that a shard remembers at most: with all shards 262,144, some 50 MB where each was used once.
const MOST: usize = 16_384;
/// Entries for which a ring always keeps the memory.
const KEPT: usize = 64;

/// Tells microseconds that never go back; what they count from does not matter.
pub type Ticks = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Windows of one process. They do not follow steps of the wall clock.
pub struct LocalShared {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    ticks: Ticks,
}

#[derive(Default)]
struct Shard {
    rings: HashMap<Box<str>, Ring>,
    /// The number of keys at which the next sweep is due.
    sweep_at: usize,
}

/// What was accepted, oldest first: when, and the sum of all that was accepted up to then.
#[derive(Default)]
struct Ring {
    accepted: VecDeque<(i64, u64)>,
    /// The sum of what has left the window.
    left: u64,
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
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            ticks,
        }
    }

    fn decide(&self, window: &Window, cost: u64) -> Verdict {
        let place = usize::try_from(self.hasher.hash_one(&window.key) % SHARDS).unwrap_or(0);
        let Some(shard) = self.shards.get(place) else {
            return Verdict::unlimited();
        };
        let mut shard = shard.lock();
        // Read under the lock, so that times in a ring never go back.
        let now = (self.ticks)();
        if let Some(ring) = shard.rings.get_mut(&*window.key) {
            return ring.take(now, window, cost);
        }
        let mut ring = Ring::default();
        let verdict = ring.take(now, window, cost);
        if !ring.accepted.is_empty() {
            shard.make_room(now);
            shard.rings.insert(window.key.as_str().into(), ring);
        }
        verdict
    }
}

impl Default for LocalShared {
    fn default() -> Self {
        Self::new()
    }
}

impl Shard {
    /// Clears out what holds nothing any more when the keys have doubled, and the quarter that was
    /// used longest ago when there are too many; so both cost a constant a key.
    fn make_room(&mut self, now: i64) {
        if self.rings.len() < self.sweep_at.clamp(SWEEP, MOST) {
            return;
        }
        self.rings.retain(|_, ring| ring.free_at() > now);
        if self.rings.len() >= MOST {
            let mut used: Vec<i64> = self.rings.values().map(Ring::used_at).collect();
            let (.., quarter, _) = used.select_nth_unstable(MOST / 4);
            let oldest = *quarter;
            self.rings.retain(|_, ring| ring.used_at() > oldest);
        }
        self.sweep_at = self.rings.len().saturating_mul(2);
    }
}

impl Ring {
    fn take(&mut self, now: i64, window: &Window, cost: u64) -> Verdict {
        self.length = window.length_micros;
        while let Some((at, sum)) = self.accepted.front().copied() {
            if at.saturating_add(self.length) > now {
                break;
            }
            self.accepted.pop_front();
            self.left = sum;
        }
        // A burst long ago keeps no memory; halving at a quarter costs a constant a request.
        let capacity = self.accepted.capacity();
        if capacity > KEPT && self.accepted.len() < capacity / 4 {
            self.accepted.shrink_to(capacity / 2);
        }
        let held = self.held();
        let allowed = held
            .checked_add(cost)
            .is_some_and(|held| held <= window.limit);
        if allowed && cost > 0 {
            let sum = self.left.saturating_add(held).saturating_add(cost);
            match self.accepted.back_mut() {
                Some((at, last)) if *at == now => *last = sum,
                _ => self.accepted.push_back((now, sum)),
            }
        }
        let retry = if allowed {
            Some(0)
        } else {
            self.retry_after(now, window, cost)
        };
        Verdict {
            allowed,
            remaining: window.limit.saturating_sub(self.held()),
            retry_after_micros: retry,
            reset_after_micros: self.free_at().saturating_sub(now).max(0),
        }
    }

    /// What is in the window.
    fn held(&self) -> u64 {
        let sum = self.accepted.back().map_or(self.left, |(_, sum)| *sum);
        sum.saturating_sub(self.left)
    }

    /// When something was last accepted.
    fn used_at(&self) -> i64 {
        self.accepted.back().map_or(i64::MIN, |(at, _)| *at)
    }

    /// When it holds nothing any more.
    fn free_at(&self) -> i64 {
        self.used_at().saturating_add(self.length)
    }

    /// When enough of what was accepted has left the window.
    fn retry_after(&self, now: i64, window: &Window, cost: u64) -> Option<i64> {
        let room = window.limit.checked_sub(cost)?;
        let must_leave = self.held().saturating_sub(room);
        let enough = self
            .accepted
            .partition_point(|(_, sum)| sum.saturating_sub(self.left) < must_leave);
        let at = self.accepted.get(enough).map_or(now, |(at, _)| *at);
        Some(at.saturating_add(window.length_micros).saturating_sub(now))
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
mod tests;
