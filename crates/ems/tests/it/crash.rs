//! kill −9 under mixed load and in the middle of starts, again and again: whatever was acknowledged
//! is there once, with its value, and counted; what was in doubt is there whole or not at all; what
//! was deleted stays away; and `ems verify` finds nothing damaged.

mod change;
mod clerk;
mod dice;
mod found;
mod writer;

use std::{
    collections::BTreeMap,
    fs,
    panic::AssertUnwindSafe,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use ems_api::{
    client::{Client, Credential},
    domain::Timestamp,
};
use ems_testkit::TestProcess;
use futures_util::{FutureExt as _, future::join_all};
use tokio::sync::mpsc;

use self::{
    change::{instant, name},
    clerk::{Clerk, Lists},
    dice::Dice,
    found::Figures,
    writer::{Link, Writer},
};
use crate::cli::{Home, binary};

const WRITERS: u64 = 8;
const CLERKS: u64 = 2;
/// Journals as small as they can be, so that folds and merges are under way at many of the kills.
const SETTINGS: [(&str, &str); 5] = [
    ("EMS_STORE__CHECKPOINT_BYTES", "1MiB"),
    ("EMS_LIMITS__USER_PER_HOUR", "0"),
    ("EMS_LIMITS__ADDRESS_PER_HOUR", "0"),
    ("EMS_READINGS__NEW_METERS_PER_HOUR", "0"),
    ("EMS_LOG__LEVEL", "warn"),
];

/// `EMS_SOAK_ROUNDS` asks for more, `EMS_SOAK_FIRST` for another seed.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_kill_9() {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let rounds = number("EMS_SOAK_ROUNDS").unwrap_or(10);
    let seed = number("EMS_SOAK_FIRST").unwrap_or(0);
    let mut soak = Soak::new(seed);
    for round in 0..rounds {
        let told = AssertUnwindSafe(soak.round()).catch_unwind().await;
        if let Err(panic) = told {
            let place = soak.home.keep();
            eprintln!(
                "seed {seed}, round {round}; the instance is kept in {}",
                place.display()
            );
            std::panic::resume_unwind(panic);
        }
    }
    soak.end().await;
    println!("{rounds} rounds: {}", soak.figures());
}

/// An instance that is killed again and again, and what it should hold.
struct Soak {
    home: Home,
    dice: Dice,
    writers: Vec<Writer>,
    clerks: Vec<Clerk>,
    figures: Figures,
    /// The shortest time that a start took.
    start: Duration,
    /// The login before the last kill.
    before: Option<Credential>,
}

impl Soak {
    fn new(seed: u64) -> Self {
        let home = Home::new();
        let mut dice = Dice::new(seed);
        let writers = (0..WRITERS).map(|number| Writer::new(number, dice.next()));
        let writers = writers.collect();
        let clerks = (0..CLERKS).map(|number| Clerk::new(number, dice.next()));
        Self {
            writers,
            clerks: clerks.collect(),
            home,
            dice,
            figures: Figures::default(),
            start: Duration::from_secs(1),
            before: None,
        }
    }

    fn figures(&self) -> Figures {
        let mut all = self.figures.clone();
        let writers = self.writers.iter().map(|writer| &writer.figures);
        let clerks = self.clerks.iter().map(|clerk| &clerk.figures);
        writers.chain(clerks).for_each(|figures| all += figures);
        all
    }

    /// From a start to a kill.
    async fn round(&mut self) {
        let (server, admin) = self.open().await;
        let before = self.newest_journal();
        let (answered, mut answers) = mpsc::unbounded_channel();
        let killed = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        let mut clerks = Vec::new();
        let socket = self.home.dir().join("run/admin.sock");
        let link = || Link {
            // A connection of its own.
            client: server
                .client()
                .unwrap()
                .with_credential(admin.credential().clone()),
            owner: Client::unix(&socket).unwrap(),
            answered: answered.clone(),
            killed: Arc::clone(&killed),
        };
        for writer in self.writers.drain(..) {
            writers.push(tokio::spawn(writer.run(link())));
        }
        for clerk in self.clerks.drain(..) {
            clerks.push(tokio::spawn(clerk.run(link())));
        }
        drop(answered);
        for _ in 0..=self.dice.below(600) {
            answers.recv().await.unwrap();
        }
        // The instant is to depend on nothing that the server does.
        tokio::time::sleep(Duration::from_micros(self.dice.below(3000))).await;
        killed.store(true, Ordering::SeqCst);
        server.kill().unwrap();
        self.figures.kills += 1;
        for writer in writers {
            self.writers.push(writer.await.unwrap());
        }
        for clerk in clerks {
            self.clerks.push(clerk.await.unwrap());
        }
        self.figures.folds += self.newest_journal() - before;
    }

    /// Verifies, kills a start or two, starts, and compares all that there is with what there should
    /// be.
    async fn open(&mut self) -> (TestProcess, Client) {
        let verified = self.home.run("verify --json", &[]);
        assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
        if self.dice.once_in(3) {
            for _ in 0..=self.dice.below(3) {
                self.kill_a_start().await;
            }
        }
        let begun = Instant::now();
        let server = self.home.serve_with(&SETTINGS);
        self.start = self.start.min(begun.elapsed());
        let admin = server.admin().await.unwrap();
        self.compare(&server, &admin).await;
        let verified = verified.json();
        let readings: usize = self.writers.iter().map(|writer| writer.rows.len()).sum();
        let found = usize::try_from(verified["readings"].as_u64().unwrap()).unwrap();
        self.figures.count(&"verify", &found, &readings);
        let figures = self.figures();
        // Each answer has its entry, and a login too.
        let noted = verified["ledger_entries"].as_u64().unwrap();
        assert!(noted >= figures.acknowledged, "{noted} entries: {figures}");
        assert_eq!(
            figures.faults.sum(),
            0,
            "{figures}\n{}",
            figures.faults.told()
        );
        self.before = Some(admin.credential().clone());
        (server, admin)
    }

    /// Starts a server and kills it before it can have come far.
    async fn kill_a_start(&mut self) {
        let mut command = binary().serve_command(&self.home.dir(), &SETTINGS);
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let most = u64::try_from(self.start.as_micros()).unwrap();
        tokio::time::sleep(Duration::from_micros(self.dice.below(most))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        self.figures.kills += 1;
        self.figures.starting += 1;
    }

    async fn compare(&mut self, server: &TestProcess, admin: &Client) {
        if let Some(before) = self.before.take() {
            let client = server.client().unwrap().with_credential(before);
            client.me().await.unwrap();
        }
        join_all(self.writers.iter_mut().map(|writer| writer.settle(admin))).await;
        let lists = Lists::of(admin).await;
        self.clerks
            .iter_mut()
            .for_each(|clerk| clerk.settle(&lists));
        let expected = self.meters();
        for meter in &lists.meters {
            let found = (meter.readings, meter.first_reading, meter.last_reading);
            let expected = expected.get(meter.meter_id.as_str()).copied();
            let expected = expected.unwrap_or_default();
            self.figures.count(&meter.meter_id, &found, &expected);
        }
    }

    /// The number of each meter's readings, the first and the last.
    fn meters(&self) -> BTreeMap<String, (u64, Option<Timestamp>, Option<Timestamp>)> {
        let mut all = BTreeMap::new();
        for (number, writer) in (0..).zip(&self.writers) {
            for (meter, second) in writer.rows.keys() {
                let at = Some(instant(number, *second));
                let entry = all.entry(name(number, *meter)).or_insert((0, at, at));
                *entry = (entry.0 + 1, entry.1.min(at), entry.2.max(at));
            }
        }
        all
    }

    /// Once more, and what a server that was told to stop leaves behind.
    async fn end(&mut self) {
        let (server, _) = self.open().await;
        assert_eq!(server.stop(ems_testkit::Signal::TERM).unwrap(), 0);
        drop(self.open().await);
    }

    fn newest_journal(&self) -> u64 {
        let files = fs::read_dir(self.home.dir().join("data")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let numbers = names.filter_map(|name| {
            let number = name.strip_suffix(".journal")?;
            u64::from_str_radix(number, 16).ok()
        });
        numbers.max().unwrap()
    }
}
