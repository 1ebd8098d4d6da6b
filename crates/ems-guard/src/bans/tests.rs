//! Who is shut out, for how long, and how many are remembered.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use super::*;
use crate::testing::at;

const HOUR: i64 = 3_600_000_000;

fn table(spared: &[&str]) -> (Bans, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(0));
    let hand = Arc::clone(&clock);
    let options = Options {
        spared: spared.iter().map(|text| text.parse().unwrap()).collect(),
        first: Duration::from_mins(15),
    };
    let bans = Bans::new(options, Arc::new(move || hand.load(Ordering::SeqCst)));
    (bans, clock)
}

fn network(text: &str) -> Network {
    text.parse().unwrap()
}

fn sentence(bans: &Bans, text: &str, kind: Kind) -> Option<Sentence> {
    let why = (kind, Reason::TooManyFailedAttempts);
    let next = bans.next(network(text), why, at(0))?;
    bans.put(next.clone(), at(0));
    Some(next)
}

fn shut(bans: &Bans, address: &str) -> Option<Kind> {
    bans.shut(address.parse().unwrap())
}

#[test]
fn a_sentence_ends_by_itself_and_each_next_is_four_times_longer_up_to_a_day() {
    let (bans, clock) = table(&[]);
    let mut minutes = Vec::new();
    for _ in 0..7 {
        let given = sentence(&bans, "192.0.2.1", Kind::Block).unwrap();
        let micros = given.until.as_micros() - given.since.as_micros();
        minutes.push(micros / 60_000_000);
        assert_eq!(shut(&bans, "192.0.2.1"), Some(Kind::Block));
        clock.fetch_add(micros - 1, Ordering::SeqCst);
        assert_eq!(shut(&bans, "192.0.2.1"), Some(Kind::Block));
        clock.fetch_add(1, Ordering::SeqCst);
        assert_eq!(shut(&bans, "192.0.2.1"), None);
    }
    assert_eq!(minutes, [15, 60, 240, 960, 1440, 1440, 1440]);
}

#[test]
fn a_wall_clock_that_jumps_shuts_nobody_out_for_longer() {
    let (bans, _) = table(&[]);
    let given = sentence(&bans, "192.0.2.1", Kind::Ban).unwrap();
    // Read back by a clock that was set back ten years, and by one that is ten years ahead.
    bans.put(
        given.clone(),
        Timestamp::saturating_from_micros(at(0).as_micros() - 87_600 * HOUR),
    );
    let (_, left) = bans.get(network("192.0.2.1")).unwrap();
    assert_eq!(left, 24 * HOUR);
    bans.put(
        given,
        Timestamp::saturating_from_micros(at(0).as_micros() + 87_600 * HOUR),
    );
    assert_eq!(shut(&bans, "192.0.2.1"), None);
}

#[test]
fn a_harder_sentence_takes_the_place_of_a_milder_and_no_milder_of_a_harder() {
    let (bans, _) = table(&[]);
    assert!(sentence(&bans, "192.0.2.1", Kind::Block).is_some());
    assert!(sentence(&bans, "192.0.2.1", Kind::Block).is_none());
    assert_eq!(sentence(&bans, "192.0.2.1", Kind::Ban).unwrap().level, 2);
    assert!(sentence(&bans, "192.0.2.1", Kind::Block).is_none());
    assert_eq!(shut(&bans, "::ffff:192.0.2.1"), Some(Kind::Ban));
    assert_eq!(shut(&bans, "192.0.2.2"), None);
}

#[test]
fn a_48_holds_its_64s_and_the_hardest_of_both_counts() {
    let (bans, _) = table(&[]);
    sentence(&bans, "2001:db8:1:2::/64", Kind::Ban);
    sentence(&bans, "2001:db8:1::/48", Kind::Block);
    assert_eq!(shut(&bans, "2001:db8:1:2::9"), Some(Kind::Ban));
    assert_eq!(shut(&bans, "2001:db8:1:3::9"), Some(Kind::Block));
    assert_eq!(shut(&bans, "2001:db8:2:3::9"), None);
    assert_eq!(bans.count(), (1, 1));
}

#[test]
fn who_is_spared_gets_no_sentence() {
    let (bans, _) = table(&["10.0.0.0/8", "2001:db8:1::/48"]);
    assert!(sentence(&bans, "10.9.8.7", Kind::Ban).is_none());
    assert!(sentence(&bans, "2001:db8:1:7::1", Kind::Ban).is_none());
    assert!(sentence(&bans, "11.9.8.7", Kind::Ban).is_some());
}

#[test]
fn the_table_is_bounded_and_those_that_end_soonest_go_first_but_none_by_hand() {
    let (bans, clock) = table(&[]);
    let by_hand = Sentence {
        network: network("198.51.100.1"),
        kind: Kind::Ban,
        reason: Reason::Manual,
        since: at(0),
        until: at(1),
        level: 1,
        by: "root".into(),
    };
    bans.put(by_hand, at(0));
    let mut gone = 0;
    for number in 0..40_000_u32 {
        clock.store(i64::from(number), Ordering::SeqCst);
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        let why = (Kind::Block, Reason::TooManyFailedAttempts);
        let next = bans.next(Network::of(address.into()), why, at(0)).unwrap();
        gone += bans.put(next, at(0)).len();
    }
    let (blocked, _) = bans.count();
    assert!(
        blocked <= 16_384 && blocked + gone == 40_000,
        "{blocked} {gone}"
    );
    assert_eq!(shut(&bans, "198.51.100.1"), Some(Kind::Ban));
    assert_eq!(shut(&bans, "10.0.0.0"), None);
    assert_eq!(shut(&bans, "10.0.156.63"), Some(Kind::Block));
}

#[test]
fn what_others_lifted_goes_unless_it_is_too_young_for_them_to_know() {
    let (bans, clock) = table(&[]);
    sentence(&bans, "192.0.2.1", Kind::Ban);
    bans.keep(|_| false);
    assert_eq!(shut(&bans, "192.0.2.1"), Some(Kind::Ban));
    clock.store(2_000_000, Ordering::SeqCst);
    sentence(&bans, "192.0.2.2", Kind::Ban);
    bans.keep(|known| known == network("192.0.2.9"));
    assert_eq!(shut(&bans, "192.0.2.1"), None);
    assert_eq!(shut(&bans, "192.0.2.2"), Some(Kind::Ban));
}
