//! Patterns of attack, by name: what single requests do not show and many together do.
//!
//! Each is a count within a time and a threshold from the settings. It is told when the threshold
//! is reached, and again when as much has come anew.

use std::{hash::BuildHasher as _, net::IpAddr, time::Duration};

use ems_store::shared::{Answers, Key, Step, Verdict, Window};
use serde_json::{Map, Value};

use super::{Asked, Door, LIVE_FOR, NOTED_FOR, live, window};
use crate::{
    Network, Principal,
    bans::{Kind, Reason, Sentence},
    identify,
    inspect::Report,
    journal::Violation,
    limit::Whom,
};

/// Bursts of one status are counted in this time.
const BURST: Duration = Duration::from_mins(1);
/// Meters asked for outside the scope are counted in this time.
const PROBES: Duration = Duration::from_mins(10);
/// How long a key's network is known.
const NETWORKS: Duration = Duration::from_hours(24 * 30);
/// How long a principal counts as one of an address.
const RESIDENTS: Duration = Duration::from_hours(24);

/// From how many on something is told; 0 for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Different accounts that failed to log in from one address within an hour.
    pub many_accounts: u64,
    /// Different addresses from which one account failed to log in within an hour.
    pub many_addresses: u64,
    /// Answers of 401 to one caller within a minute.
    pub burst_401: u64,
    /// Answers of 403 to one caller within a minute.
    pub burst_403: u64,
    /// Answers of 404 to one caller within a minute.
    pub burst_404: u64,
    /// Networks from which a key is used within 30 days without being told of the next.
    pub key_networks: u64,
    /// Different meters outside its scope that a principal asked for within ten minutes.
    pub scope_probes: u64,
    /// Different principals at one address within a day.
    pub proxy_principals: u64,
}

/// Something to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What it is.
    pub violation: Violation,
    /// More of it; no secret.
    pub details: Map<String, Value>,
    /// What it adds to the score of an address that shows no valid credential.
    pub score: u64,
    /// How and why an address was shut out, where it is that.
    pub sentence: Option<(Kind, Reason)>,
}

impl Finding {
    pub(crate) fn new(violation: Violation, score: u64) -> Self {
        Self {
            violation,
            details: Map::new(),
            score,
            sentence: None,
        }
    }

    /// What is told of an address that is shut out.
    pub fn of_sentence(sentence: &Sentence) -> Self {
        let seconds = sentence.until.as_seconds() - sentence.since.as_seconds();
        let told = Self {
            sentence: Some((sentence.kind, sentence.reason)),
            ..Self::new(Violation::IpBlocked, 0)
        };
        told.with("reason", sentence.reason.as_str())
            .with("kind", sentence.kind.as_str())
            .with("network", sentence.network.to_string())
            .with("seconds", seconds)
            .with("level", sentence.level)
    }

    /// What is told of a request that looked like an attack. `score`: what it counts against its
    /// address.
    pub fn of_inspection(report: &Report, (score, blocked): (u32, bool)) -> Self {
        Self::new(Violation::SuspiciousPattern, score.into())
            .with("rules", report.rules.join(" "))
            .with("score", report.score)
            .with("place", report.place.clone())
            .with("blocked", blocked)
    }

    /// What is told of a connection that was given up. `score`: what it counts against its address.
    pub fn of_connection(why: &'static str, score: u64) -> Self {
        Self::new(Violation::ProtocolAbuse, score).with("reason", why)
    }

    /// What is told of an address that is let in again by hand.
    pub fn of_release(network: Network) -> Self {
        Self::new(Violation::IpReleased, 0).with("network", network.to_string())
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }
}

/// The steps that note a principal at its address.
#[derive(Default)]
pub(super) struct Presence {
    residents: Option<(usize, Key, u64)>,
    networks: Option<usize>,
}

impl Door {
    /// Notes a principal at an address, unless that was done within the last minutes.
    pub(super) fn presence(
        &self,
        asked: &mut Asked<'_>,
        principal: &Principal,
        address: IpAddr,
    ) -> Option<Presence> {
        if principal.kind == identify::Kind::Local {
            return None;
        }
        let network = Network::of(address);
        let pair = self.hasher.hash_one((&principal.name, network));
        let now = (self.ticks)();
        {
            let mut noted = self.noted.lock();
            if noted
                .get(&pair)
                .is_some_and(|at| at.saturating_add(NOTED_FOR) > now)
            {
                return None;
            }
            noted.put(pair, now);
        }
        for network in Network::around(address) {
            let (key, for_micros) = (live(network), LIVE_FOR);
            asked.step(Step::Mark { key, for_micros });
        }
        let mut presence = Presence::default();
        let name = &principal.name;
        let limit = self.options.thresholds.proxy_principals;
        let key = Key::of_principal(format!("residents:{network}"));
        if let Some(window) = window(key.clone(), limit, RESIDENTS) {
            let step = asked.count(window, format!("resident:{network}:{name}"));
            presence.residents = Some((step, key, limit));
        }
        if let identify::Kind::Key { id } = &principal.kind {
            let limit = self.options.thresholds.key_networks;
            let key = Key::of_principal(format!("networks:{id}"));
            if let Some(window) = window(key, limit, NETWORKS) {
                let from = site(address);
                presence.networks = Some(asked.count(window, format!("network:{id}:{from}")));
            }
        }
        Some(presence)
    }

    /// What noting a principal brought to light.
    pub(super) async fn presence_told(
        &self,
        presence: Presence,
        answers: &Answers,
        address: IpAddr,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some((step, key, limit)) = presence.residents
            && answers.verdict(step).is_some_and(reached)
        {
            self.shared.ask(&[Step::Clear { key }]).await;
            findings.push(Finding::new(Violation::UndeclaredProxy, 0).with("principals", limit));
        }
        let networks = presence.networks.and_then(|step| {
            let verdict = answers.verdict(step)?;
            let new = verdict.first && !verdict.allowed;
            new.then(|| Finding::new(Violation::NewNetwork, 0).with("network", site(address)))
        });
        findings.extend(networks);
        findings
    }

    /// Counts an answer to a caller. Told by each process for itself.
    pub fn answered(&self, status: u16, whom: Whom<'_>) -> Option<Finding> {
        let thresholds = &self.options.thresholds;
        let (limit, violation, score) = match status {
            401 => (thresholds.burst_401, Violation::BurstUnauthorized, 10),
            403 => (thresholds.burst_403, Violation::BurstForbidden, 10),
            404 => (thresholds.burst_404, Violation::BurstNotFound, 10),
            _ => return None,
        };
        let key = key_of(&format!("burst:{status}"), whom);
        let window = window(key, limit, BURST)?;
        let found = self.own_count(window, None)?;
        found.then(|| Finding::new(violation, score).with("answers", limit))
    }

    /// Counts meters that a principal asked for and that are not its own; `meter` where it is one
    /// that it named. Told by each process for itself.
    pub fn probed(&self, principal: &Principal, meter: Option<&str>) -> Option<Finding> {
        let limit = self.options.thresholds.scope_probes;
        let key = key_of("probes", Whom::Principal(principal));
        let window = window(key, limit, PROBES)?;
        let once = meter.map(|meter| format!("probe:{}:{meter}", principal.name));
        let found = self.own_count(window, once)?;
        found.then(|| Finding::new(Violation::ScopeProbing, 0).with("meters", limit))
    }

    /// Counts one in a window of this process; whether that filled it, which begins it anew.
    fn own_count(&self, window: Window, once: Option<String>) -> Option<bool> {
        let key = window.key.clone();
        let of = key.of;
        let once = once.map(|name| Key { of, name });
        let cost = 1;
        let answers = self.own.decide(&[Step::Take { window, cost, once }]);
        let answers = Answers {
            each: answers,
            alone: false,
        };
        let full = reached(answers.verdict(0)?);
        if full {
            self.own.decide(&[Step::Clear { key }]);
        }
        Some(full)
    }
}

/// Whether this one filled the window.
pub(super) fn reached(verdict: Verdict) -> bool {
    verdict.counted && verdict.remaining == 0
}

fn key_of(what: &str, whom: Whom<'_>) -> Key {
    match whom {
        Whom::Principal(principal) => Key::of_principal(format!("{what}:{}", principal.name)),
        Whom::Address(address) => Key::of_stranger(format!("{what}:{}", Network::of(address))),
    }
}

/// Where an address is, coarsely: an IPv4 /24, an IPv6 /48. A device that gets another address of
/// its provider's nearest range is where it was.
fn site(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(_) => {
            let network = Network::of(address);
            network.wider().unwrap_or(network).to_string()
        }
    }
}
