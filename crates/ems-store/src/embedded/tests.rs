//! The embedded backend by the contract suite, and what only it promises: nothing acknowledged is
//! lost without a close, nothing stored is in clear, nothing damaged goes unseen.

mod bounds;
mod damage;
mod destruction;
mod runs;
mod simulation;
mod size;

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::{
    Deletion, Expect, RecordChange,
    contract::{self, Step, batch, clock, scan},
};

struct Home {
    dir: tempfile::TempDir,
    root: RootKey,
}

impl Home {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            root: RootKey::generate(),
        }
    }

    fn options(&self) -> Options {
        let dir = self.dir.path();
        Options {
            data_dir: dir.join("data"),
            keyring_dir: dir.join("keyring"),
            journal_bytes: 16 << 20,
            key_cache_bytes: 1 << 20,
            reserve_bytes: 0,
        }
    }

    fn open(&self) -> Store {
        open(self.options(), self.root.clone(), clock()).unwrap()
    }

    fn verify(&self) -> Result<Report> {
        verify(self.options(), self.root.clone(), clock(), &|_| {})
    }

    fn files(&self) -> Vec<PathBuf> {
        let dirs = [self.options().data_dir, self.options().keyring_dir];
        let files = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
        files
            .map(|file| file.unwrap().path())
            .filter(|path| path.file_name() != Some("lock".as_ref()))
            .collect()
    }
}

fn run(test: impl AsyncFnOnce(&dyn Fn() -> Store)) {
    let home = Home::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(test(&|| home.open()));
    drop(runtime);
    assert_eq!(home.verify().unwrap().faults, Vec::<String>::new());
}

macro_rules! contract {
    ($($name:ident),*) => {
        $(#[test] fn $name() { run(async |open| contract::$name(open).await); })*
    };
}

contract!(
    counts_what_each_reading_was,
    a_reading_comes_back_whole_after_a_reopen,
    replaced_values_are_kept_with_their_time_out_of_the_way,
    deletes_count_and_hide_what_they_cover,
    records_change_only_at_the_revision_expected,
    a_refused_batch_changes_nothing,
    a_request_sent_again_is_answered_as_before,
    the_same_request_many_times_at_once_is_done_once,
    lists_by_prefix_in_order,
    a_pseudonym_is_its_subjects_and_stays,
    a_meter_may_be_described_before_its_first_reading,
    many_at_once_are_each_counted_once
);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (
        0_u8..3,
        0_i64..200,
        prop_oneof![Just(1.0), Just(2.5), 0.0..9.0_f64],
    );
    let step = prop_oneof![
        6 => prop::collection::vec(row, 1..30).prop_map(Step::Put),
        2 => (0_u8..3, 0_i64..200, 1_i64..60).prop_map(|(name, start, length)| Step::Delete(name, start, length)),
        2 => Just(Step::Fold),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_sorted_maps(steps in steps()) {
        run(async |open| contract::agrees_with_sorted_maps(open, &steps).await);
    }
}

/// Leaves a store as a crash does: what is in memory is gone, nothing is folded.
async fn crash(home: &Home, work: impl AsyncFnOnce(&Store)) {
    let copy = tempfile::tempdir().unwrap();
    let store = home.open();
    work(&store).await;
    for name in ["data", "keyring"] {
        std::fs::create_dir(copy.path().join(name)).unwrap();
        for file in std::fs::read_dir(home.dir.path().join(name)).unwrap() {
            let path = file.unwrap().path();
            std::fs::copy(
                &path,
                copy.path().join(name).join(path.file_name().unwrap()),
            )
            .unwrap();
        }
    }
    store.commit.close().await.unwrap();
    drop(store);
    for name in ["data", "keyring"] {
        std::fs::remove_dir_all(home.dir.path().join(name)).unwrap();
        std::fs::rename(copy.path().join(name), home.dir.path().join(name)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let home = Home::new();
    crash(&home, async |store| {
        store
            .commit
            .commit(batch(&[("a", 1, 1.0), ("b", 1, 1.0)]))
            .await
            .unwrap();
        store.segments.fold().await.unwrap();
        store.commit.commit(batch(&[("a", 2, 2.0)])).await.unwrap();
    })
    .await;
    let store = home.open();
    assert_eq!(scan(&store, "a", TimeRange::ALL).await.len(), 2);
    assert_eq!(store.ledger.range(0, 10).await.unwrap().len(), 2);
    assert_eq!(
        store
            .commit
            .commit(batch(&[("a", 2, 2.0)]))
            .await
            .unwrap()
            .counts
            .unchanged,
        1
    );
    store.commit.close().await.unwrap();
}

#[test]
fn a_journal_in_use_is_not_made_anew() {
    let home = Home::new();
    let made = prepare(Ground::real(), home.options(), home.root.clone(), clock());
    let engine = made.unwrap().0;
    let mut ahead = Ahead::default();
    ahead.prepare(&engine, 1).unwrap();
    let mut journal = ahead.take(&engine, 1).unwrap();
    journal.reserve(12).unwrap();
    journal.append(b"acknowledged").unwrap();
    // The folder comes late: the writer has gone on.
    ahead.prepare(&engine, 1).unwrap();
    let bytes = std::fs::read(journal::path(&home.options().data_dir, 1)).unwrap();
    assert!(bytes.iter().skip(4096).any(|byte| *byte != 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_gone_is_named() {
    let home = Home::new();
    crash(&home, async |store| {
        store.commit.commit(batch(&[("a", 1, 1.0)])).await.unwrap();
    })
    .await;
    let journal = home
        .files()
        .into_iter()
        .find(|path| path.extension() == Some("journal".as_ref()))
        .unwrap();
    std::fs::remove_file(journal).unwrap();
    let error = home.verify().unwrap_err().to_string();
    assert!(
        error.contains("journal") && error.contains("gone"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stored_is_in_clear() {
    let home = Home::new();
    let secrets = ["household-4711", "Rue des Imbergeres", "alice-the-user"];
    crash(&home, async |store| {
        for fold in [true, false] {
            let mut batch = batch(&[
                (secrets[0], i64::from(fold), 4711.25),
                (secrets[0], 7, 4711.25),
                (secrets[0], 9, 4711.25),
            ]);
            batch.readings.push(
                contract::meter(secrets[0]),
                ems_core::reading::Reading {
                    location: Some(ems_core::quantity::Location::parse(secrets[1]).unwrap()),
                    ..contract::reading(11, 4711.25)
                },
            );
            batch.ledger[0].user = secrets[2].into();
            store.commit.commit(batch).await.unwrap();
            if fold {
                store.segments.fold().await.unwrap();
            }
        }
    })
    .await;
    let mut needles: Vec<Vec<u8>> = secrets
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    needles.extend([
        4711.25_f64.to_le_bytes().to_vec(),
        4711.25_f64.to_be_bytes().to_vec(),
        b"4711.25".to_vec(),
    ]);
    for file in home.files() {
        let bytes = std::fs::read(&file).unwrap();
        for needle in &needles {
            assert!(
                !bytes.windows(needle.len()).any(|window| window == needle),
                "{needle:?} in {}",
                file.display()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    crash(&home, async |store| {
        store.commit.commit(batch(&[("a", 1, 1.0)])).await.unwrap();
    })
    .await;
    for file in home.files() {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.display());
    }
}

/// The rows that are new lie behind a segment that the deletion does not touch.
#[tokio::test]
async fn a_deletion_and_an_append_in_one_fold_leave_what_lies_between() {
    let home = Home::new();
    let store = home.open();
    let rows = |range: std::ops::Range<i64>| {
        let rows: Vec<_> = range.map(|at| ("a", at, 1.0)).collect();
        batch(&rows)
    };
    for batch in [rows(0..90), rows(100..120)] {
        store.commit.commit(batch).await.unwrap();
        store.segments.fold().await.unwrap();
    }
    let deletion = crate::Deletion {
        meter: contract::meter("a"),
        range: contract::range(50, 95),
    };
    let batch = Batch {
        deletions: vec![deletion],
        ..rows(200..210)
    };
    store.commit.commit(batch).await.unwrap();
    let expected: Vec<i64> = (0..50).chain(100..120).chain(200..210).collect();
    for _ in 0..2 {
        let found = scan(&store, "a", TimeRange::ALL).await;
        let found: Vec<i64> = found.iter().map(|row| row.at.as_micros()).collect();
        assert_eq!(found, expected);
        store.segments.fold().await.unwrap();
    }
    store.commit.close().await.unwrap();
}

#[tokio::test]
async fn a_meter_that_is_removed_leaves_nothing_that_no_record_names() {
    let home = Home::new();
    let store = home.open();
    let rows = batch(&[("a", 1, 1.0), ("b", 1, 1.0)]);
    store.commit.commit(rows).await.unwrap();
    store.segments.fold().await.unwrap();
    let removed = Batch {
        deletions: vec![Deletion {
            meter: contract::meter("a"),
            range: TimeRange::ALL,
        }],
        records: vec![RecordChange {
            table: Table::Meters,
            id: "a".into(),
            expect: Expect::Any,
            value: None,
        }],
        ..Batch::default()
    };
    store.commit.commit(removed).await.unwrap();
    store.commit.close().await.unwrap();
    drop(store);
    let report = home.verify().unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(report.readings, 1);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let home = Home::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let store = home.open();
    assert!(matches!(home.verify(), Err(Error::InUse(_))));
    runtime.block_on(store.commit.close()).unwrap();
    drop(store);
    assert!(home.verify().is_ok());
}

#[test]
fn another_root_key_and_an_older_keyring_are_refused() {
    let home = Home::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let write = |micros| {
        let store = home.open();
        runtime
            .block_on(store.commit.commit(batch(&[("a", micros, 1.0)])))
            .unwrap();
        runtime.block_on(store.commit.close()).unwrap();
    };
    write(1);
    let keyring = home.dir.path().join("keyring/keyring");
    let old = std::fs::read(&keyring).unwrap();
    write(2);
    let other = verify(home.options(), RootKey::generate(), clock(), &|_| {});
    assert!(matches!(other, Err(Error::Key(ems_crypto::Error::Root))));
    std::fs::write(&keyring, old).unwrap();
    let error = home.verify().unwrap_err().to_string();
    assert!(error.contains("keyring"), "{error}");
}
