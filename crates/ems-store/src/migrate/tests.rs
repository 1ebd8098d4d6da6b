//! Moves between real backends, in both directions: whole, cut short anywhere, refused, and with a
//! difference planted.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ems_core::{
    audit::AuditEvent,
    quantity::{Location, PowerFactor},
    reading::{Reading, ReadingBatch},
    time::{TimeRange, Timestamp},
};
use ems_crypto::keyring::RootKey;
use ems_testkit::mongo::ReplicaSet;

use super::*;
use crate::{
    Batch, Commit, Deletion, Expect, Outcome, RecordChange,
    answers::Repeatable,
    contract::{at, batch, clock, event, meter, range, reading, scan},
    embedded, mongo,
};

/// Readings of the long meter: more than two pieces of a scan.
const LONG: i64 = 70_000;
/// Meters with three readings each.
const SHORT: i64 = 1_200;

struct Place {
    dir: tempfile::TempDir,
    root: RootKey,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            root: RootKey::generate(),
        }
    }

    fn open(&self) -> Store {
        let options = embedded::Options {
            data_dir: self.dir.path().join("data"),
            keyring_dir: self.dir.path().join("keyring"),
            journal_bytes: 1 << 20,
            key_cache_bytes: 1 << 20,
            reserve_bytes: 0,
        };
        embedded::open(options, self.root.clone(), clock()).unwrap()
    }
}

/// A commit that fails after some batches, as a process that was killed.
struct Cut {
    inner: Arc<dyn Commit>,
    left: AtomicUsize,
}

#[async_trait]
impl Commit for Cut {
    async fn commit(&self, batch: Batch) -> Result<Outcome> {
        let one_less = |left: usize| left.checked_sub(1);
        let order = Ordering::SeqCst;
        match self.left.fetch_update(order, order, one_less) {
            Ok(_) => self.inner.commit(batch).await,
            Err(_) => Err(Error::Unavailable("it was cut".into())),
        }
    }

    async fn fresh(&self) -> Result<()> {
        self.inner.fresh().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

fn cut_after(store: &Store, batches: usize) -> Store {
    let commit = Cut {
        inner: Arc::clone(&store.commit),
        left: AtomicUsize::new(batches),
    };
    Store {
        commit: Arc::new(commit),
        ..store.clone()
    }
}

async fn moved(source: &Store, target: &Store) -> Result<Moved> {
    let moved = readings(source, target, &|_| {}).await?;
    rest((source, target), moved, clock().as_ref(), &|_| {}).await
}

fn put(table: Table, id: &str, value: &[u8]) -> RecordChange {
    RecordChange {
        table,
        id: id.into(),
        expect: Expect::Any,
        value: Some(value.to_vec()),
    }
}

fn long(index: i64) -> Reading {
    let factor = (index % 3 == 0).then(|| PowerFactor::new(0.25).unwrap());
    let place = (index % 5 == 0).then(|| Location::parse("the cellar").unwrap());
    Reading {
        power_factor: factor,
        location: place,
        ..reading(
            index * 60_000_000,
            f64::from(i32::try_from(index).unwrap()) / 7.0,
        )
    }
}

/// Everything that a server's store has: 5 records of users, keys, sessions, answers and meters
/// beside those that readings make, a correction, a deletion, an erasure.
async fn fill(store: &Store) {
    let commit = async |batch| store.commit.commit(batch).await.unwrap();
    let mut rows = ReadingBatch::new();
    for index in 0..LONG {
        rows.push(meter("long"), long(index));
    }
    commit(Batch {
        readings: rows,
        ledger: vec![event("write")],
        ..Batch::default()
    })
    .await;
    let names: Vec<String> = (0..SHORT).map(|number| format!("short{number}")).collect();
    let rows: Vec<(&str, i64, f64)> = names
        .iter()
        .flat_map(|name| (1..4).map(|at| (name.as_str(), at, 0.1)))
        .collect();
    commit(batch(&rows)).await;
    commit(batch(&[("short3", 2, 0.5), ("gone", 1, 1.0)])).await;
    commit(Batch {
        deletions: vec![Deletion {
            meter: meter("long"),
            range: range(0, 600_000_000),
        }],
        ledger: vec![event("delete")],
        ..Batch::default()
    })
    .await;
    commit(Batch {
        records: vec![
            put(Table::Users, "alice", b"a user"),
            put(Table::Keys, "Ab3dEf7h", b"a key"),
            put(Table::Sessions, "s1", b"a session"),
            put(Table::Meters, "described", br#"{"site":"plant 7"}"#),
        ],
        ledger: vec![event("create")],
        repeatable: Some(Repeatable {
            id: "key:1/once".into(),
            digest: [7; 32],
            answer: b"an answer".to_vec(),
            until: Timestamp::MAX,
        }),
        ..Batch::default()
    })
    .await;
    let look = AuditEvent {
        subjects: vec![pseudonym(store, &meter("long")).await.unwrap().unwrap()],
        filters: serde_json::json!({"start": "x", "limit": 0.1}),
        ..event("read")
    };
    commit(Batch::note(look)).await;
    let gone = meter("gone");
    let destroyed = store.keys.destroy(&gone, event("destroy_key")).await;
    assert!(destroyed.unwrap());
}

/// The figures of [`fill`], an entry each of six commits and two of the erasure, and so many readings
/// more, of two commits each.
fn expect_figures(content: &Content, more: u64) {
    assert_eq!(content.meters, 1_202);
    assert_eq!(content.readings, 69_990 + 3_600 + more);
    assert_eq!(content.records, 1_202 + 4);
    assert_eq!(content.ledger_entries, 8 + 2 * more);
}

async fn ledger(store: &Store) -> Vec<Arc<[u8]>> {
    let entries = store.ledger.entries(0, 10_000).await.unwrap();
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// Holds a target against its source without the comparison of the move.
async fn expect_same(source: &Store, target: &Store) {
    for name in ["long", "short3", "short1199", "described", "gone"] {
        let here = scan(source, name, TimeRange::ALL).await;
        assert_eq!(here, scan(target, name, TimeRange::ALL).await, "{name}");
    }
    let rows = scan(target, "long", TimeRange::ALL).await;
    let expected: Vec<Reading> = (10..LONG).map(long).collect();
    assert!(rows == expected, "the long meter");
    for table in TABLES {
        let list = async |store: &Store| {
            let rows = store.records.list(table, "", None, 10_000).await.unwrap();
            let pair = |record: Record| (record.id, record.value);
            rows.into_iter().map(pair).collect::<Vec<_>>()
        };
        assert_eq!(list(source).await, list(target).await, "{table:?}");
    }
    let (here, there) = (ledger(source).await, ledger(target).await);
    assert_eq!(there[..here.len()], here[..], "the ledger begins as it was");
    let old = pseudonym(source, &meter("long")).await.unwrap().unwrap();
    let new = pseudonym(target, &meter("long")).await.unwrap().unwrap();
    let told = |entry: &Arc<[u8]>| {
        let event: AuditEvent = serde_json::from_slice(entry).unwrap();
        event.filters["pseudonyms"][&old] == new.as_str()
    };
    let times = there[here.len()..].iter().filter(|entry| told(entry));
    assert_eq!(times.count(), 1, "the old pseudonym is told once");
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

#[test]
fn brings_everything_and_is_done_a_second_time_at_once() {
    let (here, there) = (Place::new(), Place::new());
    block_on(async {
        let (source, target) = (here.open(), there.open());
        fill(&source).await;
        let first = moved(&source, &target).await.unwrap();
        assert_eq!(first.differences, Vec::<String>::new());
        expect_figures(&first.source, 0);
        assert_eq!(first.source, first.target);
        assert_eq!(first.superseded_left_behind, 1);
        expect_same(&source, &target).await;
        let entries = ledger(&target).await.len();
        assert_eq!(entries, 8 + 13 + 1, "names of 1,202 meters, and the end");

        let writes_nothing = cut_after(&target, 0);
        let again = moved(&source, &writes_nothing).await.unwrap();
        assert_eq!(again, first);
        assert_eq!(ledger(&target).await.len(), entries);
        for store in [source, target] {
            store.commit.close().await.unwrap();
        }
    });
}

#[test]
fn goes_on_wherever_it_was_cut_short() {
    let (here, there) = (Place::new(), Place::new());
    block_on(async {
        let source = here.open();
        fill(&source).await;
        let mut runs = 0;
        loop {
            let target = there.open();
            let cut = moved(&source, &cut_after(&target, 2)).await;
            let done = match cut {
                Ok(moved) => {
                    assert_eq!(moved.differences, Vec::<String>::new());
                    expect_figures(&moved.target, 1);
                    expect_same(&source, &target).await;
                    true
                }
                Err(Error::Unavailable(_)) => false,
                Err(error) => panic!("{error}"),
            };
            target.commit.close().await.unwrap();
            runs += 1;
            if done {
                break;
            }
            // What the source gets between two parts comes along: also before what was moved.
            if runs == 5 {
                source
                    .commit
                    .commit(batch(&[("short7", 0, 9.0), ("short7", 2, 8.0)]))
                    .await
                    .unwrap();
                source
                    .commit
                    .commit(batch(&[("short7", 0, 9.0)]))
                    .await
                    .unwrap();
            }
            assert!(runs < 50);
        }
        assert!(runs > 5, "{runs}");
    });
}

#[test]
fn a_difference_is_found_and_named_by_pseudonym() {
    let (here, there) = (Place::new(), Place::new());
    block_on(async {
        let (source, target) = (here.open(), there.open());
        fill(&source).await;
        let planted = Batch {
            ledger: Vec::new(),
            ..batch(&[
                ("short5", 1, 0.1),
                ("short5", 2, 0.100_000_1),
                ("short5", 3, 0.1),
            ])
        };
        target.commit.commit(planted).await.unwrap();
        let found = moved(&source, &target).await.unwrap();
        let name = pseudonym(&source, &meter("short5")).await.unwrap().unwrap();
        let expected = format!("the readings of {name} differ: 3 in the source, 3 in the target");
        assert_eq!(found.differences, [expected]);
        assert_eq!(found.source.records_sha256, found.target.records_sha256);
        assert_ne!(found.source.readings_sha256, found.target.readings_sha256);
        let entries = ledger(&target).await.len();
        assert_eq!(entries, 8, "the target is not told to be whole");
    });
}

#[test]
fn refuses_a_target_that_is_anothers() {
    let (here, there) = (Place::new(), Place::new());
    block_on(async {
        let (source, target) = (here.open(), there.open());
        source.commit.commit(batch(&[("a", 1, 1.0)])).await.unwrap();
        let why = async |source: &Store, target: &Store| match moved(source, target).await {
            Err(Error::Refused(why)) => why,
            other => panic!("{other:?}"),
        };
        let same = why(&source, &source).await;
        assert!(same.contains("the same instance"), "{same}");
        let other = Batch {
            ledger: Vec::new(),
            ..batch(&[("b", 1, 1.0)])
        };
        target.commit.commit(other).await.unwrap();
        let meters = why(&source, &target).await;
        assert!(
            meters.contains("meters that are not the source's"),
            "{meters}"
        );
        target
            .commit
            .commit(Batch::note(event("login")))
            .await
            .unwrap();
        let ledger = why(&source, &target).await;
        assert!(ledger.contains("the first is 0"), "{ledger}");
        let pending = Batch {
            records: vec![put(Table::Erasures, "00", b"")],
            ..Batch::default()
        };
        source.commit.commit(pending).await.unwrap();
        let erased = why(&source, &target).await;
        assert!(erased.contains("of the source is being erased"), "{erased}");
    });
}

/// The hash was worked out apart, with Python's hashlib and struct.
#[test]
fn the_hash_of_readings_is_that_of_their_canonical_bytes() {
    let here = Place::new();
    block_on(async {
        let store = here.open();
        let mut rows = ReadingBatch::new();
        rows.push(meter("a"), reading(1, 1.5));
        rows.push(
            meter("a"),
            Reading {
                power_factor: Some(PowerFactor::new(0.5).unwrap()),
                location: Some(Location::parse("cellar").unwrap()),
                at: at(2),
                ..reading(2, 0.1)
            },
        );
        let filled = Batch {
            readings: rows,
            ..Batch::default()
        };
        store.commit.commit(filled).await.unwrap();
        let target = Place::new();
        let target = target.open();
        let moved = moved(&store, &target).await.unwrap();
        assert_eq!(
            moved.target.readings_sha256,
            "8b69a97837a1566cf9deeca5f510ea6144fa31f9a40b411f7d0dcba577f9f4cc"
        );
    });
}

#[test]
fn moves_to_mongodb_and_back() {
    let (here, back) = (Place::new(), Place::new());
    block_on(async {
        let set = ReplicaSet::start().await;
        let uri = set.uri(set.admin()).replacen("/?", "/moved?", 1);
        let options = mongo::Options {
            uri: mongo::Address::new(uri),
            journal_bytes: 4 << 20,
            key_cache_bytes: 1 << 20,
        };
        let root = RootKey::generate();
        mongo::init(&options, root.clone(), &clock()).unwrap();
        let open = || mongo::open(options.clone(), root.clone(), clock()).unwrap();
        let source = here.open();
        fill(&source).await;

        let cut = open();
        let halfway = moved(&source, &cut_after(&cut, 4)).await;
        assert!(matches!(halfway, Err(Error::Unavailable(_))), "{halfway:?}");
        cut.commit.close().await.unwrap();
        let middle = open();
        let there = moved(&source, &middle).await.unwrap();
        assert_eq!(there.differences, Vec::<String>::new());
        expect_figures(&there.target, 0);
        expect_same(&source, &middle).await;

        let target = back.open();
        let and_back = moved(&middle, &target).await.unwrap();
        assert_eq!(and_back.differences, Vec::<String>::new());
        assert_eq!(
            and_back.target.readings_sha256,
            there.source.readings_sha256
        );
        assert_eq!(and_back.target.records_sha256, there.source.records_sha256);
        assert_eq!(and_back.superseded_left_behind, 0);
        expect_same(&middle, &target).await;
        for store in [middle, target] {
            store.commit.close().await.unwrap();
        }
    });
}
