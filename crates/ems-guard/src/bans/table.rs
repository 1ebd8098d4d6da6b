//! The table in memory: bounded, looked at for every connection, on a clock that never steps.

use std::{collections::HashMap, fmt, net::IpAddr, time::Duration};

use ems_core::time::Timestamp;
use ems_store::shared::local::Ticks;
use ipnet::IpNet;
use parking_lot::RwLock;

use super::{Kind, LONGEST, REMEMBERED, Reason, Sentence, micros, term};
use crate::Network;

/// Sentences that are kept at most: some 4 MB. Past it the quarter that ends soonest goes.
const MOST: usize = 16_384;
/// How young a sentence is that others may not know of yet.
const YOUNG: i64 = 2_000_000;

/// Who is never shut out, and for how long the others are.
#[derive(Debug, Clone)]
pub struct Options {
    /// Networks that are never shut out: those of the settings, and trusted proxies.
    pub spared: Vec<IpNet>,
    /// How long the first time lasts.
    pub first: Duration,
}

/// Addresses that are shut out, or were until a day ago.
pub struct Bans {
    options: Options,
    held: RwLock<HashMap<Network, Held>>,
    ticks: Ticks,
}

struct Held {
    sentence: Sentence,
    /// When it was put here, and when it ends, by the clock that never steps.
    put: i64,
    ends: i64,
}

impl Held {
    fn left(&self, now: i64) -> Option<i64> {
        let left = self.ends.saturating_sub(now);
        (left > 0).then_some(left)
    }

    fn is_forgotten(&self, now: i64) -> bool {
        self.ends.saturating_add(micros(REMEMBERED)) <= now
    }
}

impl Bans {
    /// An empty table. `ticks` tells microseconds that never go back.
    pub fn new(options: Options, ticks: Ticks) -> Self {
        Self {
            options,
            held: RwLock::default(),
            ticks,
        }
    }

    /// How much of an address is shut out now.
    pub fn shut(&self, address: IpAddr) -> Option<Kind> {
        let held = self.held.read();
        if held.is_empty() {
            return None;
        }
        let now = (self.ticks)();
        let active =
            |network| Some(held.get(&network)?).filter(|held: &&Held| held.left(now).is_some());
        Network::around(address)
            .filter_map(active)
            .map(|held| held.sentence.kind)
            .max()
    }

    /// What a network is sentenced to now, and the microseconds that are left of it.
    pub fn get(&self, network: Network) -> Option<(Sentence, i64)> {
        let held = self.held.read();
        let found = held.get(&network)?;
        Some((found.sentence.clone(), found.left((self.ticks)())?))
    }

    /// The last sentence of a network, over or not, as far as it is remembered.
    pub(crate) fn remembered(&self, network: Network) -> Option<Sentence> {
        let held = self.held.read();
        held.get(&network).map(|held| held.sentence.clone())
    }

    /// All that are shut out now, with the microseconds that are left of each.
    pub fn active(&self) -> Vec<(Network, Kind, i64)> {
        let now = (self.ticks)();
        let held = self.held.read();
        let one = |(network, held): (&Network, &Held)| {
            Some((*network, held.sentence.kind, held.left(now)?))
        };
        held.iter().filter_map(one).collect()
    }

    /// The sentences that hold now, in the order of their networks' texts, after `after`; at most
    /// `limit`.
    pub fn list(&self, after: Option<&str>, limit: usize) -> Vec<Sentence> {
        let now = (self.ticks)();
        let held = self.held.read();
        let active = held.iter().filter(|(_, held)| held.left(now).is_some());
        let mut found: Vec<(String, &Held)> = active
            .map(|(network, held)| (network.to_string(), held))
            .filter(|(text, _)| after.is_none_or(|after| text.as_str() > after))
            .collect();
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let sentences = found.into_iter().take(limit);
        sentences.map(|(_, held)| held.sentence.clone()).collect()
    }

    /// How many addresses are blocked and banned now.
    pub fn count(&self) -> (usize, usize) {
        let active = self.active();
        let banned = active
            .iter()
            .filter(|(_, kind, _)| *kind == Kind::Ban)
            .count();
        (active.len() - banned, banned)
    }

    /// The sentence that a network gets next; `None` for one that is spared, or that is under as
    /// hard a sentence already.
    pub(crate) fn next(
        &self,
        network: Network,
        (kind, reason): (Kind, Reason),
        at: Timestamp,
    ) -> Option<Sentence> {
        if self.is_spared(network) {
            return None;
        }
        let held = self.held.read();
        let before = held.get(&network);
        let now = (self.ticks)();
        let under =
            before.is_some_and(|held| held.left(now).is_some() && held.sentence.kind >= kind);
        if under {
            return None;
        }
        let level = before
            .map_or(0, |held| held.sentence.level)
            .saturating_add(1);
        Some(Sentence {
            network,
            kind,
            reason,
            since: at,
            until: at.saturating_add_micros(micros(term(self.options.first, level))),
            level,
            by: "system".to_owned(),
        })
    }

    /// Whether an address is never shut out.
    pub(crate) fn is_spared(&self, network: Network) -> bool {
        let address = network.address();
        self.options
            .spared
            .iter()
            .any(|spared| spared.contains(&address))
    }

    /// Puts a sentence here. Returns those that went to make room.
    pub(crate) fn put(&self, sentence: Sentence, now: Timestamp) -> Vec<Network> {
        let ticks = (self.ticks)();
        let longest = match sentence.reason {
            Reason::Manual => super::LONGEST_BY_HAND,
            _ => LONGEST,
        };
        let left = sentence.until.as_micros().saturating_sub(now.as_micros());
        let ends = ticks.saturating_add(left.clamp(-micros(REMEMBERED), micros(longest)));
        let mut held = self.held.write();
        let gone = make_room(&mut held, ticks);
        let put = ticks;
        held.insert(
            sentence.network,
            Held {
                sentence,
                put,
                ends,
            },
        );
        gone
    }

    /// Lets a network in again, and forgets that it was shut out.
    pub(crate) fn remove(&self, network: Network) -> bool {
        self.held.write().remove(&network).is_some()
    }

    /// Keeps of the sentences that others must know of by now those that they do know.
    pub(crate) fn keep(&self, known: impl Fn(Network) -> bool) {
        let now = (self.ticks)();
        let settled =
            |held: &Held| held.put.saturating_add(YOUNG) <= now && held.left(now).is_some();
        self.held
            .write()
            .retain(|network, held| !settled(held) || known(*network));
    }
}

/// Forgets what is long over, and the quarter that ends soonest where that is not enough.
fn make_room(held: &mut HashMap<Network, Held>, now: i64) -> Vec<Network> {
    if held.len() < MOST {
        return Vec::new();
    }
    let mut gone: Vec<Network> = Vec::new();
    let mut drop_where = |held: &mut HashMap<Network, Held>, goes: &dyn Fn(&Held) -> bool| {
        held.retain(|network, held| {
            let goes = goes(held);
            if goes {
                gone.push(*network);
            }
            !goes
        });
    };
    drop_where(held, &|held| held.is_forgotten(now));
    if held.len() >= MOST {
        let by_hand = |held: &Held| held.sentence.reason == Reason::Manual;
        let mut ends: Vec<i64> = held
            .values()
            .filter(|held| !by_hand(held))
            .map(|held| held.ends)
            .collect();
        if ends.is_empty() {
            return gone;
        }
        let quarter = (MOST / 4).min(ends.len() - 1);
        let (.., soonest, _) = ends.select_nth_unstable(quarter);
        let soonest = *soonest;
        drop_where(held, &|held| held.ends <= soonest && !by_hand(held));
    }
    gone
}

impl fmt::Debug for Bans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bans")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
