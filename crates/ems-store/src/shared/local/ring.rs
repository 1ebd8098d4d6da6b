//! One window: when what was accepted in it.

use std::collections::VecDeque;

use super::{Verdict, Window};

/// Entries for which a ring always keeps the memory.
const KEPT: usize = 64;

/// What was accepted, oldest first: when, and the sum of all that was accepted up to then.
#[derive(Default)]
pub(super) struct Ring {
    accepted: VecDeque<(i64, u64)>,
    /// The sum of what has left the window.
    left: u64,
    length: i64,
}

impl Ring {
    /// Takes from it, or refuses and takes nothing.
    pub(super) fn take(&mut self, now: i64, window: &Window, cost: u64) -> Verdict {
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
            counted: allowed && cost > 0,
            first: true,
            remaining: window.limit.saturating_sub(self.held()),
            retry_after_micros: retry,
            reset_after_micros: self.free_at().saturating_sub(now).max(0),
        }
    }

    /// Whether nothing was ever accepted.
    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.accepted.capacity()
    }

    /// What is in the window.
    fn held(&self) -> u64 {
        let sum = self.accepted.back().map_or(self.left, |(_, sum)| *sum);
        sum.saturating_sub(self.left)
    }

    /// When something was last accepted.
    pub(super) fn used_at(&self) -> i64 {
        self.accepted.back().map_or(i64::MIN, |(at, _)| *at)
    }

    /// When it holds nothing any more.
    pub(super) fn free_at(&self) -> i64 {
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
