//! The contract suite: what every backend must do, in one place. A backend's tests hand in a way to
//! open it on the same data again and again.

mod history;
mod repeated;
mod superseded;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use ems_core::{
    audit::{AuditEvent, AuditKind},
    clock::Clock,
    meter::MeterId,
    quantity::{Kwh, Location, PowerFactor},
    reading::{Reading, ReadingBatch},
    time::{TimeRange, Timestamp},
};

use crate::{
    Batch, Columns, Counts, Deletion, Error, Expect, RecordChange, Store, Table, subject::Subject,
};

pub(crate) use self::{
    history::{Step, agrees_with_sorted_maps},
    repeated::{
        a_request_sent_again_is_answered_as_before,
        the_same_request_many_times_at_once_is_done_once,
    },
    superseded::replaced_values_are_kept_with_their_time_out_of_the_way,
};

/// A clock whose hand is turned by the test.
#[derive(Default)]
pub(crate) struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::saturating_from_micros(self.0.fetch_add(1, Ordering::SeqCst))
    }
}

/// Opens the backend on the same data.
pub(crate) type Open<'a> = &'a dyn Fn() -> Store;

pub(crate) fn meter(name: &str) -> MeterId {
    MeterId::parse(name).unwrap()
}

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

pub(crate) fn range(start: i64, end: i64) -> TimeRange {
    TimeRange::new(at(start), at(end)).unwrap()
}

pub(crate) fn reading(micros: i64, kwh: f64) -> Reading {
    Reading {
        at: at(micros),
        energy: Kwh::new(kwh).unwrap(),
        power_factor: None,
        location: None,
    }
}

pub(crate) fn event(action: &str) -> AuditEvent {
    AuditEvent {
        timestamp: at(0),
        event_type: AuditKind::DataAccess,
        user: "alice".into(),
        action: action.into(),
        table: "readings".into(),
        record_count: 0,
        filters: serde_json::json!({}),
        subjects: vec![],
        source_ip: "192.0.2.1".into(),
        request_id: "r".into(),
        change: None,
    }
}

pub(crate) fn batch(rows: &[(&str, i64, f64)]) -> Batch {
    let mut readings = ReadingBatch::new();
    for (name, micros, kwh) in rows {
        readings.push(meter(name), reading(*micros, *kwh));
    }
    Batch {
        readings,
        ledger: vec![event("write")],
        ..Batch::default()
    }
}

/// All readings of a meter in a range, piece by piece.
pub(crate) async fn scan(store: &Store, name: &str, range: TimeRange) -> Vec<Reading> {
    let (mut rows, mut rest) = (Vec::new(), Some(range));
    while let Some(range) = rest {
        let piece = store
            .segments
            .scan(&meter(name), range, Columns::All)
            .await
            .unwrap();
        assert!(piece.until > range.start(), "a piece goes forward");
        rows.extend(piece.block.iter());
        rest = TimeRange::new(piece.until, range.end());
    }
    rows
}

async fn pairs(store: &Store, name: &str) -> Vec<(i64, f64)> {
    let rows = scan(store, name, TimeRange::ALL).await;
    rows.iter()
        .map(|row| (row.at.as_micros(), row.energy.get()))
        .collect()
}

fn counts(accepted: u64, unchanged: u64, corrected: u64) -> Counts {
    Counts {
        accepted,
        unchanged,
        corrected,
    }
}

pub(crate) async fn counts_what_each_reading_was(open: Open<'_>) {
    let store = open();
    let rows = [
        ("a", 10, 1.0),
        ("a", 20, 2.0),
        ("a", 10, 1.0),
        ("b", 10, 5.0),
        ("a", 20, 3.0),
    ];
    assert_eq!(
        store.commit.commit(batch(&rows)).await.unwrap().counts,
        counts(3, 1, 1)
    );
    assert_eq!(
        store.commit.commit(batch(&rows[..2])).await.unwrap().counts,
        counts(0, 1, 1)
    );
    store.segments.fold().await.unwrap();
    assert_eq!(
        store
            .commit
            .commit(batch(&[("a", 10, 1.0), ("a", 20, 9.0), ("a", 15, 4.0)]))
            .await
            .unwrap()
            .counts,
        counts(1, 1, 1)
    );
    assert_eq!(pairs(&store, "a").await, [(10, 1.0), (15, 4.0), (20, 9.0)]);
    let known = store.segments.statistics(&meter("a")).await.unwrap();
    assert_eq!((known.readings, known.span), (3, Some((at(10), at(20)))));
    assert_eq!(
        store
            .segments
            .statistics(&meter("z"))
            .await
            .unwrap()
            .readings,
        0
    );
    store.commit.close().await.unwrap();
}

pub(crate) async fn a_reading_comes_back_whole_after_a_reopen(open: Open<'_>) {
    let whole = Reading {
        at: at(1_000_001),
        energy: Kwh::new(0.1 + 0.2).unwrap(),
        power_factor: Some(PowerFactor::new(1.0 / 3.0).unwrap()),
        location: Some(Location::parse("Sceaux, France").unwrap()),
    };
    let store = open();
    let readings = ReadingBatch::of(meter("m"), whole.clone());
    store
        .commit
        .commit(Batch {
            readings,
            ..Batch::default()
        })
        .await
        .unwrap();
    assert_eq!(
        scan(&store, "m", TimeRange::ALL).await,
        std::slice::from_ref(&whole)
    );
    store.commit.close().await.unwrap();
    drop(store);
    let store = open();
    assert_eq!(scan(&store, "m", TimeRange::ALL).await, [whole]);
    store.commit.close().await.unwrap();
    assert!(matches!(
        store.commit.commit(Batch::note(event("late"))).await,
        Err(Error::Unavailable(_))
    ));
}

pub(crate) async fn deletes_count_and_hide_what_they_cover(open: Open<'_>) {
    let store = open();
    store
        .commit
        .commit(batch(&[("d", 10, 1.0), ("d", 20, 2.0), ("d", 30, 3.0)]))
        .await
        .unwrap();
    store.segments.fold().await.unwrap();
    store.commit.commit(batch(&[("d", 25, 2.5)])).await.unwrap();
    let gone = Batch {
        deletions: vec![Deletion {
            meter: meter("d"),
            range: range(20, 30),
        }],
        ledger: vec![event("delete")],
        ..Batch::default()
    };
    assert_eq!(store.commit.commit(gone.clone()).await.unwrap().deleted, 2);
    assert_eq!(store.commit.commit(gone).await.unwrap().deleted, 0);
    assert_eq!(pairs(&store, "d").await, [(10, 1.0), (30, 3.0)]);
    assert_eq!(
        store
            .commit
            .commit(batch(&[("d", 20, 7.0)]))
            .await
            .unwrap()
            .counts,
        counts(1, 0, 0)
    );
    store.segments.fold().await.unwrap();
    assert_eq!(pairs(&store, "d").await, [(10, 1.0), (20, 7.0), (30, 3.0)]);
    let known = store.segments.statistics(&meter("d")).await.unwrap();
    assert_eq!((known.readings, known.span), (3, Some((at(10), at(30)))));
    let ledger = store.ledger.range(0, 100).await.unwrap();
    let deletes: Vec<u64> = ledger
        .iter()
        .filter(|(_, event)| event.action == "delete")
        .map(|(_, event)| event.record_count)
        .collect();
    assert_eq!(deletes, [2, 0]);
    store.commit.close().await.unwrap();
}

pub(crate) async fn records_change_only_at_the_revision_expected(open: Open<'_>) {
    let store = open();
    let change = |expect, value: Option<&str>| Batch {
        records: vec![RecordChange {
            table: Table::Users,
            id: "u/1".into(),
            expect,
            value: value.map(|v| v.as_bytes().to_vec()),
        }],
        ..batch(&[("r", 1, 1.0)])
    };
    let first = store
        .commit
        .commit(change(Expect::Absent, Some("one")))
        .await
        .unwrap();
    assert!(matches!(
        store
            .commit
            .commit(change(Expect::Absent, Some("two")))
            .await,
        Err(Error::Conflict { .. })
    ));
    let second = store
        .commit
        .commit(change(Expect::Revision(first.revision), Some("two")))
        .await
        .unwrap();
    assert!(second.revision > first.revision);
    assert!(matches!(
        store
            .commit
            .commit(change(Expect::Revision(first.revision), None))
            .await,
        Err(Error::Conflict { .. })
    ));
    let record = store
        .records
        .get(Table::Users, "u/1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (&*record.value, record.revision),
        (b"two".as_slice(), second.revision)
    );
    store
        .commit
        .commit(change(Expect::Any, None))
        .await
        .unwrap();
    assert_eq!(store.records.get(Table::Users, "u/1").await.unwrap(), None);
    store.commit.close().await.unwrap();
}

pub(crate) async fn a_refused_batch_changes_nothing(open: Open<'_>) {
    let store = open();
    let before = *store.ledger.durable().borrow();
    let refused = Batch {
        records: vec![RecordChange {
            table: Table::Keys,
            id: "k".into(),
            expect: Expect::Revision(7),
            value: Some(vec![]),
        }],
        ..batch(&[("x", 1, 1.0)])
    };
    assert!(store.commit.commit(refused).await.is_err());
    assert_eq!(pairs(&store, "x").await, []);
    assert_eq!(store.records.get(Table::Meters, "x").await.unwrap(), None);
    assert_eq!(*store.ledger.durable().borrow(), before);
    store.commit.close().await.unwrap();
}

pub(crate) async fn lists_by_prefix_in_order(open: Open<'_>) {
    let store = open();
    store
        .commit
        .commit(batch(&[
            ("plant7-b", 1, 1.0),
            ("plant7-a", 1, 1.0),
            ("plant70", 1, 1.0),
            ("plant6", 1, 1.0),
        ]))
        .await
        .unwrap();
    let ids = async |prefix: &str, after: Option<&str>, limit| {
        let found = store
            .records
            .list(Table::Meters, prefix, after, limit)
            .await
            .unwrap();
        found
            .iter()
            .map(|record| record.id.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("plant7-", None, 10).await, ["plant7-a", "plant7-b"]);
    assert_eq!(ids("plant7", Some("plant7-a"), 1).await, ["plant7-b"]);
    assert_eq!(
        ids("plant", Some("plant70"), 10).await,
        Vec::<String>::new()
    );
    store.commit.close().await.unwrap();
}

pub(crate) async fn a_pseudonym_is_its_subjects_and_stays(open: Open<'_>) {
    let store = open();
    let of = async |store: &Store, name| {
        store
            .subjects
            .pseudonym(&Subject::Meter(meter(name)))
            .await
            .unwrap()
    };
    assert_eq!(of(&store, "p1").await, None);
    store
        .commit
        .commit(batch(&[("p1", 1, 1.0), ("p2", 1, 1.0)]))
        .await
        .unwrap();
    let (one, two) = (
        of(&store, "p1").await.unwrap(),
        of(&store, "p2").await.unwrap(),
    );
    assert!(one.starts_with("m_") && one.len() == 28 && one != two);
    store.commit.close().await.unwrap();
    drop(store);
    let store = open();
    assert_eq!(of(&store, "p1").await, Some(one));
    store.commit.close().await.unwrap();
}

pub(crate) async fn many_at_once_are_each_counted_once(open: Open<'_>) {
    let store = open();
    let tasks: Vec<_> = (0..64_i64)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut sum = 0;
                for step in 0..20 {
                    // Every reading is sent by two tasks: one of them finds it there.
                    let micros = (task / 2) * 1000 + step;
                    sum += store
                        .commit
                        .commit(batch(&[("c", micros, 1.0)]))
                        .await
                        .unwrap()
                        .counts
                        .accepted;
                }
                sum
            })
        })
        .collect();
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await.unwrap();
    }
    assert_eq!(
        (accepted, pairs(&store, "c").await.len()),
        (32 * 20, 32 * 20)
    );
    assert_eq!(*store.ledger.durable().borrow(), 64 * 20);
    store.commit.close().await.unwrap();
}

/// A clock for a backend under test.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(Hand::default())
}

pub(crate) async fn a_meter_may_be_described_before_its_first_reading(open: Open<'_>) {
    let store = open();
    let described = Batch {
        records: vec![RecordChange {
            table: Table::Meters,
            id: "d1".into(),
            expect: Expect::Absent,
            value: Some(br#"{"site":"north"}"#.to_vec()),
        }],
        ..Batch::default()
    };
    store.commit.commit(described).await.unwrap();
    let name = store
        .subjects
        .pseudonym(&Subject::Meter(meter("d1")))
        .await
        .unwrap();
    assert!(name.is_some());
    let record = store
        .records
        .get(Table::Meters, "d1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&*record.value, br#"{"site":"north"}"#);
    let outcome = store.commit.commit(batch(&[("d1", 1, 1.0)])).await.unwrap();
    assert_eq!(outcome.counts.accepted, 1);
    store.commit.close().await.unwrap();
    drop(store);
    let store = open();
    let record = store
        .records
        .get(Table::Meters, "d1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&*record.value, br#"{"site":"north"}"#);
    assert_eq!(
        store
            .segments
            .statistics(&meter("d1"))
            .await
            .unwrap()
            .readings,
        1
    );
    store.commit.close().await.unwrap();
}
