//! The lines in the form of the Open Cybersecurity Schema Framework (<https://schema.ocsf.io>): class
//! 3002 Authentication, 6003 API Activity, 2004 Detection Finding.
//!
//! What the schema has no place for is in `unmapped`, under the security guide's names; the index
//! of a ledger entry is there as well, and in `metadata.sequence`.

use std::net::IpAddr;

use ems_core::time::Timestamp;
use serde_json::{Map, Value, json};

use super::event::{Body, Event, ViolationBody};

/// The version of the schema.
const VERSION: &str = "1.5.0";
const AUTHENTICATION: Class = Class {
    uid: 3002,
    category: 3,
};
const API_ACTIVITY: Class = Class {
    uid: 6003,
    category: 6,
};
const DETECTION_FINDING: Class = Class {
    uid: 2004,
    category: 2,
};

/// A class, with the category that it is in.
#[derive(Clone, Copy)]
struct Class {
    uid: u32,
    category: u32,
}

/// What was done: its number in the class, and our name, which the schema asks for with 99.
#[derive(Clone, Copy)]
struct Activity<'a>(u32, &'a str);

/// An activity that the class has no number for.
const OTHER: u32 = 99;
/// `severity_id`.
const INFORMATIONAL: u32 = 1;
const MEDIUM: u32 = 3;
const HIGH: u32 = 4;
/// `status_id` of what succeeded and of what failed; of a finding, the first is "new".
const SUCCESS: u32 = 1;
const FAILURE: u32 = 2;

/// An event of `security.log`.
pub(super) fn event(event: &Event) -> Value {
    let mut line = match event.body() {
        Body::Authentication {
            action,
            user,
            ip_address,
            success,
            additional_data,
        } => {
            let activity = match action.as_str() {
                "login" => Activity(1, action),
                "logout" => Activity(2, action),
                _ => Activity(OTHER, action),
            };
            let mut line = begun(AUTHENTICATION, activity);
            line.extend(members(json!({
                "user": {"name": user},
                "service": {"name": "EMS Agent"},
                "src_endpoint": endpoint(ip_address),
                "is_remote": true,
                "status_id": status(*success),
                "unmapped": {"action": action, "additional_data": additional_data},
            })));
            line
        }
        Body::ApiAccess {
            endpoint: path,
            method,
            user,
            ip_address,
            status_code,
        } => {
            let mut line = begun(API_ACTIVITY, by_method(method));
            line.extend(members(json!({
                "api": {"operation": format!("{method} {path}"),
                        "request": {"uid": event.request_id()}},
                "http_request": {"http_method": method, "url": {"path": path}},
                "http_response": {"code": status_code},
                "src_endpoint": endpoint(ip_address),
                "status_id": status(*status_code < 400),
                "status_code": status_code.to_string(),
            })));
            line.insert("actor".into(), json!({"user": {"name": user}}));
            line
        }
        Body::SecurityViolation(body) => finding(event, body),
    };
    let severity = match event.level() {
        "INFO" => INFORMATIONAL,
        "WARNING" => MEDIUM,
        _ => HIGH,
    };
    line.insert("severity_id".into(), severity.into());
    line.insert("time".into(), milliseconds(event.at()).into());
    if let Some(count) = event.suppressed() {
        line.insert("count".into(), count.into());
    }
    line.insert("metadata".into(), metadata("security", event.request_id()));
    if matches!(event.body(), Body::SecurityViolation(_))
        && let Some(Value::Object(metadata)) = line.get_mut("metadata")
    {
        // The profile that brings `actor` to a finding.
        metadata.insert("profiles".into(), json!(["host"]));
    }
    Value::Object(line)
}

fn finding(event: &Event, body: &ViolationBody) -> Map<String, Value> {
    let ViolationBody {
        violation_type,
        user,
        ip_address,
        details,
    } = body;
    let mut line = begun(DETECTION_FINDING, Activity(1, violation_type));
    let actor = json!({"user": {"name": user}});
    let mut evidence = members(json!({"actor": actor, "src_endpoint": endpoint(ip_address)}));
    if let Some(Value::String(path)) = details.get("endpoint") {
        let api = json!({"operation": path, "request": {"uid": event.request_id()}});
        evidence.insert("api".into(), api);
    }
    // Several may come of one request, so the request's id alone would not tell them apart.
    let uid = format!("{violation_type}:{}", event.request_id());
    line.extend(members(json!({
        "actor": actor,
        "finding_info": {"uid": uid, "title": violation_type, "types": [violation_type]},
        "evidences": [evidence],
        "is_alert": true,
        "status_id": SUCCESS,
        "unmapped": {"details": details},
    })));
    line
}

/// An entry of the ledger, for `audit.log`. `None` for what is no JSON object.
pub(super) fn entry(index: u64, entry: &[u8]) -> Option<Value> {
    let mut entry: Map<String, Value> = serde_json::from_slice(entry).ok()?;
    let mut take = |name: &str| match entry.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (action, table, user) = (take("action"), take("table"), take("user"));
    let (source, request) = (take("source_ip"), take("request_id"));
    let at = Timestamp::parse(&take("timestamp")).unwrap_or(Timestamp::MIN);
    let mut line = begun(API_ACTIVITY, by_action(&action));
    let resources = match (entry.remove("subjects"), entry.get("component")) {
        (Some(Value::Array(subjects)), _) => subjects
            .into_iter()
            .map(|subject| json!({"uid": subject, "type": table}))
            .collect(),
        (_, Some(component)) => vec![json!({"name": component, "type": table})],
        _ => vec![json!({"name": table, "type": table})],
    };
    // What is left has the guide's names.
    let mut unmapped = members(json!({"index": index, "action": action, "table": table}));
    unmapped.append(&mut entry);
    line.extend(members(json!({
        "severity_id": INFORMATIONAL,
        "status_id": SUCCESS,
        "time": milliseconds(at),
        "actor": {"user": {"name": user}},
        "api": {"operation": format!("{action} {table}"), "request": {"uid": request}},
        "src_endpoint": endpoint(&source),
        "resources": resources,
        "unmapped": unmapped,
    })));
    let mut metadata = metadata("audit", &request);
    if let Value::Object(metadata) = &mut metadata {
        metadata.insert("sequence".into(), index.into());
    }
    line.insert("metadata".into(), metadata);
    Some(Value::Object(line))
}

/// What names the class of a line.
fn begun(class: Class, Activity(number, name): Activity<'_>) -> Map<String, Value> {
    members(json!({
        "class_uid": class.uid,
        "category_uid": class.category,
        "activity_id": number,
        "activity_name": name,
        "type_uid": class.uid * 100 + number,
    }))
}

fn by_method(method: &str) -> Activity<'_> {
    let number = match method {
        "POST" => 1,
        "GET" | "HEAD" => 2,
        "PUT" | "PATCH" => 3,
        "DELETE" => 4,
        _ => OTHER,
    };
    Activity(number, method)
}

fn by_action(action: &str) -> Activity<'_> {
    let number = match action {
        "create" => 1,
        "read" | "analyze" => 2,
        "update" | "rotate" | "change_password" => 3,
        "delete" | "revoke" | "destroy_key" | "expire" => 4,
        _ => OTHER,
    };
    Activity(number, action)
}

fn status(success: bool) -> u32 {
    if success { SUCCESS } else { FAILURE }
}

fn milliseconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1000)
}

/// An address, or the name that stands in its place (`system`, `various`).
fn endpoint(address: &str) -> Value {
    match address.parse::<IpAddr>() {
        Ok(ip) => json!({"ip": ip}),
        Err(_) => json!({"name": address}),
    }
}

fn metadata(log: &str, request_id: &str) -> Value {
    let mut metadata = members(json!({
        "version": VERSION,
        "product": {"name": "EMS Agent", "vendor_name": "EMS Agent",
                    "version": env!("CARGO_PKG_VERSION")},
        "log_name": log,
    }));
    if !request_id.is_empty() {
        metadata.insert("uid".into(), request_id.into());
    }
    Value::Object(metadata)
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
