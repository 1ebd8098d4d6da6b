//! The door over a real store: what is decided alone, what a flood of addresses costs.

use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use ems_store::shared::Standing;

use super::*;
use crate::{
    identify,
    limit::Limits,
    testing::{House, act},
};

/// A state outside, which can be cut off.
struct Outside {
    inner: LocalShared,
    own: LocalShared,
    cut: AtomicBool,
    epoch: AtomicU64,
}

#[async_trait]
impl Shared for Outside {
    async fn ask(&self, steps: &[Step]) -> Answers {
        let alone = self.cut.load(Ordering::SeqCst);
        let state = if alone { &self.own } else { &self.inner };
        Answers {
            each: state.decide(steps),
            alone,
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            up: !self.cut.load(Ordering::SeqCst),
            epoch: self.epoch.load(Ordering::SeqCst),
        }
    }
}

fn options(shared: bool) -> Options {
    Options {
        failed_logins: 5,
        failed_login_window: Duration::from_mins(10),
        ban_score: 20,
        block_time: Duration::from_mins(15),
        spared: Vec::new(),
        thresholds: Thresholds {
            many_accounts: 5,
            many_addresses: 10,
            burst_401: 20,
            burst_403: 20,
            burst_404: 40,
            key_networks: 1,
            scope_probes: 10,
            proxy_principals: 100,
        },
        shared,
    }
}

fn door(store: Store, shared: bool) -> Door {
    let limits = Limits {
        user_per_hour: 10_000,
        key_per_hour: 1000,
        address_per_hour: 100,
        readings_per_hour: 0,
        new_meters_per_hour: 0,
    };
    let limiter = Limiter::new(Arc::clone(&store.shared), limits);
    Door::new(store, limiter, options(shared))
}

fn outside() -> (Arc<Outside>, Store, House) {
    let house = House::new();
    let outside = Arc::new(Outside {
        inner: LocalShared::new(),
        own: LocalShared::new(),
        cut: AtomicBool::new(false),
        epoch: AtomicU64::new(1),
    });
    let store = Store {
        shared: outside.clone(),
        ..house.store.clone()
    };
    (outside, store, house)
}

fn key(id: &str) -> Principal {
    Principal {
        name: format!("key:{id}"),
        kind: identify::Kind::Key { id: id.into() },
        ..Principal::local(0)
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const FAILED: Failure<'_> = Failure {
    attempt: true,
    account: None,
    uncounted: true,
};

fn is_open(decision: &Decision) -> bool {
    matches!(decision.entry, Entry::Open(_))
}

#[tokio::test]
async fn what_one_process_shuts_out_is_shut_out_at_the_others_and_lifted_there_too() {
    let (_outside, store, _house) = outside();
    let (one, other) = (door(store.clone(), true), door(store, true));
    let home = ip("203.0.113.9");
    for _ in 0..5 {
        assert!(is_open(&one.refused(home, FAILED, &act(0)).await));
    }
    let decision = other.stranger(home, false, &act(0)).await;
    assert_eq!(decision.entry, Entry::Shut);
    // A ban closes connections once the other has heard of it.
    one.ban((Network::of(home), Kind::Ban), bans::LONGEST, &act(0))
        .await
        .unwrap();
    assert_eq!(
        other.stranger(home, false, &act(0)).await.entry,
        Entry::Shut
    );
    assert!(other.is_banned(home));
    one.lift(Network::of(home), &act(0)).await.unwrap();
    assert!(is_open(&other.stranger(home, false, &act(0)).await));
}

#[tokio::test]
async fn failures_at_several_processes_are_counted_together() {
    let (_outside, store, _house) = outside();
    let (one, other) = (door(store.clone(), true), door(store, true));
    let home = ip("203.0.113.9");
    let mut told = 0;
    for turn in 0..5 {
        let door = if turn % 2 == 0 { &one } else { &other };
        told += door.refused(home, FAILED, &act(0)).await.findings.len();
    }
    assert_eq!(told, 1);
    for door in [&one, &other] {
        assert_eq!(door.refused(home, FAILED, &act(0)).await.entry, Entry::Shut);
    }
}

#[tokio::test]
async fn alone_the_known_go_on_and_logins_administration_and_strangers_keys_wait() {
    let (outside, store, _house) = outside();
    let door = door(store, true);
    let home = ip("203.0.113.9");
    let known = door.principal(&key("known"), home, false, &act(0)).await;
    assert!(is_open(&known) && !known.alone);
    outside.cut.store(true, Ordering::SeqCst);
    let known = door.principal(&key("known"), home, false, &act(0)).await;
    assert!(is_open(&known) && known.alone);
    for (name, administers) in [("known", true), ("new", false)] {
        let decision = door.principal(&key(name), home, administers, &act(0)).await;
        assert_eq!(decision.entry, Entry::Unsure, "{name}");
    }
    assert_eq!(
        door.stranger(home, true, &act(0)).await.entry,
        Entry::Unsure
    );
    // What is no login is refused by the handler, and counted here meanwhile.
    assert!(is_open(&door.stranger(home, false, &act(0)).await));
    for _ in 0..5 {
        door.refused(home, FAILED, &act(0)).await;
    }
    assert_eq!(door.refused(home, FAILED, &act(0)).await.entry, Entry::Shut);
    outside.cut.store(false, Ordering::SeqCst);
    // What was decided meanwhile is told to the others.
    door.sync(false, act(0).at).await.unwrap();
    let other = super::tests::door(door.store.clone(), true);
    assert_eq!(
        other.stranger(home, false, &act(0)).await.entry,
        Entry::Shut
    );
    assert!(is_open(
        &door.principal(&key("new"), home, false, &act(0)).await
    ));
}

#[tokio::test]
async fn where_somebody_lives_attacks_block_and_elsewhere_they_ban() {
    let house = House::new();
    let door = door(house.store.clone(), false);
    let (home, away) = (ip("203.0.113.9"), ip("203.0.113.10"));
    door.principal(&key("meter"), home, false, &act(0)).await;
    for (address, kind) in [(home, Kind::Block), (away, Kind::Ban)] {
        assert!(door.offended(address, 19, &act(0)).await.is_empty());
        assert_eq!(door.offended(address, 1, &act(0)).await.len(), 1);
        assert_eq!(door.bans().shut(address), Some(kind));
    }
    assert!(is_open(
        &door.principal(&key("meter"), home, false, &act(0)).await
    ));
}

#[tokio::test]
async fn who_lives_where_is_known_again_once_a_state_that_was_emptied_is_back() {
    let (outside, store, _house) = outside();
    let door = door(store, true);
    let home = ip("203.0.113.9");
    door.sync(false, act(0).at).await.unwrap();
    door.principal(&key("meter"), home, false, &act(0)).await;
    let key_of_home = live(Network::of(home));
    outside.inner.decide(&[Step::Clear { key: key_of_home }]);
    outside.epoch.store(2, Ordering::SeqCst);
    door.sync(false, act(0).at).await.unwrap();
    door.principal(&key("meter"), home, false, &act(0)).await;
    door.offended(home, 20, &act(0)).await;
    assert_eq!(door.bans().shut(home), Some(Kind::Block));
}

#[tokio::test]
async fn a_sentence_that_has_been_over_for_a_day_leaves_the_store_and_no_other_does() {
    let house = House::new();
    let door = door(house.store.clone(), false);
    for (address, lasting) in [("203.0.113.9", 1), ("203.0.113.10", 7200)] {
        let network = Network::of(ip(address));
        let lasting = Duration::from_secs(lasting);
        door.ban((network, Kind::Ban), lasting, &act(0))
            .await
            .unwrap();
    }
    let (early, late) = (act(86_400).at, act(86_402).at);
    assert_eq!(bans::sweep(&house.store, early).await.unwrap(), 0);
    assert_eq!(bans::sweep(&house.store, late).await.unwrap(), 1);
    let left = bans::all(&house.store, None, 9).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].network.to_string(), "203.0.113.10");
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test]
async fn a_million_addresses_attacking_keep_the_guard_under_100_mb() {
    let house = House::new();
    let door = door(house.store.clone(), false);
    let before = resident();
    for number in 0..1_000_000_u32 {
        let address = IpAddr::from(std::net::Ipv4Addr::from_bits(0x0b00_0000 + number));
        let account = format!("user{number}");
        let failure = Failure {
            account: Some(&account),
            ..FAILED
        };
        door.refused(address, failure, &act(0)).await;
        door.answered(401, Whom::Address(address));
    }
    let grown = resident().saturating_sub(before) / 1_000_000;
    println!("a million addresses: {grown} MB");
    assert!(grown < 100, "{grown} MB");
}
