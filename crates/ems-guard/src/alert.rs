//! Rules over security events: which of them somebody is told about, when, and how often.
//!
//! Pure: time is an argument, and what is to be sent comes back. A rule tells of a source (an
//! address) once it was seen `least` times `within` a time; then it is quiet about that source for
//! `dedup`, and says at the end how much came meanwhile. A channel gets `per_hour` alerts at most;
//! what is past it is summed up in one. Everything is counted, nothing grows without bound.

mod gather;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use ems_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use self::gather::{Gathered, Hour, Steps};
use crate::journal::Violation;

/// Sources that are told apart at a time, for all rules; those beyond are one, `various`.
const MOST: usize = 10_000;
/// The name of many sources or rules as one.
const VARIOUS: &str = "various";
/// Actions of the journal's `authentication`: an event each, and one more with `_failed`.
const ACTIONS: [&str; 9] = [
    "login",
    "logout",
    "refresh",
    "change_password",
    "sso_login",
    "mfa_begin",
    "mfa_enable",
    "mfa_disable",
    "mfa_reset",
];

/// The names of all events that a rule may ask for.
pub fn event_names() -> impl Iterator<Item = String> {
    let violations = Violation::ALL.map(|violation| violation.as_str().to_owned());
    let actions = ACTIONS
        .iter()
        .flat_map(|action| [(*action).to_owned(), format!("{action}_failed")]);
    violations.into_iter().chain(actions)
}

/// A security event, or a flood of one kind that was counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// One of [`event_names`].
    pub event: String,
    /// When.
    pub at: Timestamp,
    /// How many.
    pub count: u64,
    /// The client's address.
    pub address: String,
    /// Who: a principal's name or `anonymous`.
    pub user: String,
    /// The request; empty where it was many.
    pub request_id: String,
}

/// Takes events in the order of the log. Must not block: it is called by the log's writer.
pub trait Sink: Send + Sync {
    /// Takes one.
    fn told(&self, occurrence: Occurrence);
}

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Events that it looks at.
    pub events: Vec<String>,
    /// Channels that are told.
    pub channels: Vec<String>,
    /// How many events of one source make an alert.
    pub least: u64,
    /// In which time.
    pub within: Duration,
}

/// Why an alert is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A rule holds.
    Alert,
    /// What came of the same rule and source since it was told.
    Repeated,
    /// What a channel was not told because of its bound.
    Limited,
    /// Somebody tries the channel.
    Test,
}

/// What somebody is told. It holds no secret and no payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Why.
    pub reason: Reason,
    /// The rule, or `various`.
    pub rule: String,
    /// The last event.
    pub event: String,
    /// How many events.
    pub count: u64,
    /// When the first of them was.
    pub first: Timestamp,
    /// When the last of them was.
    pub last: Timestamp,
    /// The client's address, or `various`.
    pub address: String,
    /// Who, or `various`.
    pub user: String,
    /// The request of the last one.
    pub request_id: String,
}

impl Alert {
    /// An alert that says that a channel works.
    pub fn test(at: Timestamp, user: &str) -> Self {
        Self {
            reason: Reason::Test,
            rule: "test".to_owned(),
            event: "test".to_owned(),
            count: 1,
            first: at,
            last: at,
            address: "system".to_owned(),
            user: user.to_owned(),
            request_id: String::new(),
        }
    }
}

/// What comes of an event or of time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// What each channel is to be told.
    pub alerts: Vec<(String, Alert)>,
    /// Channels that were spared an alert, since they know of the source.
    pub deduplicated: Vec<String>,
    /// Channels that have had their share.
    pub limited: Vec<String>,
}

/// A source as a rule sees it.
enum State {
    Counting(Steps),
    /// Told; quiet until then.
    Told(Duration, Option<Gathered>),
}

/// The rules at work.
pub struct Engine {
    rules: Vec<Rule>,
    dedup: Duration,
    per_hour: usize,
    states: HashMap<(usize, String), State>,
    hours: HashMap<String, Hour>,
}

impl Engine {
    /// Rules, how long one is quiet about a source that it told of (zero: not at all), and the
    /// alerts of a channel in an hour (0: no bound).
    pub fn new(rules: Vec<Rule>, dedup: Duration, per_hour: usize) -> Self {
        Self {
            rules,
            dedup,
            per_hour,
            states: HashMap::new(),
            hours: HashMap::new(),
        }
    }

    /// Takes an event. `now` counts from any beginning, and never goes back.
    pub fn observe(&mut self, occurrence: &Occurrence, now: Duration) -> Due {
        let mut due = Due::default();
        let asked = (0..self.rules.len()).filter(|at| {
            let rule = self.rules.get(*at);
            rule.is_some_and(|rule| rule.events.contains(&occurrence.event))
        });
        for at in asked.collect::<Vec<_>>() {
            self.one(at, occurrence, now, &mut due);
        }
        due
    }

    fn one(&mut self, at: usize, occurrence: &Occurrence, now: Duration, due: &mut Due) {
        let Some(rule) = self.rules.get(at).cloned() else {
            return;
        };
        let mut key = (at, occurrence.address.clone());
        if self.states.len() >= MOST && !self.states.contains_key(&key) {
            VARIOUS.clone_into(&mut key.1);
        }
        let fresh = || State::Counting(Steps::new());
        let state = self.states.entry(key.clone()).or_insert_with(fresh);
        match state {
            State::Told(until, meanwhile) if now < *until => {
                Gathered::add(meanwhile, occurrence);
                due.deduplicated.extend(rule.channels.iter().cloned());
                return;
            }
            State::Told(_, meanwhile) => {
                if let Some(gathered) = meanwhile.take() {
                    let alert = gathered.alert(Reason::Repeated, &rule.name);
                    send(&mut self.hours, self.per_hour, (&rule, &alert), now, due);
                }
                *state = fresh();
            }
            State::Counting(_) => {}
        }
        let State::Counting(steps) = state else {
            return;
        };
        steps.add(occurrence, now, rule.within);
        if steps.count() < rule.least {
            return;
        }
        let gathered = steps.gathered();
        if self.dedup.is_zero() {
            self.states.remove(&key);
        } else {
            *state = State::Told(now.saturating_add(self.dedup), None);
        }
        if let Some(gathered) = gathered {
            let alert = gathered.alert(Reason::Alert, &rule.name);
            send(&mut self.hours, self.per_hour, (&rule, &alert), now, due);
        }
    }

    /// Lets time pass: quiet times end with what came meanwhile, and bounds have room again. To be
    /// called each second or so.
    pub fn tick(&mut self, now: Duration) -> Due {
        let mut due = Due::default();
        let per_hour = self.per_hour;
        for (channel, hour) in &mut self.hours {
            if let Some(alert) = hour.released(now, per_hour) {
                due.alerts.push((channel.clone(), alert));
            }
        }
        self.hours.retain(|_, hour| !hour.is_idle(now));
        self.quiet_times(now, &mut due);
        due
    }

    /// Ends all quiet times, as before the process ends: what came meanwhile is told.
    pub fn end(&mut self) -> Due {
        let mut due = Due::default();
        self.per_hour = 0;
        self.quiet_times(Duration::MAX, &mut due);
        for (channel, hour) in &mut self.hours {
            let held = hour.released(Duration::MAX, 0);
            due.alerts
                .extend(held.map(|alert| (channel.clone(), alert)));
        }
        due
    }

    fn quiet_times(&mut self, now: Duration, due: &mut Due) {
        let Self {
            rules,
            dedup,
            per_hour,
            states,
            hours,
        } = self;
        states.retain(|(at, _), state| match state {
            State::Counting(steps) => {
                let within = rules.get(*at).map_or(Duration::ZERO, |rule| rule.within);
                !steps.are_over(now, within)
            }
            State::Told(until, _) if now < *until => true,
            State::Told(until, meanwhile) => {
                // Whoever goes on is told of once in each quiet time.
                *until = now.saturating_add(*dedup);
                let Some((rule, gathered)) = rules.get(*at).zip(meanwhile.take()) else {
                    return false;
                };
                let alert = gathered.alert(Reason::Repeated, &rule.name);
                send(hours, *per_hour, (rule, &alert), now, due);
                true
            }
        });
    }
}

/// Hands an alert to the channels of its rule that have room for it.
fn send(
    hours: &mut HashMap<String, Hour>,
    per_hour: usize,
    (rule, alert): (&Rule, &Alert),
    now: Duration,
    due: &mut Due,
) {
    for channel in &rule.channels {
        let hour = hours.entry(channel.clone()).or_insert_with(|| Hour {
            sent: VecDeque::new(),
            held: None,
        });
        if hour.admits(now, per_hour) {
            due.alerts.push((channel.clone(), alert.clone()));
        } else {
            hour.hold(alert);
            due.limited.push(channel.clone());
        }
    }
}

#[cfg(test)]
mod tests;
