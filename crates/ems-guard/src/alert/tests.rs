//! The rules over a clock that the test turns.

use std::collections::HashSet;

use super::*;
use crate::testing::at;

const MINUTE: Duration = Duration::from_mins(1);

fn rule(least: u64) -> Rule {
    Rule {
        name: "logins".into(),
        events: vec!["login_failed".into(), "ip_blocked".into()],
        channels: vec!["soc".into()],
        least,
        within: 10 * MINUTE,
    }
}

fn engine(least: u64) -> Engine {
    Engine::new(vec![rule(least)], 15 * MINUTE, 0)
}

fn seen(seconds: u64, address: &str) -> Occurrence {
    Occurrence {
        event: "login_failed".into(),
        at: at(i64::try_from(seconds).unwrap()),
        count: 1,
        address: address.into(),
        user: "ada".into(),
        request_id: format!("r{seconds}"),
    }
}

/// Plays events at their seconds; (reason, count, address) of what was sent.
fn play(engine: &mut Engine, events: &[(u64, &str)]) -> Vec<(Reason, u64, String)> {
    let mut told = Vec::new();
    for (second, address) in events {
        let now = Duration::from_secs(*second);
        told.extend(sent(engine.tick(now)));
        told.extend(sent(engine.observe(&seen(*second, address), now)));
    }
    told
}

fn sent(due: Due) -> Vec<(Reason, u64, String)> {
    let told = |(_, alert): (String, Alert)| (alert.reason, alert.count, alert.address);
    due.alerts.into_iter().map(told).collect()
}

#[test]
fn tells_once_of_a_source_and_at_the_end_of_the_quiet_time_of_what_came_meanwhile() {
    let mut engine = engine(1);
    let told = play(&mut engine, &[(0, "a"), (1, "a"), (2, "b"), (899, "a")]);
    assert_eq!(
        told,
        [
            (Reason::Alert, 1, "a".into()),
            (Reason::Alert, 1, "b".into())
        ]
    );
    assert_eq!(sent(engine.tick(Duration::from_secs(899))), []);
    let summary = engine.tick(15 * MINUTE).alerts.remove(0).1;
    assert_eq!((summary.reason, summary.count), (Reason::Repeated, 2));
    assert_eq!((summary.first, summary.last), (at(1), at(899)));
    // Still at it: quiet for another time. After a quiet time without any, it is forgotten.
    let told = play(&mut engine, &[(1000, "a"), (1001, "a"), (1801, "b")]);
    assert_eq!(
        told,
        [
            (Reason::Repeated, 2, "a".into()),
            (Reason::Alert, 1, "b".into())
        ]
    );
}

#[test]
fn a_rule_holds_from_its_count_within_its_time_and_not_before() {
    let mut engine = engine(3);
    let told = play(&mut engine, &[(0, "a"), (300, "a"), (611, "a"), (612, "b")]);
    assert_eq!(
        told,
        [],
        "the first is more than ten minutes and a step old"
    );
    let told = play(&mut engine, &[(620, "a")]);
    assert_eq!(told, [(Reason::Alert, 3, "a".into())]);
}

#[test]
fn a_flood_counts_as_many_and_other_events_count_nothing() {
    let mut engine = engine(1000);
    let mut other = seen(0, "a");
    other.event = "login".into();
    other.count = 5000;
    assert_eq!(engine.observe(&other, Duration::ZERO), Due::default());
    let flood = Occurrence {
        count: 1000,
        ..seen(0, "a")
    };
    assert_eq!(
        sent(engine.observe(&flood, Duration::ZERO)),
        [(Reason::Alert, 1000, "a".into())]
    );
}

#[test]
fn a_channel_past_its_share_is_told_of_the_rest_in_one_once_there_is_room() {
    let mut engine = Engine::new(vec![rule(1)], 15 * MINUTE, 2);
    let told = play(&mut engine, &[(0, "a"), (10, "b"), (20, "c"), (30, "d")]);
    assert_eq!(
        told,
        [
            (Reason::Alert, 1, "a".into()),
            (Reason::Alert, 1, "b".into())
        ]
    );
    let due = engine.observe(&seen(40, "e"), Duration::from_secs(40));
    assert_eq!((due.alerts.len(), due.limited), (0, vec!["soc".to_owned()]));
    assert_eq!(sent(engine.tick(Duration::from_secs(3599))), []);
    assert_eq!(
        sent(engine.tick(60 * MINUTE)),
        [(Reason::Limited, 3, "various".into())]
    );
}

#[test]
fn what_is_still_open_is_told_at_the_end() {
    let mut engine = Engine::new(vec![rule(1)], 15 * MINUTE, 1);
    play(&mut engine, &[(0, "a"), (1, "a"), (2, "b")]);
    let mut told = sent(engine.end());
    told.sort_by_key(|(_, _, address)| address.clone());
    assert_eq!(
        told,
        [
            (Reason::Repeated, 1, "a".into()),
            (Reason::Limited, 1, "b".into())
        ]
    );
}

#[test]
fn many_users_of_one_source_and_many_sources_are_various() {
    let mut engine = engine(2);
    let mut spray = seen(1, "a");
    spray.user = "eve".into();
    engine.observe(&seen(0, "a"), Duration::ZERO);
    let due = engine.observe(&spray, Duration::from_secs(1));
    assert_eq!(due.alerts[0].1.user, "various");

    for number in 0..MOST + 500 {
        engine.observe(&seen(2, &format!("s{number}")), Duration::from_secs(2));
    }
    assert!(engine.states.len() <= MOST + 1);
    let due = engine.observe(&seen(3, "another"), Duration::from_secs(3));
    assert_eq!(
        due.deduplicated,
        ["soc"],
        "one source for all that are too many"
    );
}

#[test]
fn each_event_has_one_name() {
    let names: Vec<_> = event_names().collect();
    let distinct: HashSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert!(names.contains(&"ip_blocked".to_owned()));
    assert!(names.contains(&"login_failed".to_owned()));
}
