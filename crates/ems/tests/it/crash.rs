//! kill −9 under load, again and again: whatever was acknowledged is there, and nothing is damaged.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use ems_api::{
    client::{Body, Client, Coding, Format, Span},
    domain::{MeterId, Timestamp},
    reading::NewReading,
};
use tokio::sync::mpsc;

use crate::cli::Home;

const ROUNDS: u64 = 30;
/// Writers at once: most send a reading at a time, every fourth a batch.
const WRITERS: u64 = 8;
const BATCH: u64 = 200;
/// Journals so small that folds are under way at many of the kills.
const SETTINGS: [(&str, &str); 5] = [
    ("EMS_STORE__CHECKPOINT_BYTES", "1MiB"),
    ("EMS_LIMITS__USER_PER_HOUR", "0"),
    ("EMS_LIMITS__ADDRESS_PER_HOUR", "0"),
    ("EMS_READINGS__NEW_METERS_PER_HOUR", "0"),
    ("EMS_LOG__LEVEL", "warn"),
];

/// Readings by meter and second, with their kWh.
type Acknowledged = BTreeMap<(u64, u64), f64>;

/// What a writer sends next: each reading once, with a value of its own.
fn kwh(writer: u64, second: u64) -> f64 {
    f64::from(u32::try_from((writer * 7919 + second * 31) % 100_000).unwrap()) / 8.0
}

fn reading(writer: u64, second: u64) -> NewReading {
    let at = Timestamp::from_micros(i64::try_from(second).unwrap() * 1_000_000).unwrap();
    let meter = MeterId::parse(&format!("crash-{writer}")).unwrap();
    NewReading::plain(meter, at, kwh(writer, second))
}

/// Sends until the server is gone; notes what it acknowledged, and tells of each.
async fn write(
    client: Client,
    writer: u64,
    second: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    told: mpsc::UnboundedSender<()>,
) {
    let size = if writer.is_multiple_of(4) { BATCH } else { 1 };
    loop {
        let first = second.fetch_add(size, Ordering::Relaxed);
        let rows = first..first + size;
        let stored = if size == 1 {
            client
                .push(&reading(writer, first))
                .await
                .map(|stored| stored.accepted)
        } else {
            let lines = rows
                .clone()
                .map(|second| serde_json::to_string(&reading(writer, second)).unwrap());
            let bytes = lines.collect::<Vec<_>>().join("\n").into();
            let body = Body {
                format: Format::Ndjson,
                coding: Coding::Identity,
                bytes,
            };
            client.batch(body).await.map(|stored| stored.accepted)
        };
        let Ok(accepted) = stored else { return };
        assert_eq!(accepted, size);
        let mut all = acknowledged.lock().unwrap();
        all.extend(rows.map(|second| ((writer, second), kwh(writer, second))));
        let _ = told.send(());
    }
}

/// What every writer's meter holds from a second on.
async fn stored(client: &Client, since: &[u64]) -> Acknowledged {
    let mut all = Acknowledged::new();
    for (writer, since) in (0..).zip(since) {
        let start = reading(writer, *since).timestamp.to_string();
        let span = Span {
            start: &start,
            end: "1980-01-01T00:00:00Z",
        };
        let readings = client.readings(&format!("crash-{writer}"), span).await;
        // Killed before its first reading.
        let nothing = readings
            .as_ref()
            .is_err_and(|error| error.status() == Some(404));
        let readings = if nothing {
            Vec::new()
        } else {
            readings.unwrap().readings
        };
        for reading in readings {
            let second = u64::try_from(reading.timestamp.as_seconds()).unwrap();
            all.insert((writer, second), reading.energy_consumption);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_reading_survives_kill_9() {
    let home = Home::new();
    let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
    let seconds: Vec<_> = (0..WRITERS).map(|_| Arc::new(AtomicU64::new(0))).collect();
    let beginning = vec![0; seconds.len()];
    let mut since = beginning.clone();
    let mut checked = 0;
    for round in 0..ROUNDS {
        let server = home.serve_with(&SETTINGS);
        let admin = server.admin().await.unwrap();
        checked += check(
            &stored(&admin, &since).await,
            &acknowledged.lock().unwrap(),
            &since,
        );
        since = seconds
            .iter()
            .map(|second| second.load(Ordering::Relaxed))
            .collect();
        let (told, mut tells) = mpsc::unbounded_channel();
        let writers: Vec<_> = (0..)
            .zip(&seconds)
            .map(|(writer, second)| {
                let (second, acknowledged) = (Arc::clone(second), Arc::clone(&acknowledged));
                tokio::spawn(write(
                    admin.clone(),
                    writer,
                    second,
                    acknowledged,
                    told.clone(),
                ))
            })
            .collect();
        drop(told);
        // Killed after another number of acknowledgements in each round: 1 to 300.
        for _ in 0..=(round * 7919 + 13) % 300 {
            tells.recv().await.unwrap();
        }
        server.kill().unwrap();
        for writer in writers {
            writer.await.unwrap();
        }
        let verified = home.run("verify --json", &[]);
        assert_eq!(
            verified.code, 0,
            "round {round}: {}{}",
            verified.stdout, verified.stderr
        );
    }
    let server = home.serve_with(&SETTINGS);
    let found = stored(&server.admin().await.unwrap(), &beginning).await;
    checked += check(&found, &acknowledged.lock().unwrap(), &beginning);
    println!(
        "{ROUNDS} kills, {checked} checks of acknowledged readings, {} readings stored",
        found.len()
    );
}

/// All that was acknowledged is there as it was sent; what is there besides was sent, too. Returns
/// how many were checked.
fn check(found: &Acknowledged, acknowledged: &Acknowledged, since: &[u64]) -> usize {
    let mut checked = 0;
    for (writer, since) in (0..).zip(since) {
        for (key, kwh) in acknowledged.range((writer, *since)..(writer + 1, 0)) {
            assert_eq!(found.get(key), Some(kwh), "{key:?} was acknowledged");
            checked += 1;
        }
    }
    for ((writer, second), found) in found {
        assert_eq!(*found, kwh(*writer, *second));
    }
    checked
}
