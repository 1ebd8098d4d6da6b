//! Both logs as a reader finds them: one JSON object a line, whatever came from outside.

use std::{net::Ipv4Addr, os::unix::fs::PermissionsExt as _};

use super::*;

fn options(dir: &Path) -> JournalOptions {
    JournalOptions {
        dir: dir.to_owned(),
        rotate_bytes: 1 << 20,
        keep: 2,
        level: Level::Info,
    }
}

fn source(user: &str) -> Source<'_> {
    Source {
        user,
        address: Ipv4Addr::new(192, 0, 2, 7).into(),
        request_id: "r-1",
        at: Timestamp::MIN,
    }
}

/// The lines written by `play`, once the journal is closed.
fn lines(play: impl FnOnce(&Journal)) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(options(dir.path())).unwrap();
    play(&journal);
    let path = dir.path().join("security.log");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o027, 0, "no more than 0640: {mode:o}");
    drop(journal);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.is_empty() || std::time::Instant::now() > deadline {
            return text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
        }
        std::thread::yield_now();
    }
}

#[test]
fn events_have_the_guides_names() {
    let lines =
        lines(|journal| journal.api_access(source("alice"), "/api/v1/data/{meter_id}", "GET", 404));
    let expected = serde_json::json!({
        "timestamp": "1970-01-01T00:00:00Z", "level": "WARNING", "event_type": "api_access", "user": "alice",
        "ip_address": "192.0.2.7", "endpoint": "/api/v1/data/{meter_id}", "method": "GET", "status_code": 404,
        "request_id": "r-1",
    });
    assert_eq!(lines, [expected]);
}

#[test]
fn text_from_outside_forges_no_line() {
    let name = "a\n{\"level\":\"INFO\"}\r\u{2028}\u{85}\u{1b}[2J\u{202e}";
    let lines = lines(|journal| journal.authentication(source(name), "login", false, Value::Null));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["user"], name);
    assert_eq!(lines[0]["level"], "WARNING");
}

#[test]
fn a_line_has_no_control_character_in_it() {
    let mut fields = Map::new();
    fields.insert("user".into(), "\u{85}\u{2028}\u{9b}\u{7f}\n".into());
    let line = line::line(Timestamp::MIN, Level::Info, "api_access", fields);
    assert!(line.ends_with('\n') && !line[..line.len() - 1].chars().any(char::is_control));
}

#[test]
fn a_flood_of_one_kind_is_counted_not_repeated() {
    let mut flood = Flood::default();
    let mut written = 0;
    for _ in 0..1000 {
        let event = Event {
            at: Timestamp::MIN,
            level: Level::Error,
            event_type: "security_violation",
            flood_key: Some("k".into()),
            fields: Map::new(),
        };
        flood.pass(event, &mut |_| written += 1);
    }
    assert_eq!(written, 20);
}
