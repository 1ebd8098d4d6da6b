//! Rows of many meters, a few a fold: they travel in runs, are merged into segments, and nothing of
//! that can be seen from outside, while it happens or after.

use super::*;
use crate::contract::{at, meter, range};

const METERS: i64 = 40;
const FOLDS: i64 = 30;
/// After every row.
const END: i64 = 1_000_000_000_000;

fn name(number: i64) -> String {
    format!("plant-{number}")
}

/// One row of every meter, at a time of its own, of a value of its own.
fn row_of_each(fold: i64) -> Batch {
    let names: Vec<String> = (0..METERS).map(name).collect();
    let rows = (0..METERS).zip(&names);
    let rows = rows.map(|(number, name)| (&**name, fold * 1_000_000, value(number, fold)));
    batch(&rows.collect::<Vec<_>>())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::as_conversions,
    reason = "small whole numbers"
)]
fn value(number: i64, fold: i64) -> f64 {
    number as f64 + fold as f64 / 64.0
}

async fn is_whole(store: &Store, folds: i64) {
    for number in 0..METERS {
        let rows = scan(store, &name(number), range(0, END)).await;
        let rows: Vec<(i64, f64)> = rows
            .iter()
            .map(|row| (row.at.as_micros(), row.energy.get()))
            .collect();
        let expected: Vec<(i64, f64)> = (0..folds)
            .map(|fold| (fold * 1_000_000, value(number, fold)))
            .collect();
        assert_eq!(rows, expected, "{}", name(number));
        let statistics = store
            .segments
            .statistics(&meter(&name(number)))
            .await
            .unwrap();
        assert_eq!(i64::try_from(statistics.readings).unwrap(), folds);
        assert_eq!(statistics.span, Some((at(0), at((folds - 1) * 1_000_000))));
    }
}

fn runs(home: &Home) -> (usize, u64) {
    let (engine, ..) = prepare(Ground::real(), home.options(), home.root.clone(), clock()).unwrap();
    let head = engine.engine.disk.head().unwrap();
    let blocks = head.runs.iter().map(|run| run.blocks).sum();
    (head.runs.len(), blocks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_rows_of_many_meters_are_merged_and_nothing_of_it_is_seen() {
    let home = Home::new();
    let store = home.open();
    for fold in 0..FOLDS {
        store.commit.commit(row_of_each(fold)).await.unwrap();
        store.segments.fold().await.unwrap();
        is_whole(&store, fold + 1).await;
    }
    store.commit.close().await.unwrap();
    drop(store);
    let (runs, blocks) = runs(&home);
    assert!(runs < 9, "{runs} runs are left of {FOLDS}");
    assert!(blocks < 9 * METERS.unsigned_abs(), "{blocks} blocks");
    let store = home.open();
    is_whole(&store, FOLDS).await;
    store.commit.close().await.unwrap();
    drop(store);
    assert_eq!(home.verify().unwrap().faults, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn corrections_and_deletions_reach_the_rows_in_runs() {
    let home = Home::new();
    let store = home.open();
    for fold in 0..3 {
        store.commit.commit(row_of_each(fold)).await.unwrap();
        store.segments.fold().await.unwrap();
    }
    let corrected = store
        .commit
        .commit(batch(&[("plant-1", 1_000_000, 99.0)]))
        .await;
    assert_eq!(corrected.unwrap().counts.corrected, 1);
    let unchanged = store.commit.commit(batch(&[("plant-2", 0, 2.0)])).await;
    assert_eq!(unchanged.unwrap().counts.unchanged, 1);
    let gone = Batch {
        deletions: vec![crate::Deletion {
            meter: meter("plant-3"),
            range: range(0, 1_000_001),
        }],
        ..Batch::default()
    };
    assert_eq!(store.commit.commit(gone).await.unwrap().deleted, 2);
    let check = async |store: &Store| {
        let rows = async |name| {
            let rows = scan(store, name, range(0, END)).await;
            rows.iter().map(|row| row.energy.get()).collect::<Vec<_>>()
        };
        assert_eq!(rows("plant-1").await, [1.0, 99.0, 1.0 + 2.0 / 64.0]);
        assert_eq!(
            rows("plant-2").await,
            [2.0, 2.0 + 1.0 / 64.0, 2.0 + 2.0 / 64.0]
        );
        assert_eq!(rows("plant-3").await, [3.0 + 2.0 / 64.0]);
        for name in ["plant-1", "plant-3"] {
            let count = store
                .segments
                .statistics(&meter(name))
                .await
                .unwrap()
                .readings;
            assert_eq!(usize::try_from(count).unwrap(), rows(name).await.len());
        }
    };
    check(&store).await;
    store.segments.fold().await.unwrap();
    check(&store).await;
    store.commit.close().await.unwrap();
    drop(store);
    let store = home.open();
    check(&store).await;
    store.commit.close().await.unwrap();
    drop(store);
    assert_eq!(home.verify().unwrap().faults, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_reads_while_folds_and_merges_go_on_sees_every_row_once() {
    let home = Home::new();
    let store = home.open();
    store.commit.commit(row_of_each(0)).await.unwrap();
    let reader = {
        let store = store.clone();
        tokio::spawn(async move {
            let mut rows = 0;
            let mut looks = 0;
            while rows < FOLDS {
                let found = scan(&store, "plant-7", range(0, END)).await;
                let times: Vec<i64> = found.iter().map(|row| row.at.as_micros()).collect();
                let count = i64::try_from(times.len()).unwrap();
                assert!(count >= rows, "{count} rows after {rows}");
                assert!(times.is_sorted_by(|before, after| before < after));
                (rows, looks) = (count, looks + 1);
                tokio::task::yield_now().await;
            }
            looks
        })
    };
    for fold in 1..FOLDS {
        store.commit.commit(row_of_each(fold)).await.unwrap();
        store.segments.fold().await.unwrap();
    }
    assert!(reader.await.unwrap() > 1);
}
