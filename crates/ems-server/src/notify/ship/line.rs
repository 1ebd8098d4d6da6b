//! A line of a log in the forms of its receivers. The line itself stays as it is in the file.

use ems_core::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::follow::Line;
use crate::{
    config::ShippedLog,
    notify::rfc5424::{Facility, Message},
};

/// What is read of a line, of either form.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Facts {
    timestamp: Option<Timestamp>,
    level: String,
    /// OCSF's, in milliseconds.
    time: Option<i64>,
    severity_id: u32,
}

impl Facts {
    fn of(line: &Line) -> Self {
        serde_json::from_str(&line.text).unwrap_or_default()
    }

    fn at(&self) -> Timestamp {
        let ocsf = || Timestamp::saturating_from_micros(self.time?.saturating_mul(1000)).into();
        self.timestamp.or_else(ocsf).unwrap_or(Timestamp::MIN)
    }

    /// The severity of syslog (RFC 5424) and the number and name of OpenTelemetry's.
    fn severity(&self) -> (u8, u8, &'static str) {
        match (self.level.as_str(), self.severity_id) {
            ("ERROR", _) | (_, 4..) => (3, 17, "ERROR"),
            ("WARNING", _) | (_, 2..=3) => (4, 13, "WARN"),
            _ => (6, 9, "INFO"),
        }
    }
}

/// As a syslog message.
pub(super) fn syslog(log: ShippedLog, instance: &str, line: &Line) -> String {
    let facts = Facts::of(line);
    let message = Message {
        facility: match log {
            ShippedLog::Security => Facility::Security,
            ShippedLog::Audit => Facility::Audit,
        },
        severity: facts.severity().0,
        at: facts.at(),
        host: instance,
        kind: log.as_str(),
        fields: &[("log", log.as_str()), ("id", &line.id)],
        text: &line.text,
    };
    message.render()
}

/// Lines as the body of an OTLP export (`ExportLogsServiceRequest`, in OTLP's JSON).
pub(super) fn otlp(log: ShippedLog, instance: &str, lines: &[Line]) -> Value {
    let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    let name = format!("{}.log", log.as_str());
    let records = lines.iter().map(|line| {
        let facts = Facts::of(line);
        let (_, number, severity) = facts.severity();
        let nanos = format!("{}000", facts.at().as_micros());
        json!({
            "timeUnixNano": nanos,
            "observedTimeUnixNano": nanos,
            "severityNumber": number,
            "severityText": severity,
            "body": {"stringValue": line.text},
            "attributes": [text("log.record.uid", &line.id), text("log.file.name", &name)],
        })
    });
    json!({"resourceLogs": [{
        "resource": {"attributes": [text("service.name", "ems-agent"), text("host.name", instance)]},
        "scopeLogs": [{"scope": {"name": "ems"}, "logRecords": records.collect::<Vec<_>>()}],
    }]})
}
