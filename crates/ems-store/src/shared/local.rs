//! Windows and marks in process, exact: each window remembers when what was accepted in it, so that no
//! stretch of its length ever holds more than its limit, and nothing else is refused.
//!
//! Memory: 16 bytes an accepted request of the last window, only for keys that were used in it.
//! The number of keys is bounded: past it, those used longest ago are forgotten first. Principals'
//! keys and strangers' are bounded each for themselves.

mod mark;
mod ring;

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use self::{mark::Marks, ring::Ring};
use super::{Answer, Answers, Key, Of, Shared, Step, Verdict, Window};

const SHARDS: u64 = 16;
/// Keys in a shard after which those that hold nothing any more are cleared out.
const SWEEP: usize = 1024;
/// Windows that a shard remembers at most, and marks: with all shards 131,072 of strangers, and as
/// many of principals. Some 25 MB each where every window was used once.
const MOST: usize = 8192;

/// Tells microseconds that never go back; what they count from does not matter.
pub type Ticks = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The state of one process. It does not follow steps of the wall clock.
pub struct LocalShared {
    shards: Vec<Mutex<Shard>>,
    hashers: (RandomState, RandomState),
    ticks: Ticks,
}

/// A key as it is kept: two hashes under keys that nobody knows, so that no two meet.
type Hashed = (u64, u64);

#[derive(Default)]
struct Shard {
    rings: HashMap<Hashed, Ring>,
    /// The number of keys at which the next sweep is due.
    sweep_at: usize,
    marks: Marks,
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
            shards: (0..2 * SHARDS).map(|_| Mutex::default()).collect(),
            hashers: (RandomState::new(), RandomState::new()),
            ticks,
        }
    }

    /// Does the steps in their order, each at one moment.
    pub fn decide(&self, steps: &[Step]) -> Vec<Answer> {
        let mut stopped = false;
        let mut one = |step: &Step| {
            if stopped {
                return Answer::Skipped;
            }
            match step {
                Step::Take { window, cost, once } => {
                    Answer::Taken(self.take(window, *cost, once.as_ref()))
                }
                Step::Look { key, stop } => {
                    let left = self.at(key, |shard, key, now| shard.marks.left(key, now));
                    stopped = *stop && left.is_some();
                    Answer::Marked(left)
                }
                Step::Mark { key, for_micros } => {
                    self.at(key, |shard, key, now| {
                        shard.marks.put(key, now, *for_micros);
                    });
                    Answer::Done
                }
                Step::Clear { key } => {
                    self.at(key, |shard, key, _| {
                        shard.marks.remove(key);
                        shard.rings.remove(&key);
                    });
                    Answer::Done
                }
            }
        };
        steps.iter().map(&mut one).collect()
    }

    /// Counts what a state outside accepted, so that this process knows it should that fail.
    pub fn follow(&self, steps: &[Step], answers: &[Answer]) {
        for (step, answer) in steps.iter().zip(answers) {
            match (step, answer) {
                (Step::Take { window, cost, once }, Answer::Taken(verdict)) if verdict.counted => {
                    self.take(window, *cost, once.as_ref());
                }
                (Step::Mark { .. } | Step::Clear { .. }, Answer::Done) => {
                    self.decide(std::slice::from_ref(step));
                }
                (Step::Look { key, .. }, Answer::Marked(Some(left))) => {
                    self.at(key, |shard, key, now| shard.marks.put(key, now, *left));
                }
                _ => {}
            }
        }
    }

    fn take(&self, window: &Window, cost: u64, once: Option<&Key>) -> Verdict {
        if window.limit == 0 {
            return Verdict::unlimited();
        }
        let length = window.length_micros;
        let first = once.is_none_or(|once| {
            self.at(once, |shard, key, now| {
                shard.marks.put_new(key, now, length)
            })
        });
        let cost = if first { cost } else { 0 };
        let verdict = self.at(&window.key, |shard, key, now| {
            shard.take(key, now, window, cost)
        });
        Verdict { first, ..verdict }
    }

    /// Does something to a key's shard. The time is read under its lock, so that it never goes back
    /// there.
    fn at<T>(&self, key: &Key, work: impl FnOnce(&mut Shard, Hashed, i64) -> T) -> T {
        let hashed = (
            self.hashers.0.hash_one(&key.name),
            self.hashers.1.hash_one(&key.name),
        );
        let place = hashed.0 % SHARDS;
        let place = match key.of {
            Of::Principal => place,
            Of::Stranger => place + SHARDS,
        };
        let place = usize::try_from(place).unwrap_or(0);
        match self.shards.get(place) {
            Some(shard) => {
                let mut shard = shard.lock();
                work(&mut shard, hashed, (self.ticks)())
            }
            // There is a shard for each place.
            None => work(&mut Shard::default(), hashed, (self.ticks)()),
        }
    }
}

impl Default for LocalShared {
    fn default() -> Self {
        Self::new()
    }
}

impl Shard {
    fn take(&mut self, key: Hashed, now: i64, window: &Window, cost: u64) -> Verdict {
        if let Some(ring) = self.rings.get_mut(&key) {
            return ring.take(now, window, cost);
        }
        let mut ring = Ring::default();
        let verdict = ring.take(now, window, cost);
        if !ring.is_empty() {
            self.make_room(now);
            self.rings.insert(key, ring);
        }
        verdict
    }

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

impl Verdict {
    pub(super) fn unlimited() -> Self {
        Self {
            allowed: true,
            counted: false,
            first: true,
            remaining: u64::MAX,
            retry_after_micros: Some(0),
            reset_after_micros: 0,
        }
    }
}

#[async_trait]
impl Shared for LocalShared {
    async fn ask(&self, steps: &[Step]) -> Answers {
        Answers {
            each: self.decide(steps),
            alone: false,
        }
    }
}

#[cfg(test)]
mod tests;
