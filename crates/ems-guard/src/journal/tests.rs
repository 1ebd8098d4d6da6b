//! Events as lines: the guide's names, and no text from outside forges one.

use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use serde_json::json;

use super::*;
use crate::testing::act;

fn open(dir: &Path) -> Journal {
    let options = Options {
        dir: dir.join("log"),
        rotate_bytes: 0,
        keep: 1,
        form: Form::Guide,
    };
    Journal::open(options, None).unwrap()
}

/// The lines that are there when the journal has been closed.
async fn lines(play: impl FnOnce(&Journal)) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    play(&journal);
    journal.close().await;
    read(&dir.path().join("log/security.log"))
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The members of an object.
fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test]
async fn each_event_has_the_guides_fields_and_its_level() {
    let lines = lines(|journal| {
        journal.authentication(&act(0), "login", true, Map::new());
        journal.authentication(
            &act(0),
            "login",
            false,
            map(&json!({"reason": "wrong_password"})),
        );
        journal.api_access(&act(0), "/api/v1/data/{meter_id}", "GET", 399);
        journal.api_access(&act(0), "/api/v1/data/{meter_id}", "GET", 400);
        journal.violation(&act(0), Violation::RefreshTokenReuse, map(&json!({"n": 1})));
    })
    .await;
    let common = |level: &str, event_type: &str| {
        map(&json!({
            "timestamp": "2026-01-01T00:00:00Z",
            "level": level,
            "event_type": event_type,
            "user": "root",
            "ip_address": "192.0.2.1",
            "request_id": "r",
        }))
    };
    let whole = |level, event_type, own: Value| {
        let mut line = common(level, event_type);
        line.extend(map(&own));
        Value::Object(line)
    };
    let access = |status: u16| json!({"endpoint": "/api/v1/data/{meter_id}", "method": "GET", "status_code": status});
    let expected = [
        whole(
            "INFO",
            "authentication",
            json!({"action": "login", "success": true, "additional_data": {}}),
        ),
        whole(
            "WARNING",
            "authentication",
            json!({"action": "login", "success": false, "additional_data": {"reason": "wrong_password"}}),
        ),
        whole("INFO", "api_access", access(399)),
        whole("WARNING", "api_access", access(400)),
        whole(
            "ERROR",
            "security_violation",
            json!({"violation_type": "refresh_token_reuse", "details": {"n": 1, "ip_address": "192.0.2.1"}}),
        ),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn text_from_outside_forges_no_line_and_is_cut() {
    let forged = "x\n{\"level\":\"INFO\"}\r\u{2028}\u{85}\u{1b}[2J\"}";
    let lines = lines(|journal| {
        let mut by = act(0);
        by.user = forged.into();
        journal.authentication(&by, forged, false, map(&json!({forged: forged})));
        by.user = "y".repeat(100_000);
        journal.violation(
            &by,
            Violation::SuspiciousPattern,
            map(&json!({"p": ["z".repeat(100_000)]})),
        );
    })
    .await;
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["user"], &lines[0]["action"]),
        (&json!(forged), &json!(forged))
    );
    assert_eq!(lines[0]["additional_data"][forged], forged);
    assert_eq!(lines[1]["user"].as_str().unwrap().chars().count(), 257);
    assert_eq!(
        lines[1]["details"]["p"].as_str().unwrap().chars().count(),
        257
    );
}

#[tokio::test]
async fn of_a_flood_from_many_threads_every_event_is_written_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(open(dir.path()));
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let journal = Arc::clone(&journal);
            std::thread::spawn(move || {
                for number in 0..5000 {
                    let mut by = act(0);
                    by.source_ip = format!("192.0.2.{}", number % 50);
                    match thread % 2 {
                        0 => journal.violation(&by, Violation::ForgedCredential, Map::new()),
                        _ => journal.authentication(&by, "login", false, Map::new()),
                    }
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    journal.close().await;
    let lines = read(&dir.path().join("log/security.log"));
    for event_type in ["security_violation", "authentication"] {
        let of_type = lines.iter().filter(|line| line["event_type"] == event_type);
        let count: u64 = of_type
            .map(|line| line["suppressed"].as_u64().unwrap_or(1))
            .sum();
        assert_eq!(count, 20_000);
    }
    assert!(lines.len() < 3000, "{}", lines.len());
    assert_eq!(journal.lost(), 0);
}

#[tokio::test]
async fn what_comes_after_the_end_is_counted_as_lost() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    journal.close().await;
    journal.close().await;
    journal.api_access(&act(0), "/health", "GET", 200);
    assert_eq!(journal.lost(), 1);
}

#[tokio::test]
async fn the_log_is_for_its_owner_and_its_group() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).close().await;
    let mode = |path: &str| {
        let metadata = std::fs::metadata(dir.path().join(path)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("log/security.log"), 0o640);
    assert_eq!(mode("log") & 0o027, 0);
}

#[tokio::test]
async fn a_log_moved_away_is_begun_anew_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path());
    let log = dir.path().join("log/security.log");
    let moved = dir.path().join("moved");
    std::fs::rename(&log, &moved).unwrap();
    journal.reopen();
    journal.api_access(&act(0), "/health", "GET", 200);
    journal.close().await;
    assert_eq!((read(&moved).len(), read(&log).len()), (0, 1));
}

#[test]
fn no_two_violations_share_a_name() {
    let names: std::collections::HashSet<_> = Violation::ALL.map(Violation::as_str).into();
    assert_eq!(names.len(), Violation::ALL.len());
}
