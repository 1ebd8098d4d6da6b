//! `audit.log` follows the ledger and goes on where its last line ends.

use std::path::Path;

use ems_core::audit::{AuditKind, Change};
use ems_store::Batch;
use serde_json::Value;
use tokio::sync::oneshot;

use super::*;
use crate::testing::{House, act};

fn options(dir: &Path, rotate_bytes: u64) -> Options {
    Options {
        dir: dir.to_owned(),
        rotate_bytes,
        keep: 100,
        form: Form::Guide,
    }
}

async fn note(house: &House, count: usize) {
    for _ in 0..count {
        let event = act(0).event(AuditKind::DataAccess, "read", "readings");
        house.store.commit.commit(Batch::note(event)).await.unwrap();
    }
}

/// Renders what is there.
async fn render(house: &House, options: Options) {
    let log = AuditLog::new(options, Arc::default());
    follow(log, house.store.ledger.clone(), async {})
        .await
        .unwrap();
}

fn indexes(path: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| Indexed::of(line.as_bytes()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_line_has_the_guides_fields_and_the_entrys_index() {
    let house = House::new();
    note(&house, 1).await;
    let change = Change {
        component: "user:alice".into(),
        old_value: "{}".into(),
        new_value: "{\"disabled\":true}".into(),
    };
    let event = act(1).change("update", "users", change);
    house.store.commit.commit(Batch::note(event)).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    render(&house, options(dir.path(), 0)).await;
    let text = std::fs::read_to_string(dir.path().join("audit.log")).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let read = serde_json::json!({
        "index": 0, "timestamp": "2026-01-01T00:00:00Z", "level": "INFO",
        "event_type": "data_access", "user": "root", "action": "read", "table": "readings",
        "record_count": 1, "filters": {}, "source_ip": "192.0.2.1", "request_id": "r",
    });
    let changed = serde_json::json!({
        "index": 1, "timestamp": "2026-01-01T00:00:01Z", "level": "INFO",
        "event_type": "configuration_change", "user": "root", "action": "update",
        "table": "users", "record_count": 1, "filters": {}, "source_ip": "192.0.2.1",
        "request_id": "r", "component": "user:alice", "old_value": "{}",
        "new_value": "{\"disabled\":true}",
    });
    assert_eq!(lines, [read, changed]);
}

#[tokio::test]
async fn goes_on_after_a_restart_where_the_last_whole_line_ends() {
    let house = House::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    note(&house, 3).await;
    render(&house, options(dir.path(), 0)).await;
    let text = std::fs::read_to_string(&path).unwrap();
    // A crash in the middle of the third line.
    std::fs::write(&path, &text[..text.len() - 20]).unwrap();
    note(&house, 2).await;
    render(&house, options(dir.path(), 0)).await;
    assert_eq!(indexes(&path), [0, 1, 2, 3, 4]);
    render(&house, options(dir.path(), 0)).await;
    assert_eq!(indexes(&path), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn nothing_is_missing_or_doubled_over_files_set_aside() {
    let house = House::new();
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        note(&house, 7).await;
        render(&house, options(dir.path(), 600)).await;
    }
    let files = std::fs::read_dir(dir.path()).unwrap();
    let mut all: Vec<u64> = files
        .flat_map(|file| indexes(&file.unwrap().path()))
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_log_of_another_ledger_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    for count in [5, 2] {
        let house = House::new();
        note(&house, count).await;
        render(&house, options(dir.path(), 0)).await;
    }
    assert_eq!(indexes(&dir.path().join("audit.log.1")), [0, 1, 2, 3, 4]);
    assert_eq!(indexes(&dir.path().join("audit.log")), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follows_while_entries_come_and_catches_up_before_it_stops() {
    let house = House::new();
    let dir = tempfile::tempdir().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let log = AuditLog::new(options(dir.path(), 0), Arc::default());
    let ledger = house.store.ledger.clone();
    let follower = tokio::spawn(follow(log, ledger, async move {
        let _ = stopped.await;
    }));
    note(&house, 1500).await;
    stop.send(()).unwrap();
    follower.await.unwrap().unwrap();
    assert_eq!(
        indexes(&dir.path().join("audit.log")),
        (0..1500).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_at_the_start_is_an_error_that_names_it() {
    let house = House::new();
    note(&house, 1).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("audit.log")).unwrap();
    let log = AuditLog::new(options(dir.path(), 0), Arc::default());
    let failed = follow(log, house.store.ledger.clone(), async {}).await;
    assert!(failed.unwrap_err().to_string().contains("audit.log"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_is_tried_again_until_nothing_is_missing() {
    let house = House::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let wishes: Arc<AtomicU64> = Arc::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let log = AuditLog::new(options(dir.path(), 0), wishes.clone());
    let follower = tokio::spawn(follow(log, house.store.ledger.clone(), async move {
        let _ = stopped.await;
    }));
    note(&house, 2).await;
    while !path.exists() || indexes(&path).len() < 2 {
        tokio::task::yield_now().await;
    }
    // Away with the file, and something in its place that cannot be written.
    std::fs::rename(&path, dir.path().join("audit.log.1")).unwrap();
    std::fs::create_dir(&path).unwrap();
    wishes.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    note(&house, 3).await;
    std::fs::remove_dir(&path).unwrap();
    while !path.exists() || indexes(&path).len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(indexes(&path), [2, 3, 4]);
    stop.send(()).unwrap();
    follower.await.unwrap().unwrap();
}

#[tokio::test]
async fn goes_on_where_it_was_when_the_form_of_the_lines_changes() {
    let house = House::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    for form in [Form::Guide, Form::Ocsf, Form::Ocsf, Form::Guide] {
        note(&house, 3).await;
        let options = Options {
            form,
            ..options(dir.path(), 0)
        };
        render(&house, options).await;
    }
    assert_eq!(indexes(&path), (0..12).collect::<Vec<_>>());
    let text = std::fs::read_to_string(&path).unwrap();
    let ocsf = text.lines().filter(|line| line.contains("\"class_uid\""));
    assert_eq!(ocsf.count(), 6);
}
