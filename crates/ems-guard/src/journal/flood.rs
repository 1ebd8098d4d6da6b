//! Floods: of one kind of event within ten seconds a hundred are written, the rest counted.
//!
//! A kind is what happened, by whom and from where; and, with a higher bound, what happened alone,
//! for floods that come from everywhere. Each ends in one summary with a count.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use super::event::Event;

/// The time in which events are counted together.
const INTERVAL: Duration = Duration::from_secs(10);
/// Events of one kind and caller that are written in it.
const OF_ONE: u64 = 100;
/// Events of one kind, whosoever's, that are written in it.
const OF_ALL: u64 = 1000;
/// Callers that are told apart at a time.
const MOST: usize = 16_384;

/// What happened.
#[derive(Debug, Clone, Copy, Hash, PartialEq, Eq)]
pub(super) struct Kind<'a> {
    event_type: &'static str,
    what: &'a str,
    outcome: u16,
}

impl<'a> Kind<'a> {
    pub(super) fn new(event_type: &'static str, what: &'a str, outcome: u16) -> Self {
        Self {
            event_type,
            what,
            outcome,
        }
    }
}

pub(super) struct Floods {
    slots: HashMap<u64, Slot>,
    hasher: RandomState,
}

struct Slot {
    began: Duration,
    written: u64,
    suppressed: u64,
    /// One of the suppressed, for the summary.
    example: Option<Event>,
}

impl Slot {
    fn new(began: Duration) -> Self {
        Self {
            began,
            written: 0,
            suppressed: 0,
            example: None,
        }
    }

    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.began) >= INTERVAL
    }

    fn count(&mut self, example: impl FnOnce() -> Event) {
        self.suppressed += 1;
        self.example.get_or_insert_with(example);
    }
}

impl Floods {
    pub(super) fn new() -> Self {
        Self {
            slots: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// The event, if it is to be written; else it is counted.
    pub(super) fn admit(
        &mut self,
        kind: Kind<'_>,
        by: (&str, &str),
        now: Duration,
        event: impl FnOnce() -> Event,
    ) -> Option<Event> {
        let (one, all) = self.keys(kind, by);
        let full = self.slots.len() >= MOST;
        // A slot whose time is over and that suppressed something waits for its summary.
        if full && !self.slots.contains_key(&one) {
            return self.admit_to_all(all, now, event);
        }
        let slot = self.slots.entry(one).or_insert_with(|| Slot::new(now));
        if slot.is_over(now) && slot.suppressed == 0 {
            *slot = Slot::new(now);
        }
        if slot.written >= OF_ONE {
            slot.count(event);
            return None;
        }
        slot.written += 1;
        self.admit_to_all(all, now, event)
    }

    fn admit_to_all(
        &mut self,
        key: u64,
        now: Duration,
        event: impl FnOnce() -> Event,
    ) -> Option<Event> {
        let slot = self.slots.entry(key).or_insert_with(|| Slot::new(now));
        if slot.is_over(now) && slot.suppressed == 0 {
            *slot = Slot::new(now);
        }
        if slot.written >= OF_ALL {
            slot.count(|| event().of_many());
            return None;
        }
        slot.written += 1;
        Some(event())
    }

    /// Counts an event that was admitted and could not be queued.
    pub(super) fn suppress(
        &mut self,
        kind: Kind<'_>,
        by: (&str, &str),
        now: Duration,
        event: Event,
    ) {
        let (_, all) = self.keys(kind, by);
        let slot = self.slots.entry(all).or_insert_with(|| Slot::new(now));
        slot.count(|| event.of_many());
    }

    /// Ends the intervals that are over, or all of them, and returns their summaries.
    pub(super) fn drain(&mut self, now: Duration, all: bool) -> Vec<Event> {
        let over: Vec<u64> = self
            .slots
            .iter()
            .filter(|(_, slot)| all || slot.is_over(now))
            .map(|(key, _)| *key)
            .collect();
        let ended = over.iter().filter_map(|key| self.slots.remove(key));
        ended
            .filter_map(|slot| Some(slot.example?.summary(slot.suppressed)))
            .collect()
    }

    fn keys(&self, kind: Kind<'_>, by: (&str, &str)) -> (u64, u64) {
        let one = self.hasher.hash_one((kind, Some(by)));
        (one, self.hasher.hash_one((kind, None::<(&str, &str)>)))
    }
}

#[cfg(test)]
mod tests;
