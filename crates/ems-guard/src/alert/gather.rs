//! What is gathered of many events or alerts: counts in steps of time, sums, and the bound of an
//! hour.

use std::{collections::VecDeque, time::Duration};

use ems_core::time::Timestamp;

use super::{Alert, Occurrence, Reason, VARIOUS};

/// Steps into which a rule's time is cut: an event counts for up to a sixtieth longer, and a source
/// takes a bounded amount of memory however often it is seen.
const STEPS: u32 = 60;
const HOUR: Duration = Duration::from_hours(1);

/// Events of one rule and source, summed up.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    first: Timestamp,
    count: u64,
    last: Occurrence,
}

impl Gathered {
    fn new(occurrence: &Occurrence) -> Self {
        Self {
            first: occurrence.at,
            count: occurrence.count,
            last: occurrence.clone(),
        }
    }

    /// Adds an event to what there is.
    pub(super) fn add(to: &mut Option<Self>, occurrence: &Occurrence) {
        let Some(gathered) = to else {
            *to = Some(Self::new(occurrence));
            return;
        };
        gathered.count = gathered.count.saturating_add(occurrence.count);
        let user = std::mem::take(&mut gathered.last.user);
        gathered.last = occurrence.clone();
        if user != occurrence.user {
            VARIOUS.clone_into(&mut gathered.last.user);
        }
    }

    pub(super) fn alert(self, reason: Reason, rule: &str) -> Alert {
        let Occurrence {
            event,
            at,
            address,
            user,
            request_id,
            ..
        } = self.last;
        Alert {
            reason,
            rule: rule.to_owned(),
            event,
            count: self.count,
            first: self.first,
            last: at,
            address,
            user,
            request_id,
        }
    }
}

/// Events of a source within a rule's time.
pub(super) struct Steps(VecDeque<(Duration, Gathered)>);

impl Steps {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn add(&mut self, occurrence: &Occurrence, now: Duration, within: Duration) {
        while let Some((began, _)) = self.0.front()
            && now.saturating_sub(*began) > within
        {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            Some((began, gathered)) if now.saturating_sub(*began) <= within / STEPS => {
                let mut whole = Some(gathered.clone());
                Gathered::add(&mut whole, occurrence);
                if let Some(whole) = whole {
                    *gathered = whole;
                }
            }
            _ => self.0.push_back((now, Gathered::new(occurrence))),
        }
    }

    pub(super) fn count(&self) -> u64 {
        let counts = self.0.iter().map(|(_, gathered)| gathered.count);
        counts.fold(0, u64::saturating_add)
    }

    /// All of them as one.
    pub(super) fn gathered(&self) -> Option<Gathered> {
        let mut whole: Option<Gathered> = None;
        for (_, step) in &self.0 {
            match &mut whole {
                None => whole = Some(step.clone()),
                Some(whole) => {
                    whole.count = whole.count.saturating_add(step.count);
                    let same = whole.last.user == step.last.user;
                    whole.last = step.last.clone();
                    if !same {
                        VARIOUS.clone_into(&mut whole.last.user);
                    }
                }
            }
        }
        whole
    }

    pub(super) fn are_over(&self, now: Duration, within: Duration) -> bool {
        let last = self.0.back();
        last.is_none_or(|(began, _)| now.saturating_sub(*began) > within)
    }
}

/// What a channel was sent in the last hour, and what waits for room.
pub(super) struct Hour {
    pub(super) sent: VecDeque<Duration>,
    pub(super) held: Option<Alert>,
}

impl Hour {
    /// Whether there is room for one more; then it is taken. What is held goes first.
    pub(super) fn admits(&mut self, now: Duration, per_hour: usize) -> bool {
        if per_hour == 0 {
            return true;
        }
        self.forget(now);
        let admitted = self.held.is_none() && self.sent.len() < per_hour;
        if admitted {
            self.sent.push_back(now);
        }
        admitted
    }

    /// Sums an alert up with those that are held.
    pub(super) fn hold(&mut self, alert: &Alert) {
        let Some(held) = &mut self.held else {
            self.held = Some(Alert {
                reason: Reason::Limited,
                ..alert.clone()
            });
            return;
        };
        held.count = held.count.saturating_add(alert.count);
        held.first = held.first.min(alert.first);
        held.last = held.last.max(alert.last);
        held.request_id.clone_from(&alert.request_id);
        for (held, other) in [
            (&mut held.rule, &alert.rule),
            (&mut held.event, &alert.event),
            (&mut held.address, &alert.address),
            (&mut held.user, &alert.user),
        ] {
            if held != other {
                VARIOUS.clone_into(held);
            }
        }
    }

    /// What is held, if there is room for it.
    pub(super) fn released(&mut self, now: Duration, per_hour: usize) -> Option<Alert> {
        self.forget(now);
        if self.held.is_none() || (per_hour > 0 && self.sent.len() >= per_hour) {
            return None;
        }
        self.sent.push_back(now);
        self.held.take()
    }

    pub(super) fn is_idle(&self, now: Duration) -> bool {
        let last = self.sent.back();
        self.held.is_none() && last.is_none_or(|at| now.saturating_sub(*at) >= HOUR)
    }

    fn forget(&mut self, now: Duration) {
        while let Some(at) = self.sent.front()
            && now.saturating_sub(*at) >= HOUR
        {
            self.sent.pop_front();
        }
    }
}
