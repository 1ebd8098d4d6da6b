//! What entries come to, counted by hand beside.

use ems_api::incident::{Action, Sum};
use ems_core::audit::{AuditEvent, AuditKind};
use serde_json::json;

use super::*;

/// The instant of a second.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::saturating_from_micros(second * 1_000_000)
}

/// A look of a user.
pub(super) fn entry(user: &str, timestamp: Timestamp) -> AuditEvent {
    AuditEvent {
        timestamp,
        event_type: AuditKind::DataAccess,
        user: user.to_owned(),
        action: "read".to_owned(),
        table: "readings".to_owned(),
        record_count: 1,
        filters: json!({}),
        subjects: vec!["m_a".to_owned()],
        source_ip: "192.0.2.1".to_owned(),
        request_id: timestamp.to_string(),
        change: None,
    }
}

/// A question about a user and some seconds.
pub(super) fn asked(user: &str, (since, until): (i64, i64)) -> Asked {
    Asked {
        suspect: Suspect::Principal(user.to_owned()),
        period: Period {
            since: at(since),
            until: at(until),
            made: at(until),
        },
        detected: None,
    }
}

fn tallied(events: &[AuditEvent]) -> tally::Found {
    let asked = asked("alice", (100, 200));
    let mut tally = Tally::new(&asked);
    for (index, event) in (0..).zip(events) {
        tally
            .entry(index, &serde_json::to_vec(event).unwrap())
            .unwrap();
    }
    tally.done()
}

fn stream(request: &str, part: &str, (second, records): (i64, u64)) -> AuditEvent {
    AuditEvent {
        filters: json!({ "stream": part }),
        record_count: records,
        request_id: request.to_owned(),
        ..entry("alice", at(second))
    }
}

fn reads(found: &tally::Found) -> Action {
    found.actions[&("read".to_owned(), "readings".to_owned())].clone()
}

#[test]
fn a_stream_is_one_look_wherever_the_period_cuts_it() {
    let found = tallied(&[
        stream("before", "begun", (99, 0)),
        stream("whole", "begun", (100, 0)),
        stream("before", "completed", (110, 5)),
        stream("whole", "completed", (120, 7)),
        stream("after", "begun", (199, 0)),
        stream("lost", "begun", (199, 0)),
        stream("after", "aborted", (200, 11)),
        stream("outside", "begun", (200, 0)),
        stream("outside", "completed", (201, 13)),
    ]);
    let expected = Action {
        action: "read".to_owned(),
        table: "readings".to_owned(),
        effect: "left".to_owned(),
        sum: Sum {
            times: 4,
            records: 23,
            first: at(100),
            last: at(199),
        },
        aborted: 1,
        without_end: 1,
    };
    assert_eq!(reads(&found), expected);
    assert_eq!(found.meters.meters["m_a"][0].sum, expected.sum);
    assert_eq!(found.peers["192.0.2.1"].acts, 4);
}

#[test]
fn a_name_within_another_and_a_name_in_a_value_are_not_the_suspect() {
    let mut quoted = entry("bob", at(150));
    quoted.filters = json!({ "text": "\"user\":\"alice\"", "user": "alice" });
    let found = tallied(&[entry("alice2", at(150)), entry("malice", at(150)), quoted]);
    assert!(found.matched == 0 && found.actions.is_empty());
}

#[test]
fn readings_of_several_meters_are_shared_and_their_descriptions_are_not() {
    let both = vec!["m_a".to_owned(), "m_b".to_owned()];
    let usage = AuditEvent {
        action: "analyze".to_owned(),
        record_count: 50,
        subjects: both.clone(),
        ..entry("alice", at(150))
    };
    let listed = AuditEvent {
        table: "meters".to_owned(),
        record_count: 2,
        subjects: both,
        ..entry("alice", at(151))
    };
    let found = tallied(&[usage, listed, entry("alice", at(152))]);
    let of_a: Vec<_> = found.meters.meters["m_a"]
        .iter()
        .map(|act| {
            (
                &*act.action,
                &*act.table,
                act.sum.records,
                act.shared_records,
            )
        })
        .collect();
    assert_eq!(
        of_a,
        [
            ("analyze", "readings", 0, 50),
            ("read", "meters", 1, 0),
            ("read", "readings", 1, 0)
        ]
    );
    assert_eq!(found.meters.meters["m_b"].len(), 2);
}

#[test]
fn names_without_end_are_counted_together() {
    let from = |number: usize| AuditEvent {
        source_ip: format!("2001:db8::{number:x}"),
        ..entry("alice", at(150))
    };
    let events: Vec<_> = (0..tally::NAMES + 5).map(from).collect();
    let found = tallied(&events);
    assert_eq!(found.peers.len(), tally::NAMES + 1);
    assert_eq!(found.peers[tally::OTHERS].acts, 5);
}
