//! Nothing that the database keeps, in any of its files, or that goes to and from it shows a meter, a
//! person or a value.

use std::{path::Path, sync::Arc};

use ems_core::{
    quantity::{Kwh, Location},
    reading::{Reading, ReadingBatch},
    time::TimeRange,
};
use ems_testkit::mongo::ReplicaSet;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{Home, run, run_on};
use crate::{
    Batch, Expect, RecordChange, Store, Table,
    contract::{at, event, meter, scan},
    mongo::{Address, Options},
};

/// What must be found nowhere.
const SECRETS: [&str; 5] = [
    "clear-meter-4711",
    "Clear Street 12",
    "clear-user-name",
    "clear-hash-of-a-password",
    "clear-action",
];

/// An energy value whose eight bytes do not come about by chance.
const KWH: f64 = 71_234.567_890_123;

fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    memchr::memmem::find(bytes, what).is_some()
}

/// Writes all of them, with folds in between.
async fn fill(store: &Store) {
    for round in 0..20 {
        let reading = Reading {
            at: at(round * 1_000_000),
            energy: Kwh::new(KWH).unwrap(),
            power_factor: None,
            location: Some(Location::parse(SECRETS[1]).unwrap()),
        };
        let user = RecordChange {
            table: Table::Users,
            id: SECRETS[2].into(),
            expect: Expect::Any,
            value: Some(SECRETS[3].into()),
        };
        let batch = Batch {
            readings: ReadingBatch::of(meter(SECRETS[0]), reading),
            records: vec![user],
            ledger: vec![event(SECRETS[4])],
            ..Batch::default()
        };
        store.commit.commit(batch).await.unwrap();
        if round % 7 == 0 {
            store.segments.fold().await.unwrap();
        }
    }
}

#[test]
fn no_file_of_the_database_holds_a_meter_a_person_or_a_value() {
    run(async |home: &Home| {
        let database = home.make();
        let store = home.open(&database);
        fill(&store).await;
        store.commit.close().await.unwrap();
        // A mark in clear that is to be found: where it is not, the search proves nothing.
        let client = home.set.client(home.set.admin()).await;
        let probe = client.database(&database).collection("probe");
        let mark = mongodb::bson::doc! { "text": "a probe in clear", "kwh": KWH + 1.0 };
        probe.insert_one(mark).await.unwrap();
        let admin = client.database("admin");
        let flush = mongodb::bson::doc! { "fsync": 1 };
        admin.run_command(flush).await.unwrap();
        let (mut bytes, mut marked) = (0, 0);
        for member in 0..3 {
            let mut all = Vec::new();
            files(home.set.data_dir(member), &mut all);
            for file in all {
                let content = std::fs::read(&file).unwrap_or_default();
                bytes += content.len();
                for secret in SECRETS {
                    assert!(
                        !holds(&content, secret.as_bytes()),
                        "{secret} in {}",
                        file.display()
                    );
                }
                assert!(
                    !holds(&content, &KWH.to_le_bytes()),
                    "a value in {}",
                    file.display()
                );
                marked += usize::from(holds(&content, b"a probe in clear"));
            }
            let log = home.set.log(member);
            assert!(SECRETS.iter().all(|secret| !log.contains(secret)));
        }
        println!("{bytes} bytes of files searched; the probe was found in {marked} of them");
        assert!(marked > 0, "the search finds nothing at all");
    });
}

/// Hands on what comes to a port of this machine, and keeps it.
struct Recorder {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                tokio::spawn(hand_on(from_client, to_server, Arc::clone(&kept)));
                tokio::spawn(hand_on(from_server, to_client, Arc::clone(&kept)));
            }
        });
        Self { port, heard }
    }
}

async fn hand_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, heard: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        heard.lock().extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[test]
fn nothing_that_goes_over_the_wire_shows_a_meter_a_person_or_a_value() {
    run_on(ReplicaSet::start_in_clear(), async |home: &Home| {
        let database = home.make();
        let primary = home.set.primary().await;
        let recorder = Recorder::before(home.set.port(primary)).await;
        // In clear, by way of the recorder alone.
        let options = home.options(&database, false);
        let (account, _) = options.uri.expose().split_once('@').unwrap();
        let rest = "directConnection=true&authSource=admin";
        let uri = format!("{account}@127.0.0.1:{}/{database}?{rest}", recorder.port);
        let options = Options {
            uri: Address::new(uri),
            ..options
        };
        let store = crate::mongo::open(options, home.root.clone(), crate::contract::clock());
        let store = store.unwrap();
        fill(&store).await;
        let rows = scan(&store, SECRETS[0], TimeRange::ALL).await;
        assert_eq!(rows.len(), 20);
        store.commit.close().await.unwrap();
        let heard = recorder.heard.lock().clone();
        for secret in SECRETS {
            assert!(!holds(&heard, secret.as_bytes()), "{secret}");
        }
        assert!(!holds(&heard, &KWH.to_le_bytes()), "a value");
        // It was in clear, and it was all there.
        for known in ["identity_journal", "insert", "ledger", "young"] {
            assert!(holds(&heard, known.as_bytes()), "{known}");
        }
        println!("{} bytes of traffic searched", heard.len());
    });
}
