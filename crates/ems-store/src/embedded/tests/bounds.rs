//! What the settings bound: memory for raw keys, and the disk that readings may take.

use std::{collections::BTreeSet, time::Duration};

use super::{super::vfs::simulated::SimulatedDisk, *};
use crate::{
    Expect, RecordChange,
    contract::{event, range, reading},
};

#[tokio::test(flavor = "multi_thread")]
async fn raw_keys_take_no_more_memory_than_they_may() {
    let home = Home::new();
    let options = Options {
        key_cache_bytes: 10_000,
        ..home.options()
    };
    let store = open(options, home.root.clone(), clock()).unwrap();
    let names: Vec<String> = (0..300).map(|number| format!("m{number}")).collect();
    let rows: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1.0)).collect();
    store.commit.commit(batch(&rows)).await.unwrap();
    let status = store.keys.status().await.unwrap();
    assert_eq!((status.cached_keys, status.cache_limit), (100, 100));
    // A key that is not held is read again.
    let all = scan(&store, "m0", range(0, 10)).await;
    assert_eq!(all, [reading(1, 1.0)]);
    store.commit.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reserve_of_the_disk_is_not_for_readings() {
    let home = Home::new();
    let store = home.open();
    store.commit.commit(batch(&[("m1", 1, 1.0)])).await.unwrap();
    store.commit.close().await.unwrap();
    drop(store);
    // More than any disk has: what is left is the reserve.
    let options = Options {
        reserve_bytes: u64::MAX,
        ..home.options()
    };
    let store = open(options, home.root.clone(), clock()).unwrap();
    let refused = store.commit.commit(batch(&[("m1", 2, 2.0)])).await;
    let why = refused.unwrap_err();
    assert!(matches!(why, Error::Unavailable(_)), "{why}");
    // Notes of reads, logins and deletions go on, beside readings that are refused.
    let change = RecordChange {
        table: Table::Users,
        id: "alice".to_owned(),
        expect: Expect::Absent,
        value: Some(b"{}".to_vec()),
    };
    let record = Batch {
        records: vec![change],
        ledger: vec![event("create")],
        ..Batch::default()
    };
    let (note, record, readings) = tokio::join!(
        store.commit.commit(Batch::note(event("read"))),
        store.commit.commit(record),
        store.commit.commit(batch(&[("m2", 2, 2.0)])),
    );
    assert!(note.is_ok() && record.is_ok() && readings.is_err());
    assert_eq!(scan(&store, "m1", range(0, 10)).await, [reading(1, 1.0)]);
    assert_eq!(scan(&store, "m2", range(0, 10)).await, []);
    store.commit.close().await.unwrap();
}

/// A disk that fills up anywhere in a rotation of keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_on_a_full_disk_fails_harms_nothing_and_is_gone_on_with() {
    let disk = SimulatedDisk::new(1);
    let ground = || Ground {
        vfs: Arc::new(disk.clone()),
        ahead: 16 << 10,
        retry: Duration::from_millis(1),
        ..Ground::real()
    };
    let home = Home::new();
    let options = || Options {
        data_dir: PathBuf::from("/data"),
        keyring_dir: PathBuf::from("/keyring"),
        ..home.options()
    };
    let store = open_on(ground(), options(), home.root.clone(), clock()).unwrap();
    let names: Vec<String> = (0..600).map(|number| format!("m{number}")).collect();
    let rows: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1.0)).collect();
    store.commit.commit(batch(&rows)).await.unwrap();
    store.segments.fold().await.unwrap();
    let (mut failed, mut pages) = (0, BTreeSet::new());
    for more in (0..24).map(|step| step * 512) {
        disk.bound(Some(more), None);
        let rotated = store.keys.rotate_pages().await;
        let full = rotated.is_err();
        let damage = matches!(rotated, Err(Error::Damaged { .. }));
        assert!(!damage, "a full disk is no damage: {rotated:?}");
        failed += u32::from(full);
        let written = store.commit.commit(batch(&[("new", 1, 1.0)])).await;
        if let Err(why) = written {
            assert!(matches!(why, Error::Unavailable(_)), "{why}");
        }
        // Reads go on; one may meet the reopening of a file.
        let mut attempts = 0;
        while store
            .segments
            .scan(&contract::meter("m7"), TimeRange::ALL, Columns::All)
            .await
            .is_err()
        {
            attempts += 1;
            assert!(attempts < 20, "reads go on");
        }
        disk.bound(None, None);
        if full {
            let again = store.keys.rotate_pages().await.unwrap();
            assert!(again.resumed || again.pages > 0, "{again:?}");
        }
        let status = store.keys.status().await.unwrap();
        assert_eq!(status.pages_to_rotate, 0);
        pages.insert(status.pages_rotated);
        store.commit.commit(batch(&[("m7", 1, 1.0)])).await.unwrap();
    }
    println!(
        "{failed} rotations failed on a full disk, {} were done",
        pages.len()
    );
    assert!(failed > 2 && failed < 24, "{failed}");
    store.commit.close().await.unwrap();
    drop(store);
    let report = verify_on(ground(), options(), home.root.clone(), clock()).unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    assert!(report.readings >= 600);
}
