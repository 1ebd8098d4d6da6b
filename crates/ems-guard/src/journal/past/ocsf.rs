//! Lines in OCSF read back, as `journal/ocsf.rs` writes them.

use ems_core::time::Timestamp;
use serde_json::{Map, Value};

use super::PastEvent;

/// Reads a line; `None` for one that is no OCSF line of `security.log`.
pub(super) fn parse(line: &[u8]) -> Option<PastEvent> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let at = |path: &str| line.pointer(path);
    let text = |path: &str| at(path).and_then(Value::as_str).map(str::to_owned);
    let object = |path: &str| at(path).and_then(Value::as_object).cloned();
    let event = PastEvent {
        timestamp: milliseconds(at("/time")?)?,
        event_type: String::new(),
        violation_type: None,
        action: None,
        user: text("/actor/user/name").or_else(|| text("/user/name"))?,
        ip_address: source(&line).or_else(|| source(at("/evidences/0")?))?,
        success: None,
        endpoint: None,
        method: None,
        status_code: None,
        details: None,
        additional_data: None,
        request_id: text("/metadata/uid").unwrap_or_default(),
        suppressed: at("/count").and_then(Value::as_u64),
    };
    match at("/class_uid").and_then(Value::as_u64)? {
        3002 => Some(PastEvent {
            event_type: "authentication".into(),
            action: Some(text("/unmapped/action")?),
            success: at("/status_id").map(|status| status == 1),
            additional_data: object("/unmapped/additional_data"),
            ..event
        }),
        // Without one it is an entry of the ledger.
        6003 => Some(PastEvent {
            event_type: "api_access".into(),
            endpoint: Some(text("/http_request/url/path")?),
            method: text("/http_request/http_method"),
            status_code: at("/http_response/code")
                .and_then(Value::as_u64)
                .and_then(|code| u16::try_from(code).ok()),
            ..event
        }),
        2004 => Some(PastEvent {
            event_type: "security_violation".into(),
            violation_type: Some(text("/finding_info/title")?),
            details: object("/unmapped/details").or_else(|| Some(Map::new())),
            ..event
        }),
        _ => None,
    }
}

/// The client's address, or what stands in its place.
fn source(of: &Value) -> Option<String> {
    let endpoint = of.get("src_endpoint")?;
    let named = endpoint.get("ip").or_else(|| endpoint.get("name"))?;
    named.as_str().map(str::to_owned)
}

fn milliseconds(time: &Value) -> Option<Timestamp> {
    Timestamp::from_micros(time.as_i64()?.checked_mul(1000)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Act,
        journal::{
            Violation,
            event::{Body, Event, ViolationBody},
            line, ocsf,
        },
    };

    #[test]
    fn each_kind_of_line_says_the_same_in_both_forms() {
        let act = Act {
            at: Timestamp::from_micros(1_767_225_600_123_000).unwrap(),
            user: "alice".into(),
            source_ip: "203.0.113.9".into(),
            request_id: "r1".into(),
        };
        let more = || Map::from_iter([("reason".to_owned(), json!("forged"))]);
        let violation = ViolationBody::new(&act, Violation::ForgedCredential, more());
        for body in [
            Body::authentication(&act, "login", false, more()),
            Body::authentication(&act, "logout", true, Map::new()),
            Body::api_access(&act, "/api/v1/data/{meter_id}", "GET", 404),
            Body::SecurityViolation(violation),
        ] {
            for count in [None, Some(7)] {
                let event = Event::of(&act, body.clone());
                let event = count.map_or(event.clone(), |count| event.summary(count));
                let guide = line::render(&event).unwrap();
                let other = line::render(&ocsf::event(&event)).unwrap();
                let expected = PastEvent::parse(&guide).unwrap();
                assert_eq!(PastEvent::parse(&other), Some(expected), "{body:?}");
            }
        }
        let entry = br#"{"timestamp":"2026-01-01T00:00:00Z","user":"alice","action":"read","table":"meters","source_ip":"203.0.113.9"}"#;
        let audit = line::render(&ocsf::entry(0, entry).unwrap()).unwrap();
        assert_eq!(PastEvent::parse(&audit), None);
    }
}
