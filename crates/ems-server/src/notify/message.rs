//! An alert in the forms of its channels: JSON, a syslog message, a mail.

use ems_guard::alert::{Alert, Reason};
use serde_json::json;

use super::{
    rfc5424::{Facility, Message},
    spool::Waiting,
};

/// As JSON: every channel that reads it can drop what it has seen by its `id`.
pub(super) fn json(waiting: &Waiting, instance: &str) -> String {
    let Alert {
        reason,
        rule,
        event,
        count,
        first,
        last,
        address,
        user,
        request_id,
    } = &waiting.alert;
    json!({
        "id": waiting.id,
        "reason": reason,
        "rule": rule,
        "event": event,
        "count": count,
        "first": first,
        "last": last,
        "address": address,
        "user": user,
        "request_id": request_id,
        "instance": instance,
    })
    .to_string()
}

/// As a syslog message.
pub(super) fn syslog(waiting: &Waiting, instance: &str) -> String {
    let alert = &waiting.alert;
    let severity = if alert.reason == Reason::Test { 5 } else { 3 };
    let (count, first, last) = (
        alert.count.to_string(),
        alert.first.to_string(),
        alert.last.to_string(),
    );
    let message = Message {
        facility: Facility::Security,
        severity,
        at: alert.last,
        host: instance,
        kind: "alert",
        fields: &[
            ("id", &waiting.id),
            ("rule", &alert.rule),
            ("event", &alert.event),
            ("count", &count),
            ("first", &first),
            ("last", &last),
            ("address", &alert.address),
            ("user", &alert.user),
            ("requestId", &alert.request_id),
        ],
        text: &summary(alert),
    };
    message.render()
}

/// One line that says it.
pub(super) fn summary(alert: &Alert) -> String {
    let Alert {
        rule,
        event,
        count,
        address,
        ..
    } = alert;
    match alert.reason {
        Reason::Test => "This is a test: the channel works.".to_owned(),
        Reason::Alert => format!("{rule}: {event}, {count} from {address}"),
        Reason::Repeated => format!("{rule}: {event}, {count} more from {address}"),
        Reason::Limited => {
            format!("{rule}: {event}, {count} from {address} that were past the channel's bound")
        }
    }
}

/// The text of a mail.
pub(super) fn text(waiting: &Waiting, instance: &str) -> String {
    let alert = &waiting.alert;
    let lines = [
        ("instance", instance.to_owned()),
        ("rule", alert.rule.clone()),
        ("event", alert.event.clone()),
        ("count", alert.count.to_string()),
        ("first", alert.first.to_string()),
        ("last", alert.last.to_string()),
        ("address", alert.address.clone()),
        ("user", alert.user.clone()),
        ("request", alert.request_id.clone()),
        ("id", waiting.id.clone()),
    ];
    let lines = lines.map(|(name, value)| format!("{name:9} {}\n", plain(&value)));
    format!("{}\n\n{}", plain(&summary(alert)), lines.concat())
}

/// Text that is one line.
pub(super) fn plain(text: &str) -> String {
    let visible = |character: char| {
        if character.is_control() {
            '?'
        } else {
            character
        }
    };
    text.chars().map(visible).collect()
}
