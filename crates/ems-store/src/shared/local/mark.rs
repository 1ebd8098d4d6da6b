//! Marks: what is set for some time. Bounded; past it, those that end soonest go first.

use std::collections::HashMap;

use super::{Hashed, MOST, SWEEP};

#[derive(Default)]
pub(super) struct Marks {
    until: HashMap<Hashed, i64>,
    sweep_at: usize,
}

impl Marks {
    /// For how long a key is still marked.
    pub(super) fn left(&self, key: Hashed, now: i64) -> Option<i64> {
        let until = self.until.get(&key)?;
        let left = until.saturating_sub(now);
        (left > 0).then_some(left)
    }

    /// Marks a key; a mark that ends later stays.
    pub(super) fn put(&mut self, key: Hashed, now: i64, for_micros: i64) {
        self.make_room(now);
        let until = now.saturating_add(for_micros);
        let kept = self.until.entry(key).or_insert(until);
        *kept = (*kept).max(until);
    }

    /// Marks a key that is not marked; false where it is.
    pub(super) fn put_new(&mut self, key: Hashed, now: i64, for_micros: i64) -> bool {
        if self.left(key, now).is_some() {
            return false;
        }
        self.put(key, now, for_micros);
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.until.len()
    }

    pub(super) fn remove(&mut self, key: Hashed) {
        self.until.remove(&key);
    }

    /// Clears out what is over when the keys have doubled, and the quarter that ends soonest when
    /// there are too many.
    fn make_room(&mut self, now: i64) {
        if self.until.len() < self.sweep_at.clamp(SWEEP, MOST) {
            return;
        }
        self.until.retain(|_, until| *until > now);
        if self.until.len() >= MOST {
            let mut ends: Vec<i64> = self.until.values().copied().collect();
            let (.., quarter, _) = ends.select_nth_unstable(MOST / 4);
            let soonest = *quarter;
            self.until.retain(|_, until| *until > soonest);
        }
        self.sweep_at = self.until.len().saturating_mul(2);
    }
}
