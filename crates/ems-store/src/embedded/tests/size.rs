//! What a real series takes on disk.

use std::{io::Read as _, os::unix::fs::MetadataExt as _};

use ems_core::{
    quantity::{Kwh, Location, PowerFactor},
    reading::{Reading, ReadingBatch},
    time::Timestamp,
};

use super::*;

/// The one-minute series of the samples.
fn minutes() -> Vec<Reading> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/sceaux-one-minute.csv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    let row = |line: &str| {
        let mut fields = line.split(',').skip(1);
        let mut field = || fields.next().unwrap();
        Reading {
            at: Timestamp::parse(field()).unwrap(),
            energy: Kwh::new(field().parse().unwrap()).unwrap(),
            power_factor: Some(PowerFactor::new(field().parse().unwrap()).unwrap()),
            location: Some(Location::parse("Sceaux, France").unwrap()),
        }
    };
    text.lines().skip(1).map(row).collect()
}

/// Ten homes for four weeks, some minutes a commit; what the files take then.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_series_takes_at_most_two_bytes_and_a_fifth_a_reading() {
    let meters = 10;
    let home = Home::new();
    let options = Options {
        journal_bytes: 1 << 20,
        ..home.options()
    };
    let store = open(options, home.root.clone(), clock()).unwrap();
    let mut readings = 0_u64;
    for chunk in minutes().chunks(100) {
        let mut batch = ReadingBatch::new();
        for home in 0..meters {
            let slot = batch.slot(&contract::meter(&format!("home-{home}")));
            chunk
                .iter()
                .for_each(|row| batch.push_at(slot, row.clone()));
        }
        readings += u64::try_from(batch.len()).unwrap();
        let batch = Batch {
            readings: batch,
            ..Batch::default()
        };
        store.commit.commit(batch).await.unwrap();
    }
    store.commit.close().await.unwrap();
    drop(store);
    let engine = home.options().data_dir.join("engine.redb");
    let bytes = std::fs::metadata(engine).unwrap().blocks() * 512;
    println!("{bytes} bytes for {readings} readings");
    assert!(
        bytes * 10 <= readings * 22,
        "{bytes} bytes for {readings} readings"
    );
    assert_eq!(home.verify().unwrap().readings, readings);
}
