//! After a subject's key is destroyed, the tool's own code, with the root key in hand, gets nothing
//! of it out of any file of the store, nor out of a copy of the data from before. The same attempt
//! with the keyring from before gets all of it, so that this test can fail.

use ems_core::{quantity::Location, reading::Reading};
use ems_crypto::seal::Sealer;

use super::*;
use crate::{
    Expect, RecordChange,
    contract::{at, event, meter, reading},
    readings::erasure::Erasure,
};

const NAME: &str = "household-4711";
const PLACE: &str = "Rue des Imbergeres";

/// What was found of the meter.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    stored: usize,
    superseded: u64,
    records: usize,
    in_journals: usize,
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// Opens what can be opened of copies of the two directories, with every key that can be had.
fn recover(data: &Path, keyring: &Path, root: &RootKey) -> Found {
    let copies = tempfile::tempdir().unwrap();
    let (data_copy, keyring_copy) = (copies.path().join("data"), copies.path().join("keyring"));
    copy(data, &data_copy);
    copy(keyring, &keyring_copy);
    let ground = Ground::real();
    let tree = testing::keys(&keyring_copy, root, at(0)).unwrap();
    let tree = Arc::new(tree);
    let mut keys = tree.every_key();
    let journal_keys: Vec<_> = tree
        .journals()
        .into_iter()
        .map(|number| tree.journal_key(number).unwrap())
        .collect();
    keys.extend(journal_keys);
    let disk = testing::disk(&data_copy, &tree);
    let mut found = Found::default();
    let token = tree.token("meter", NAME);
    for key in &keys {
        let sealer = Sealer::new(key);
        let (manifest, young) = disk.stored(&sealer, token).unwrap_or_default();
        found.stored += young.iter().map(|(_, rows)| rows.len()).sum::<usize>();
        for meta in &manifest.segments {
            let block = disk.segment(&sealer, token, *meta, Columns::All);
            found.stored += block.map_or(0, |block| block.len());
        }
        found.superseded += disk.superseded(&sealer, token, &mut |_| {}).unwrap_or(0);
    }
    let mut take = |_, record: Record| found.records += usize::from(&*record.id == NAME);
    disk.records(&mut take, &mut |_| {}).unwrap();
    for number in journal::list(ground.vfs.as_ref(), &data_copy).unwrap() {
        let id = JournalId {
            instance: tree.instance(),
            number,
        };
        for key in &keys {
            let mut read = |_, content: &[u8]| {
                let named = |part: &[u8]| part == NAME.as_bytes();
                found.in_journals += usize::from(content.windows(NAME.len()).any(named));
                Ok(())
            };
            drop(Journal::replay(&ground, &data_copy, id, key, &mut read));
        }
    }
    found
}

fn rows(first: i64) -> Batch {
    let mut rows = batch(&[
        (NAME, first, 1.0),
        (NAME, first + 1, 2.0),
        ("other", first, 3.0),
    ]);
    let placed = Reading {
        location: Some(Location::parse(PLACE).unwrap()),
        ..reading(first + 2, 4.0)
    };
    rows.readings.push(meter(NAME), placed);
    rows
}

/// Readings on disk and in the journal, a replaced value, a described meter.
async fn fill(store: &Store) {
    store.commit.commit(rows(10)).await.unwrap();
    let corrected = batch(&[(NAME, 10, 1.5), (NAME, 11, 2.5)]);
    store.commit.commit(corrected).await.unwrap();
    let described = RecordChange {
        table: Table::Meters,
        id: NAME.into(),
        expect: Expect::Any,
        value: Some(PLACE.into()),
    };
    let described = Batch {
        records: vec![described],
        ..Batch::default()
    };
    store.commit.commit(described).await.unwrap();
    store.segments.fold().await.unwrap();
    store.commit.commit(rows(20)).await.unwrap();
}

async fn expect_gone(store: &Store) {
    assert_eq!(
        store
            .subjects
            .pseudonym(&Subject::Meter(meter(NAME)))
            .await
            .unwrap(),
        None
    );
    assert!(scan(store, NAME, TimeRange::ALL).await.is_empty());
    assert_eq!(
        store
            .segments
            .statistics(&meter(NAME))
            .await
            .unwrap()
            .readings,
        0
    );
    assert!(
        store
            .records
            .get(Table::Meters, NAME)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(scan(store, "other", TimeRange::ALL).await.len(), 2);
}

/// The ledger has the destruction as begun and as completed, by the pseudonym that was.
async fn expect_noted(store: &Store, subjects: Vec<String>) {
    let entries = store.ledger.range(0, 100).await.unwrap();
    let stages: Vec<_> = entries
        .into_iter()
        .filter(|(_, event)| event.action == "destroy_key")
        .map(|(_, event)| (event.filters["stage"].clone(), event.subjects))
        .collect();
    assert_eq!(
        stages,
        [
            ("begun".into(), subjects.clone()),
            ("completed".into(), subjects)
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_destroyed_subject_can_be_recovered() {
    let home = Home::new();
    let (data, keyring) = (home.options().data_dir, home.options().keyring_dir);
    let before = tempfile::tempdir().unwrap();
    let (old_data, old_keyring) = (before.path().join("data"), before.path().join("keyring"));
    let store = home.open();
    fill(&store).await;
    copy(&data, &old_data);
    copy(&keyring, &old_keyring);
    let old = store
        .subjects
        .pseudonym(&Subject::Meter(meter(NAME)))
        .await
        .unwrap();
    assert!(
        store
            .keys
            .destroy(&meter(NAME), event("destroy_key"))
            .await
            .unwrap()
    );
    assert!(
        !store
            .keys
            .destroy(&meter(NAME), event("destroy_key"))
            .await
            .unwrap()
    );
    expect_gone(&store).await;
    let all = Found {
        stored: 3,
        superseded: 2,
        records: 1,
        in_journals: 1,
    };
    assert_eq!(
        recover(&old_data, &old_keyring, &home.root),
        all,
        "the control"
    );
    for (what, data) in [("a copy from before", &old_data), ("what is stored", &data)] {
        assert_eq!(
            recover(data, &keyring, &home.root),
            Found::default(),
            "{what}"
        );
    }
    expect_noted(&store, old.clone().into_iter().collect()).await;
    store.commit.close().await.unwrap();
    drop(store);
    assert_eq!(
        recover(&data, &keyring, &home.root),
        Found::default(),
        "after a close"
    );
    assert_eq!(home.verify().unwrap().faults, Vec::<String>::new());

    // Its next life is another's.
    let store = home.open();
    expect_gone(&store).await;
    let outcome = store.commit.commit(rows(10)).await.unwrap();
    assert_eq!((outcome.counts.accepted, outcome.counts.unchanged), (3, 1));
    let new = store
        .subjects
        .pseudonym(&Subject::Meter(meter(NAME)))
        .await
        .unwrap();
    assert!(new.is_some() && new != old);
    store.commit.close().await.unwrap();
    drop(store);
    let store = home.open();
    assert_eq!(scan(&store, NAME, TimeRange::ALL).await.len(), 3);
    store.commit.close().await.unwrap();
    drop(store);
    assert_eq!(home.verify().unwrap().faults, Vec::<String>::new());
}

/// The steps of a destruction up to one of them; then copies of the directories as they are.
async fn interrupted(home: &Home, stop: usize) -> (tempfile::TempDir, Options) {
    let embedded = Embedded::open(Ground::real(), home.options(), home.root.clone(), clock());
    let embedded = embedded.unwrap();
    let engine = Arc::clone(&embedded.engine);
    let subject = Subject::Meter(meter(NAME));
    let pseudonym = embedded.pseudonym(&subject).await.unwrap().unwrap();
    let erasure = Erasure::of(&engine, &meter(NAME), pseudonym);
    let begin = erasure.begin(&meter(NAME), &event("destroy_key"));
    embedded.commit(begin).await.unwrap();
    let rows = batch(&[(NAME, 50, 1.0), ("other", 50, 1.0)]);
    let refused = embedded.commit(rows).await;
    assert!(
        matches!(refused, Err(Error::Unavailable(_))),
        "until it is finished"
    );
    if stop > 0 {
        embedded.fold().await.unwrap();
    }
    let data = engine.keys.meter_token(&meter(NAME));
    if stop > 1 {
        engine.disk.purge(data).unwrap();
    }
    if stop > 2 {
        let token = engine.keys.subject_token(&subject);
        engine.keys.destroy(token, data, at(1)).unwrap();
    }
    let copies = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: copies.path().join("data"),
        keyring_dir: copies.path().join("keyring"),
        ..home.options()
    };
    copy(&home.options().data_dir, &options.data_dir);
    copy(&home.options().keyring_dir, &options.keyring_dir);
    (copies, options)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_that_a_crash_interrupts_is_finished_at_the_next_start() {
    for stop in 0..4 {
        let home = Home::new();
        crash(&home, async |store| fill(store).await).await;
        let (_copies, options) = interrupted(&home, stop).await;
        let store = open(options.clone(), home.root.clone(), clock()).unwrap();
        // Three of the filling; it is begun, it is completed.
        let mut durable = store.ledger.durable();
        durable.wait_for(|entries| *entries == 5).await.unwrap();
        expect_gone(&store).await;
        let rows = batch(&[(NAME, 50, 1.0)]);
        store.commit.commit(rows).await.unwrap();
        assert_eq!(scan(&store, NAME, TimeRange::ALL).await.len(), 1);
        store.commit.close().await.unwrap();
        drop(store);
        let report = verify(options, home.root.clone(), clock(), &|_| {}).unwrap();
        assert_eq!(report.faults, Vec::<String>::new(), "stopped at {stop}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_rotated_while_readings_come_in() {
    let home = Home::new();
    let store = home.open();
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0..15 {
                let names: Vec<String> = (0..80).map(|of| format!("m-{number}-{of}")).collect();
                let rows: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1.0)).collect();
                store.commit.commit(batch(&rows)).await.unwrap();
            }
        })
    };
    let mut rotated = 0;
    while !writer.is_finished() || rotated == 0 {
        store.keys.rotate_pages().await.unwrap();
        rotated += 1;
    }
    writer.await.unwrap();
    let status = store.keys.status().await.unwrap();
    // Beside the meters: the index, head, records, ledger.
    assert_eq!((status.subjects, status.pages_to_rotate), (1204, 0));
    store.commit.close().await.unwrap();
    drop(store);
    let report = home.verify().unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!((report.readings, report.keys), (1200, 1204));
}
