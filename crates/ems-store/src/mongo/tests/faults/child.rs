//! A process of its own, which writes until it is killed: this test program again, told so.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use ems_crypto::keyring::RootKey;

use super::{
    super::history::Write,
    play::{RECOVERY, Stepping, name, small, value},
};
use crate::{
    contract::batch,
    mongo::{Address, Options},
};

/// What such a process is given.
const CHILD: &str = "EMS_TEST_CHILD";

/// A process of its own, and what it says.
pub(super) struct Writer {
    process: Child,
    heard: Option<std::thread::JoinHandle<Vec<Write>>>,
    pub(super) acknowledged: Arc<AtomicI64>,
}

impl Writer {
    pub(super) fn start(uri: &Path, root: &Path, next: &AtomicI64) -> Self {
        // A thousand rows of its own for each second that it may live.
        let first = next.fetch_add(1_000_000, Ordering::SeqCst);
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "mongo::tests::faults::child::a_process_that_writes_until_it_is_killed",
            ])
            .args(["--nocapture", "--test-threads=1"])
            .env(
                CHILD,
                format!("{}\n{}\n{first}", uri.display(), root.display()),
            )
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        let acknowledged = Arc::<AtomicI64>::default();
        let told = Arc::clone(&acknowledged);
        let begin = Instant::now();
        let heard = std::thread::spawn(move || {
            let mut writes: Vec<Write> = Vec::new();
            for line in out.lines().map_while(Result::ok) {
                let mut words = line.split_whitespace();
                match (words.next(), words.next().and_then(|at| at.parse().ok())) {
                    (Some("sends"), Some(at)) => writes.push(Write {
                        rows: child_rows(at),
                        begin,
                        end: None,
                    }),
                    (Some("has"), Some(at)) => {
                        let rows = child_rows(at);
                        let write = writes.iter_mut().rfind(|write| write.rows == rows).unwrap();
                        let accepted = words.next().unwrap().parse().unwrap();
                        write.end = Some((Instant::now(), accepted));
                        told.fetch_add(1, Ordering::SeqCst);
                    }
                    (Some("fails"), _) => eprintln!("the other process {line}"),
                    _ => {}
                }
            }
            writes
        });
        Self {
            process,
            heard: Some(heard),
            acknowledged,
        }
    }

    /// Waits until it has written for a while.
    pub(super) fn works(&self, writes: i64) {
        let until = Instant::now() + RECOVERY;
        while self.acknowledged.load(Ordering::SeqCst) < writes {
            assert!(Instant::now() < until, "the other process does not write");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Has it stand still, or go on.
    pub(super) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// kill -9; what it had sent, and what it had been answered.
    pub(super) fn kill(mut self) -> Vec<Write> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.heard.take().unwrap().join().unwrap()
    }
}

impl Drop for Writer {
    /// It does not outlive a test that failed.
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn child_rows(at: i64) -> Vec<((String, i64), f64)> {
    (0..20)
        .map(|row| ((name(row), at + i64::try_from(row).unwrap()), value(at)))
        .collect()
}

#[test]
fn a_process_that_writes_until_it_is_killed() {
    let Ok(given) = std::env::var(CHILD) else {
        return;
    };
    let [uri, root, first] = given.lines().collect::<Vec<_>>().try_into().unwrap();
    let options = small(Options {
        uri: Address::new(std::fs::read_to_string(uri).unwrap()),
        journal_bytes: 0,
        key_cache_bytes: 1 << 20,
    });
    let root = RootKey::from_file(root.as_ref()).unwrap();
    let clock = Arc::<Stepping>::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = crate::mongo::open(options, root, clock).unwrap();
        let mut at: i64 = first.parse().unwrap();
        // The runner has begun this line.
        println!();
        loop {
            let rows = child_rows(at);
            let rows: Vec<_> = rows
                .iter()
                .map(|((of, at), value)| (of.as_str(), *at, *value))
                .collect();
            println!("sends {at}");
            match store.commit.commit(batch(&rows)).await {
                Ok(outcome) => println!("has {at} {}", outcome.counts.accepted),
                Err(error) => println!("fails {error}"),
            }
            at += 100;
        }
    });
}
