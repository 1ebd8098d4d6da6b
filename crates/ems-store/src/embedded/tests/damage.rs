//! A store with a damaged value serves the rest, takes what can be told from it, folds what it takes,
//! and names the damage; what is damaged can be deleted and erased.

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::*;
use crate::{
    Deletion,
    contract::{event, meter, range},
};

/// Microseconds of a day; January and February of 1970 are months of their own.
const DAY: i64 = 86_400_000_000;
const FEBRUARY: i64 = 31 * DAY;

fn january() -> TimeRange {
    range(0, FEBRUARY)
}

fn february() -> TimeRange {
    range(FEBRUARY, 59 * DAY)
}

/// Flips a bit of the last byte of one value of a table.
fn damage<const N: usize>(home: &Home, table: &str, nth: usize) {
    let db = redb::Database::create(home.options().data_dir.join("engine.redb")).unwrap();
    let name = TableDefinition::<[u8; N], &[u8]>::new(table);
    let (key, mut value) = {
        let read = db.begin_read().unwrap();
        let rows = read.open_table(name).unwrap();
        let (key, value) = rows.iter().unwrap().nth(nth).unwrap().unwrap();
        (key.value(), value.value().to_vec())
    };
    *value.last_mut().unwrap() ^= 1;
    let write = db.begin_write().unwrap();
    let mut rows = write.open_table(name).unwrap();
    rows.insert(key, value.as_slice()).unwrap();
    drop(rows);
    write.commit().unwrap();
}

async fn put(store: &Store, name: &str, micros: i64) -> Result<Outcome> {
    store.commit.commit(batch(&[(name, micros, 1.0)])).await
}

fn is_damage<T>(result: &Result<T>) -> bool {
    matches!(result, Err(Error::Damaged { .. }))
}

async fn piece(store: &Store, name: &str, range: TimeRange) -> Result<usize> {
    let piece = store.segments.scan(&meter(name), range, Columns::All).await;
    piece.map(|piece| piece.block.len())
}

/// Two months of one meter in segments, closed, the segment of the first damaged.
async fn with_a_damaged_segment(home: &Home) {
    let store = home.open();
    for month in [0, FEBRUARY] {
        for row in 0..300 {
            put(&store, "a", month + row).await.unwrap();
        }
    }
    store.commit.close().await.unwrap();
    drop(store);
    damage::<30>(home, "segments", 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_damaged_is_served_taken_and_folded() {
    let home = Home::new();
    with_a_damaged_segment(&home).await;
    let store = home.open();
    assert!(is_damage(&piece(&store, "a", january()).await));
    assert_eq!(piece(&store, "a", february()).await.unwrap(), 300);
    // Beside it, later than it, and corrections of what can be read.
    for round in 0..20 {
        put(&store, "b", round).await.unwrap();
        put(&store, "a", FEBRUARY + 1000 + round).await.unwrap();
        let corrected = batch(&[("a", FEBRUARY + round, 2.0)]);
        let outcome = store.commit.commit(corrected).await.unwrap();
        assert_eq!(outcome.counts.corrected, 1);
        store.segments.fold().await.unwrap();
    }
    assert!(
        is_damage(&put(&store, "a", 17).await),
        "it cannot be told whether it is new"
    );
    let refused = Deletion {
        meter: meter("a"),
        range: range(3, 9),
    };
    let refused = Batch {
        deletions: vec![refused],
        ..Batch::default()
    };
    assert!(is_damage(&store.commit.commit(refused).await));
    assert_eq!(piece(&store, "a", february()).await.unwrap(), 320);
    assert!(is_damage(&piece(&store, "a", january()).await));
    store.commit.close().await.unwrap();
    drop(store);
    let faults = home.verify().unwrap().faults;
    assert!(
        faults.len() == 1 && faults[0].contains("segment"),
        "{faults:?}"
    );

    let store = home.open();
    assert_eq!(scan(&store, "a", february()).await.len(), 320);
    assert_eq!(scan(&store, "b", TimeRange::ALL).await.len(), 20);
    // All of it can be deleted, and is then as any other.
    let all = Deletion {
        meter: meter("a"),
        range: TimeRange::ALL,
    };
    let all = Batch {
        deletions: vec![all],
        ..Batch::default()
    };
    assert_eq!(store.commit.commit(all).await.unwrap().deleted, 620);
    assert!(scan(&store, "a", TimeRange::ALL).await.is_empty());
    assert_eq!(put(&store, "a", 17).await.unwrap().counts.accepted, 1);
    store.commit.close().await.unwrap();
    drop(store);
    assert_eq!(home.verify().unwrap().faults, Vec::<String>::new());
    let store = home.open();
    assert_eq!(scan(&store, "a", TimeRange::ALL).await.len(), 1);
    store.commit.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_over_a_segment_before_it_was_damaged_is_kept() {
    let home = Home::new();
    let store = home.open();
    for row in 0..300 {
        put(&store, "a", row).await.unwrap();
    }
    store.commit.close().await.unwrap();
    drop(store);
    crash(&home, async |store| {
        put(store, "a", 7).await.unwrap();
        put(store, "a", 1000).await.unwrap();
        store
            .commit
            .commit(batch(&[("a", 8, 3.0), ("b", 1, 1.0)]))
            .await
            .unwrap();
    })
    .await;
    damage::<30>(&home, "segments", 0);
    for _ in 0..3 {
        let store = home.open();
        assert!(is_damage(&piece(&store, "a", range(0, 900)).await));
        assert_eq!(piece(&store, "a", range(900, 2000)).await.unwrap(), 1);
        assert_eq!(piece(&store, "b", TimeRange::ALL).await.unwrap(), 1);
        store.commit.close().await.unwrap();
    }
    assert_eq!(home.verify().unwrap().faults.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_of_which_nothing_can_be_told_leaves_the_others_alone_and_can_be_erased() {
    let home = Home::new();
    let store = home.open();
    for row in 0..300 {
        put(&store, "a", row).await.unwrap();
    }
    store.commit.close().await.unwrap();
    drop(store);
    crash(&home, async |store| {
        put(store, "a", 1000).await.unwrap();
        put(store, "b", 1).await.unwrap();
    })
    .await;
    damage::<16>(&home, "manifests", 0);
    let store = home.open();
    assert!(is_damage(&piece(&store, "a", TimeRange::ALL).await));
    assert!(is_damage(&store.segments.statistics(&meter("a")).await));
    assert!(is_damage(&put(&store, "a", 5000).await));
    put(&store, "b", 2).await.unwrap();
    store.segments.fold().await.unwrap();
    assert_eq!(piece(&store, "b", TimeRange::ALL).await.unwrap(), 2);
    store.commit.close().await.unwrap();
    drop(store);
    assert!(!home.verify().unwrap().faults.is_empty());
    let store = home.open();
    assert!(
        store
            .keys
            .destroy(&meter("a"), event("destroy_key"))
            .await
            .unwrap()
    );
    assert_eq!(put(&store, "a", 5).await.unwrap().counts.accepted, 1);
    store.commit.close().await.unwrap();
    drop(store);
    assert_eq!(home.verify().unwrap().faults, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_young_block_stops_neither_folds_nor_merges() {
    let home = Home::new();
    let store = home.open();
    for name in ["a", "b"] {
        put(&store, name, 1).await.unwrap();
    }
    store.commit.close().await.unwrap();
    drop(store);
    damage::<16>(&home, "run-0000000000000001", 0);
    let store = home.open();
    let damaged = if piece(&store, "a", TimeRange::ALL).await.is_err() {
        "a"
    } else {
        "b"
    };
    let other = if damaged == "a" { "b" } else { "a" };
    for round in 0..70 {
        put(&store, other, 100 + round).await.unwrap();
        put(&store, "c", 100 + round).await.unwrap();
        store.segments.fold().await.unwrap();
    }
    assert_eq!(scan(&store, other, TimeRange::ALL).await.len(), 71);
    assert!(is_damage(&piece(&store, damaged, TimeRange::ALL).await));
    assert!(
        store
            .keys
            .destroy(&meter(damaged), event("destroy_key"))
            .await
            .unwrap()
    );
    store.commit.close().await.unwrap();
    drop(store);
    let report = home.verify().unwrap();
    assert_eq!((report.faults, report.readings), (vec![], 141));
}
