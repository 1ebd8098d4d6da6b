//! Rate windows of requests and of readings: whose window a request falls into, and what the
//! answer says of it in `RateLimit`, `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)
//! and `Retry-After`.
//!
//! A principal has a window of its own; all requests of an address without a valid credential
//! share one, so that invented credentials open no new window.

use std::{net::IpAddr, sync::Arc};

use ems_core::time::SECOND;
use ems_store::shared::{Key, Shared, Step, Verdict, Window};

use crate::{Network, Principal, identify::Kind};

/// The length of every window, in seconds.
const HOUR: i64 = 3600;

/// Bounds in any hour. 0 is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests of a user.
    pub user_per_hour: u64,
    /// Requests with an API key.
    pub key_per_hour: u64,
    /// Requests of an address without a valid credential.
    pub address_per_hour: u64,
    /// Readings of a principal.
    pub readings_per_hour: u64,
    /// Meters that a principal brings into being.
    pub new_meters_per_hour: u64,
}

/// Counts requests and readings.
#[derive(Clone)]
pub struct Limiter {
    shared: Arc<dyn Shared>,
    limits: Limits,
}

/// Whose window a request falls into.
#[derive(Debug, Clone, Copy)]
pub enum Whom<'a> {
    /// A verified caller's.
    Principal(&'a Principal),
    /// That of an address without a valid credential; in IPv6 its /64 network's, which is what one
    /// subscriber has.
    Address(IpAddr),
}

/// A window's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The policy's name: `default` for requests, `readings` and `meters` for those.
    pub policy: &'static str,
    /// The bound.
    pub limit: u64,
    /// What was decided.
    pub verdict: Verdict,
}

impl Limiter {
    /// Counts in windows that may be shared by several processes.
    pub fn new(shared: Arc<dyn Shared>, limits: Limits) -> Self {
        Self { shared, limits }
    }

    /// The window that a caller's requests are counted in; `None`: no window holds it.
    pub(crate) fn window(&self, whom: Whom<'_>) -> Option<Window> {
        let (limit, key) = match whom {
            Whom::Address(address) => {
                let key = Key::of_stranger(format!("req:addr:{}", Network::of(address)));
                (self.limits.address_per_hour, key)
            }
            Whom::Principal(principal) => match &principal.kind {
                Kind::Local => return None,
                Kind::User { .. } => {
                    let key = Key::of_principal(format!("req:user:{}", principal.name));
                    (self.limits.user_per_hour, key)
                }
                Kind::Key { id } => {
                    let key = Key::of_principal(format!("req:key:{id}"));
                    (self.limits.key_per_hour, key)
                }
            },
        };
        window(key, limit)
    }

    /// Counts the readings of one request, all or none. `None`: no window holds this caller.
    pub async fn readings(&self, principal: &Principal, count: u64) -> Option<Rate> {
        self.amount(
            principal,
            "readings",
            (self.limits.readings_per_hour, count),
        )
        .await
    }

    /// Counts the meters that one request brings into being, all or none. `None`: no window holds
    /// this caller.
    pub async fn new_meters(&self, principal: &Principal, count: u64) -> Option<Rate> {
        self.amount(
            principal,
            "meters",
            (self.limits.new_meters_per_hour, count),
        )
        .await
    }

    async fn amount(
        &self,
        principal: &Principal,
        policy: &'static str,
        (limit, count): (u64, u64),
    ) -> Option<Rate> {
        if principal.kind == Kind::Local {
            return None;
        }
        let key = Key::of_principal(format!("{policy}:{}", principal.name));
        self.take(policy, limit, key, count).await
    }

    async fn take(&self, policy: &'static str, limit: u64, key: Key, cost: u64) -> Option<Rate> {
        let window = window(key, limit)?;
        let answers = self.shared.ask(&[Step::take(window, cost)]).await;
        let verdict = answers.verdict(0)?;
        Some(Rate {
            policy,
            limit,
            verdict,
        })
    }
}

fn window(key: Key, limit: u64) -> Option<Window> {
    let length_micros = HOUR * SECOND;
    (limit > 0).then_some(Window {
        key,
        limit,
        length_micros,
    })
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Rate {
    /// What a caller's window of requests said.
    pub(crate) fn of_requests(limit: u64, verdict: Verdict) -> Self {
        Self {
            policy: "default",
            limit,
            verdict,
        }
    }

    /// The same where the window is full and what was asked took nothing: a refusal.
    pub(crate) fn refused(self) -> Self {
        Self {
            verdict: Verdict {
                allowed: false,
                retry_after_micros: Some(self.verdict.reset_after_micros),
                ..self.verdict
            },
            ..self
        }
    }

    /// Whether the request may go on.
    pub fn allowed(&self) -> bool {
        self.verdict.allowed
    }

    /// The value of `RateLimit-Policy`: `"default";q=1000;w=3600`.
    pub fn policy_field(&self) -> String {
        format!("\"{}\";q={};w={HOUR}", self.policy, self.limit)
    }

    /// The value of `RateLimit`: what is left, and the seconds until the window is wholly free, or
    /// for one that was refused, until it may come again: `"default";r=999;t=3600`.
    pub fn rate_field(&self) -> String {
        let remaining = self.verdict.remaining;
        let refused = self.retry_after_seconds();
        let time = refused.unwrap_or_else(|| whole_seconds(self.verdict.reset_after_micros));
        format!("\"{}\";r={remaining};t={time}", self.policy)
    }

    /// The value of `Retry-After`, in whole seconds, at least 1; `None` where the request was let
    /// through or can never be, as it alone is beyond the bound.
    pub fn retry_after_seconds(&self) -> Option<i64> {
        let micros = self.verdict.retry_after_micros;
        micros
            .filter(|_| !self.verdict.allowed)
            .map(|micros| whole_seconds(micros).max(1))
    }
}

/// Seconds that are surely enough.
fn whole_seconds(micros: i64) -> i64 {
    micros.max(0).saturating_add(SECOND - 1) / SECOND
}

#[cfg(test)]
mod tests {
    use ems_store::shared::local::LocalShared;

    use super::*;

    const LIMITS: Limits = Limits {
        user_per_hour: 3,
        key_per_hour: 2,
        address_per_hour: 1,
        readings_per_hour: 100,
        new_meters_per_hour: 0,
    };

    fn limiter(limits: Limits) -> Limiter {
        Limiter::new(Arc::new(LocalShared::new()), limits)
    }

    fn principal(name: &str, kind: Kind) -> Principal {
        Principal {
            name: name.into(),
            kind,
            ..Principal::local(0)
        }
    }

    fn user(name: &str) -> Principal {
        let (session_id, jti) = (String::new(), String::new());
        principal(name, Kind::User { session_id, jti })
    }

    #[test]
    fn users_keys_and_addresses_each_have_their_own_window() {
        let limiter = limiter(LIMITS);
        let key = principal("key:alice", Kind::Key { id: "alice".into() });
        let windows: Vec<_> = [
            Whom::Principal(&user("alice")),
            Whom::Principal(&user("bob")),
            Whom::Principal(&key),
            Whom::Address("192.0.2.1".parse().unwrap()),
            Whom::Address("192.0.2.2".parse().unwrap()),
            Whom::Address("2001:db8:1:2::1".parse().unwrap()),
            Whom::Address("2001:db8:1:3::1".parse().unwrap()),
        ]
        .into_iter()
        .map(|whom| limiter.window(whom).unwrap())
        .collect();
        let limits: Vec<u64> = windows.iter().map(|window| window.limit).collect();
        assert_eq!(limits, [3, 3, 2, 1, 1, 1, 1]);
        let names: std::collections::HashSet<_> =
            windows.iter().map(|window| &window.key).collect();
        assert_eq!(names.len(), windows.len());
        let again = limiter.window(Whom::Address("2001:db8:1:2:ffff::9".parse().unwrap()));
        assert_eq!(again.as_ref(), windows.get(5));
    }

    #[tokio::test]
    async fn the_local_administrator_and_a_limit_of_zero_have_no_window() {
        let unlimited = limiter(Limits {
            user_per_hour: 0,
            readings_per_hour: 0,
            new_meters_per_hour: 0,
            ..LIMITS
        });
        let local = Principal::local(0);
        let alice = user("alice");
        assert_eq!(unlimited.window(Whom::Principal(&alice)), None);
        assert_eq!(unlimited.readings(&alice, 1_000_000).await, None);
        let limited = limiter(LIMITS);
        assert_eq!(limited.window(Whom::Principal(&local)), None);
        assert_eq!(limited.readings(&local, 1_000_000).await, None);
    }

    #[tokio::test]
    async fn readings_are_taken_all_or_none() {
        let limiter = limiter(LIMITS);
        let alice = user("alice");
        let take = async |count| limiter.readings(&alice, count).await.unwrap();
        assert_eq!(take(60).await.verdict.remaining, 40);
        let refused = take(41).await;
        assert!(!refused.allowed());
        assert_eq!(refused.verdict.remaining, 40);
        assert!(take(40).await.allowed());
        let never = take(101).await;
        assert!(!never.allowed());
        assert_eq!(never.retry_after_seconds(), None);
    }

    #[test]
    fn fields_are_structured_and_round_times_up() {
        let rate = |allowed, retry, reset| Rate {
            policy: "default",
            limit: 1000,
            verdict: Verdict {
                allowed,
                counted: allowed,
                first: true,
                remaining: if allowed { 999 } else { 0 },
                retry_after_micros: retry,
                reset_after_micros: reset,
            },
        };
        let passed = rate(true, Some(0), 3_599_000_001);
        assert_eq!(passed.policy_field(), "\"default\";q=1000;w=3600");
        assert_eq!(passed.rate_field(), "\"default\";r=999;t=3600");
        assert_eq!(passed.retry_after_seconds(), None);
        let refused = rate(false, Some(1_200_000), 3_000_000_000);
        assert_eq!(refused.rate_field(), "\"default\";r=0;t=2");
        assert_eq!(refused.retry_after_seconds(), Some(2));
        assert_eq!(rate(false, Some(1), 5).retry_after_seconds(), Some(1));
    }
}
