//! A flood of one kind is counted, not repeated.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{journal::Body, testing::act};

fn event(address: &str) -> Event {
    let mut by = act(0);
    by.source_ip = address.into();
    Event::of(&by, Body::api_access(&by, "/", "GET", 200))
}

fn kind() -> Kind<'static> {
    Kind::new("api_access", "/", 200)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn value(event: &Event) -> Value {
    serde_json::to_value(event).unwrap()
}

#[test]
fn a_hundred_of_one_caller_are_written_and_the_rest_is_one_line() {
    let mut floods = Floods::new();
    let admit = |floods: &mut Floods, who: &str, now| {
        floods
            .admit(kind(), (who, "a"), now, || event("a"))
            .is_some()
    };
    let written = (0..250)
        .filter(|_| admit(&mut floods, "x", seconds(1)))
        .count();
    assert_eq!(written, 100);
    assert!(
        admit(&mut floods, "y", seconds(1)),
        "another caller is another kind"
    );
    assert!(
        floods.drain(seconds(10), false).is_empty(),
        "the interval is not over"
    );
    let summaries = floods.drain(seconds(11), false);
    let counts: Vec<_> = summaries
        .iter()
        .map(|event| value(event)["suppressed"].clone())
        .collect();
    assert_eq!(counts, [150]);
    assert!(
        admit(&mut floods, "x", seconds(11)),
        "a new interval begins"
    );
}

#[test]
fn a_flood_from_everywhere_is_one_line_of_nobody() {
    let mut floods = Floods::new();
    let written = (0..5000)
        .filter(|number| {
            let address = format!("a{number}");
            let event = || event(&address);
            floods
                .admit(kind(), ("", &address), seconds(0), event)
                .is_some()
        })
        .count();
    assert_eq!(written, 1000);
    let summaries = floods.drain(seconds(10), false);
    assert_eq!(summaries.len(), 1);
    let summary = value(&summaries[0]);
    assert_eq!(
        (&summary["suppressed"], &summary["ip_address"]),
        (&4000.into(), &"various".into())
    );
    assert_eq!(summary["user"], "anonymous");
}

#[test]
fn callers_that_are_told_apart_are_bounded_and_none_is_uncounted() {
    let mut floods = Floods::new();
    let total = MOST * 2;
    let mut written = 0;
    for number in 0..total {
        let address = number.to_string();
        let admitted = floods.admit(kind(), ("", &address), seconds(0), || event("a"));
        written += u64::from(admitted.is_some());
    }
    assert!(floods.slots.len() <= MOST + 1);
    let suppressed: u64 = floods
        .drain(seconds(10), false)
        .iter()
        .map(|event| value(event)["suppressed"].as_u64().unwrap())
        .sum();
    assert_eq!(written + suppressed, u64::try_from(total).unwrap());
    assert!(floods.slots.is_empty());
}

proptest! {
    #[test]
    fn every_event_is_written_or_counted(
        steps in prop::collection::vec((0_u64..4, 0_usize..3, 1_usize..150), 1..60),
    ) {
        let mut floods = Floods::new();
        let (mut now, mut total, mut written, mut counted) = (0, 0_u64, 0_u64, 0_u64);
        for (wait, who, repeats) in steps {
            now += wait;
            let who = ["a", "b", "c"][who];
            for _ in 0..repeats {
                total += 1;
                let admitted = floods.admit(kind(), (who, "x"), seconds(now), || event("x"));
                written += u64::from(admitted.is_some());
            }
            if wait == 0 {
                for event in floods.drain(seconds(now), false) {
                    counted += value(&event)["suppressed"].as_u64().unwrap();
                }
            }
        }
        for event in floods.drain(seconds(now), true) {
            counted += value(&event)["suppressed"].as_u64().unwrap();
        }
        prop_assert_eq!(written + counted, total);
    }
}
