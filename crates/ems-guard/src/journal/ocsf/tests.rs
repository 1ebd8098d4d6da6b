//! Lines against what the schema requires of each class, written out here a second time.

use ems_core::audit::{AuditKind, Change};
use serde_json::json;

use super::*;
use crate::{Act, journal::Violation, testing::act};

/// What the schema has as `required`, and of each constraint `at_least_one` what we fill: from
/// `events/base_event.json`, `iam/authentication.json`, `application/api_activity.json`,
/// `findings/finding.json`, and `objects/{metadata,product,api,actor,user,network_endpoint,
/// finding_info}.json` of <https://github.com/ocsf/ocsf-schema>.
const BASE: [&str; 9] = [
    "/activity_id",
    "/category_uid",
    "/class_uid",
    "/metadata/version",
    "/metadata/product/vendor_name",
    "/metadata/product/name",
    "/severity_id",
    "/time",
    "/type_uid",
];
const REQUIRED: [(u32, &[&str]); 3] = [
    (3002, &["/user/name", "/service/name", "/src_endpoint"]),
    (
        6003,
        &["/actor/user/name", "/api/operation", "/src_endpoint"],
    ),
    (
        2004,
        &[
            "/finding_info/uid",
            "/finding_info/title",
            "/evidences/0/actor/user/name",
            "/evidences/0/src_endpoint",
        ],
    ),
];
/// Every attribute that a class has, of those that we write.
const KNOWN: [&str; 23] = [
    "activity_id",
    "activity_name",
    "actor",
    "api",
    "category_uid",
    "class_uid",
    "count",
    "evidences",
    "finding_info",
    "http_request",
    "http_response",
    "is_alert",
    "is_remote",
    "metadata",
    "resources",
    "service",
    "severity_id",
    "src_endpoint",
    "status_code",
    "status_id",
    "time",
    "type_uid",
    "user",
];

fn holds(line: &Value) {
    let class = line["class_uid"].as_u64().unwrap();
    let (_, required) = REQUIRED
        .iter()
        .find(|(uid, _)| u64::from(*uid) == class)
        .unwrap();
    for path in BASE.iter().chain(*required) {
        assert!(line.pointer(path).is_some(), "{path} of {line}");
    }
    for name in line.as_object().unwrap().keys() {
        assert!(
            name == "unmapped" || KNOWN.contains(&name.as_str()),
            "{name}"
        );
    }
    let activity = line["activity_id"].as_u64().unwrap();
    assert_eq!(line["type_uid"], class * 100 + activity);
    assert_eq!(line["category_uid"], class / 1000);
}

fn access(method: &str, status: u16) -> Value {
    let body = Body::api_access(&act(0), "/api/v1/meters", method, status);
    event(&Event::of(&act(0), body))
}

fn authentication(action: &str, success: bool) -> Value {
    let body = Body::authentication(&act(0), action, success, members(json!({"reason": "x"})));
    event(&Event::of(&act(0), body))
}

#[test]
fn every_kind_of_line_has_what_the_schema_requires_and_nothing_it_does_not_know() {
    for action in ["login", "logout", "refresh"] {
        holds(&authentication(action, true));
        holds(&authentication(action, false));
    }
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OTHER"] {
        holds(&access(method, 200));
    }
    for violation in Violation::ALL {
        let details = members(json!({"endpoint": "/api/v1/data"}));
        let body = ViolationBody::new(&act(0), violation, details);
        let told = Event::of(&act(0), Body::SecurityViolation(body));
        holds(&event(&told));
        holds(&event(&told.of_many().summary(7)));
    }
    let change = Change {
        component: "user:alice".into(),
        old_value: "{}".into(),
        new_value: "{}".into(),
    };
    for noted in [
        act(0).event(AuditKind::DataAccess, "read", "readings"),
        Act::system(act(0).at).event(AuditKind::Authentication, "expire", "sessions"),
        act(0).change("update", "users", change),
    ] {
        holds(&entry(3, &serde_json::to_vec(&noted).unwrap()).unwrap());
    }
}

#[test]
fn ids_say_what_was_done_and_how_it_ended() {
    let told = |line: &Value| {
        let number = |name: &str| line[name].as_u64().unwrap();
        (
            number("type_uid"),
            number("severity_id"),
            number("status_id"),
        )
    };
    for (line, expected) in [
        (authentication("login", true), (300_201, 1, 1)),
        (authentication("login", false), (300_201, 3, 2)),
        (authentication("logout", true), (300_202, 1, 1)),
        (authentication("refresh", true), (300_299, 1, 1)),
        (access("GET", 200), (600_302, 1, 1)),
        (access("POST", 201), (600_301, 1, 1)),
        (access("PATCH", 422), (600_303, 3, 2)),
        (access("DELETE", 404), (600_304, 3, 2)),
        (access("OTHER", 405), (600_399, 3, 2)),
    ] {
        assert_eq!(told(&line), expected, "{line}");
    }
}

#[test]
fn a_finding_says_who_from_where_and_how_often() {
    let body = ViolationBody::new(&act(1), Violation::IpBlocked, Map::new());
    let line = event(&Event::of(&act(1), Body::SecurityViolation(body)).summary(40));
    assert_eq!(line["time"], 1_767_225_601_000_u64);
    assert_eq!(
        (&line["count"], &line["severity_id"]),
        (&json!(40), &json!(4))
    );
    assert_eq!(line["actor"]["user"]["name"], "root");
    assert_eq!(line["evidences"][0]["src_endpoint"]["ip"], "192.0.2.1");
    assert_eq!(line["finding_info"]["title"], "ip_blocked");
}

#[test]
fn an_entry_keeps_its_index_its_subjects_and_what_the_schema_has_no_place_for() {
    let mut noted = act(0).event(AuditKind::DataAccess, "read", "readings");
    noted.subjects = vec!["m_1".into(), "m_2".into()];
    noted.record_count = 9;
    let line = entry(41, &serde_json::to_vec(&noted).unwrap()).unwrap();
    assert_eq!(
        (&line["unmapped"]["index"], &line["metadata"]["sequence"]),
        (&json!(41), &json!(41))
    );
    let resources = json!([{"uid": "m_1", "type": "readings"}, {"uid": "m_2", "type": "readings"}]);
    assert_eq!(line["resources"], resources);
    assert_eq!(line["unmapped"]["record_count"], 9);
    assert_eq!(line["metadata"]["uid"], "r");
    assert_eq!(line["type_uid"], 600_302);
    assert!(entry(0, b"no object").is_none());
}
