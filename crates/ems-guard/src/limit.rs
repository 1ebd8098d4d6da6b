//! Rate windows of requests and of readings: whose window a request falls into, and what the
//! answer says of it in `RateLimit`, `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10)
//! and `Retry-After`.
//!
//! A principal has a window of its own; all requests of an address without a valid credential
//! share one, so that invented credentials open no new window.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use ems_core::time::SECOND;
use ems_store::shared::{Key, Shared, Step, Verdict, Window};

use crate::{Principal, Result, identify::Kind};

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

    /// Counts one request, or refuses it. `None`: no window holds this caller.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where shared windows cannot be asked.
    pub async fn request(&self, whom: Whom<'_>) -> Result<Option<Rate>> {
        let Some((limit, key)) = self.window(whom) else {
            return Ok(None);
        };
        self.take("default", limit, key, 1).await
    }

    /// The window of a caller where it is full now; counts nothing. For what is to be refused
    /// before it costs anything, and is counted elsewhere if it is not.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where shared windows cannot be asked.
    pub async fn full(&self, whom: Whom<'_>) -> Result<Option<Rate>> {
        let Some((limit, key)) = self.window(whom) else {
            return Ok(None);
        };
        let rate = self.take("default", limit, key, 0).await?;
        Ok(rate
            .filter(|rate| rate.verdict.remaining == 0)
            .map(|rate| Rate {
                verdict: Verdict {
                    allowed: false,
                    retry_after_micros: Some(rate.verdict.reset_after_micros),
                    ..rate.verdict
                },
                ..rate
            }))
    }

    /// The bound and the name of a caller's window of requests; `None`: no window holds it.
    fn window(&self, whom: Whom<'_>) -> Option<(u64, Key)> {
        match whom {
            Whom::Address(address) => {
                let key = Key::of_stranger(format!("req:addr:{}", network(address)));
                Some((self.limits.address_per_hour, key))
            }
            Whom::Principal(principal) => match &principal.kind {
                Kind::Local => None,
                Kind::User { .. } => {
                    let key = Key::of_principal(format!("req:user:{}", principal.name));
                    Some((self.limits.user_per_hour, key))
                }
                Kind::Key { id } => {
                    let key = Key::of_principal(format!("req:key:{id}"));
                    Some((self.limits.key_per_hour, key))
                }
            },
        }
    }

    /// Counts the readings of one request, all or none. `None`: no window holds this caller.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where shared windows cannot be asked.
    pub async fn readings(&self, principal: &Principal, count: u64) -> Result<Option<Rate>> {
        self.amount(
            principal,
            "readings",
            (self.limits.readings_per_hour, count),
        )
        .await
    }

    /// Counts the meters that one request brings into being, all or none. `None`: no window holds
    /// this caller.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where shared windows cannot be asked.
    pub async fn new_meters(&self, principal: &Principal, count: u64) -> Result<Option<Rate>> {
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
    ) -> Result<Option<Rate>> {
        if principal.kind == Kind::Local {
            return Ok(None);
        }
        let key = Key::of_principal(format!("{policy}:{}", principal.name));
        self.take(policy, limit, key, count).await
    }

    async fn take(
        &self,
        policy: &'static str,
        limit: u64,
        key: Key,
        cost: u64,
    ) -> Result<Option<Rate>> {
        if limit == 0 {
            return Ok(None);
        }
        let length_micros = HOUR * SECOND;
        let window = Window {
            key,
            limit,
            length_micros,
        };
        let answers = self.shared.ask(&[Step::take(window, cost)]).await;
        let rate = |verdict| Rate {
            policy,
            limit,
            verdict,
        };
        Ok(answers.verdict(0).map(rate))
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Rate {
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

/// What one subscriber has: an IPv4 address, an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
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

    async fn passes(limiter: &Limiter, whom: Whom<'_>) -> bool {
        limiter.request(whom).await.unwrap().unwrap().allowed()
    }

    #[tokio::test]
    async fn users_keys_and_addresses_each_have_their_own_window() {
        let limiter = limiter(LIMITS);
        let (alice, bob) = (user("alice"), user("bob"));
        let key = principal("key:alice", Kind::Key { id: "alice".into() });
        for _ in 0..3 {
            assert!(passes(&limiter, Whom::Principal(&alice)).await);
        }
        assert!(!passes(&limiter, Whom::Principal(&alice)).await);
        assert!(passes(&limiter, Whom::Principal(&bob)).await);
        assert!(passes(&limiter, Whom::Principal(&key)).await);
        assert!(passes(&limiter, Whom::Principal(&key)).await);
        assert!(!passes(&limiter, Whom::Principal(&key)).await);
    }

    #[tokio::test]
    async fn a_64_network_is_one_caller_and_a_mapped_address_is_its_v4() {
        let limiter = limiter(LIMITS);
        let address = |text: &str| Whom::Address(text.parse().unwrap());
        assert!(passes(&limiter, address("2001:db8:1:2::1")).await);
        assert!(!passes(&limiter, address("2001:db8:1:2:ffff::9")).await);
        assert!(passes(&limiter, address("2001:db8:1:3::1")).await);
        assert!(passes(&limiter, address("192.0.2.1")).await);
        assert!(!passes(&limiter, address("::ffff:192.0.2.1")).await);
        assert!(passes(&limiter, address("192.0.2.2")).await);
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
        assert_eq!(
            unlimited.request(Whom::Principal(&alice)).await.unwrap(),
            None
        );
        assert_eq!(unlimited.readings(&alice, 1_000_000).await.unwrap(), None);
        let limited = limiter(LIMITS);
        assert_eq!(
            limited.request(Whom::Principal(&local)).await.unwrap(),
            None
        );
        assert_eq!(limited.readings(&local, 1_000_000).await.unwrap(), None);
    }

    #[tokio::test]
    async fn readings_are_taken_all_or_none() {
        let limiter = limiter(LIMITS);
        let alice = user("alice");
        let take = async |count| limiter.readings(&alice, count).await.unwrap().unwrap();
        assert_eq!(take(60).await.verdict.remaining, 40);
        let refused = take(41).await;
        assert!(!refused.allowed());
        assert_eq!(refused.verdict.remaining, 40);
        assert!(take(40).await.allowed());
        let never = take(101).await;
        assert!(!never.allowed());
        assert_eq!(never.retry_after_seconds(), None);
    }

    #[tokio::test]
    async fn asking_whether_a_window_is_full_takes_nothing() {
        let limiter = limiter(LIMITS);
        let key = principal("key:a", Kind::Key { id: "a".into() });
        for _ in 0..10 {
            assert_eq!(limiter.full(Whom::Principal(&key)).await.unwrap(), None);
        }
        assert!(passes(&limiter, Whom::Principal(&key)).await);
        assert_eq!(limiter.full(Whom::Principal(&key)).await.unwrap(), None);
        assert!(passes(&limiter, Whom::Principal(&key)).await);
        let full = limiter.full(Whom::Principal(&key)).await.unwrap().unwrap();
        assert!(!full.allowed() && full.retry_after_seconds().is_some());
        let local = Principal::local(0);
        assert_eq!(limiter.full(Whom::Principal(&local)).await.unwrap(), None);
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
