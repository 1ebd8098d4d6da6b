//! A load of several processes, what is done to it, and how it is judged.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use ems_core::{
    clock::Clock,
    time::{TimeRange, Timestamp},
};
use tokio::task::JoinHandle;

use super::{
    super::{
        Home,
        history::{History, Read, Write},
    },
    child::Writer,
};
use crate::{
    Columns, Store,
    contract::{batch, meter},
    mongo::Options,
};

/// Meters that the load writes.
const METERS: usize = 8;
/// How long after a fault is mended commits may take to go on.
pub(super) const RECOVERY: Duration = Duration::from_secs(40);
/// How long the load runs before a fault and after it is mended.
const CALM: Duration = Duration::from_millis(1500);

/// The machine's clock, by an hour or more beside the truth.
#[derive(Default)]
pub(super) struct Stepping(pub(super) AtomicI64);

impl Clock for Stepping {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let micros = i64::try_from(since.as_micros()).unwrap();
        Timestamp::from_micros(micros + self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// Who does the jobs of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Jobs {
    /// The processes that bear the load.
    Ours,
    /// One that is to be killed.
    Theirs,
}

/// What a fault is done to.
pub(super) struct Scene<'a> {
    pub(super) home: &'a Home,
    database: String,
    pub(super) history: Arc<History>,
    pub(super) clock: Arc<Stepping>,
    next: Arc<AtomicI64>,
    stores: [Store; 2],
    round: u64,
}

impl Scene<'_> {
    /// Another process, which writes until it is killed.
    pub(super) fn child(&self) -> Writer {
        let file = self.home.place.path().join(format!("child-{}", self.round));
        let options = small(self.home.options(&self.database, false));
        let root = self.home.place.path().join("root");
        if !root.exists() {
            self.home.root.write_new(&root).unwrap();
        }
        std::fs::write(&file, options.uri.expose()).unwrap();
        Writer::start(&file, &root, &self.next)
    }
}

pub(super) fn name(number: usize) -> String {
    format!("f{}", number % METERS)
}

pub(super) fn value(at: i64) -> f64 {
    f64::from(u32::try_from(at.rem_euclid(90_000)).unwrap())
}

/// Options by which there is always something to fold.
pub(super) fn small(options: Options) -> Options {
    Options {
        journal_bytes: 16 << 10,
        ..options
    }
}

/// Writes batches to a store until it is told to stop.
async fn write(store: Store, history: Arc<History>, next: Arc<AtomicI64>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        let size = 1 + next.load(Ordering::SeqCst) % 40;
        let first = next.fetch_add(size, Ordering::SeqCst);
        let rows: Vec<_> = (first..first + size)
            .map(|at| ((name(usize::try_from(at).unwrap()), at), value(at)))
            .collect();
        let sent: Vec<_> = rows
            .iter()
            .map(|((of, at), value)| (of.as_str(), *at, *value))
            .collect();
        let begin = Instant::now();
        let outcome = store.commit.commit(batch(&sent)).await;
        let end = outcome
            .ok()
            .map(|outcome| (Instant::now(), outcome.counts.accepted));
        history.writes.lock().push(Write { rows, begin, end });
    }
}

/// Reads whole meters from a store until it is told to stop.
async fn read(store: Store, history: Arc<History>, stop: Arc<AtomicBool>) {
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let begin = Instant::now();
        if store.commit.fresh().await.is_err() {
            continue;
        }
        if let Ok(rows) = whole(&store, &name(number)).await {
            let read = Read {
                meter: name(number),
                begin,
                end: Instant::now(),
                rows,
            };
            history.reads.lock().push(read);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn whole(store: &Store, name: &str) -> crate::Result<Vec<(i64, f64)>> {
    let (mut rows, mut rest) = (Vec::new(), Some(TimeRange::ALL));
    while let Some(range) = rest {
        let piece = store
            .segments
            .scan(&meter(name), range, Columns::All)
            .await?;
        let new = piece.block.iter();
        rows.extend(new.map(|row| (row.at.as_micros(), row.energy.get())));
        rest = TimeRange::new(piece.until, range.end());
    }
    Ok(rows)
}

/// A process that comes after all others, and folds what they left.
fn open_again(home: &Home, database: &str) -> Store {
    let options = small(home.options(database, false));
    crate::mongo::open(options, home.root.clone(), Arc::<Stepping>::default()).unwrap()
}

/// Waits for a while; the load goes on meanwhile.
pub(super) async fn calm() {
    tokio::time::sleep(CALM).await;
}

impl<'a> Scene<'a> {
    fn new(home: &'a Home, jobs: Jobs) -> Self {
        let (database, clock) = (home.make(), Arc::<Stepping>::default());
        let open = || {
            let options = small(home.options(&database, false));
            let (root, clock) = (home.root.clone(), clock.clone());
            crate::mongo::open_as(options, root, clock, jobs == Jobs::Ours).unwrap()
        };
        Self {
            stores: [open(), open()],
            home,
            database,
            history: Arc::default(),
            clock,
            next: Arc::new(AtomicI64::new(1)),
            round: 0,
        }
    }

    /// Two that write and one that reads, for each process.
    fn load(&self, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
        let mut load = Vec::new();
        for store in &self.stores {
            let (history, next) = (&self.history, &self.next);
            for _ in 0..2 {
                let (history, next) = (Arc::clone(history), Arc::clone(next));
                let write = write(store.clone(), history, next, Arc::clone(stop));
                load.push(tokio::spawn(write));
            }
            let read = read(store.clone(), Arc::clone(history), Arc::clone(stop));
            load.push(tokio::spawn(read));
        }
        load
    }

    /// Plays a fault once; the longest pause of commits in it.
    async fn round(&self, what: &str, fault: &impl AsyncFn(&Self)) -> Duration {
        let stop = Arc::<AtomicBool>::default();
        let load = self.load(&stop);
        calm().await;
        let began = Instant::now();
        fault(self).await;
        let mended = Instant::now();
        let goes_on = || {
            let writes = self.history.writes.lock();
            let mut ends = writes.iter().filter_map(|write| write.end);
            ends.any(|(end, _)| end > mended)
        };
        while !goes_on() {
            assert!(mended.elapsed() < RECOVERY, "{what}: commits do not go on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        calm().await;
        stop.store(true, Ordering::SeqCst);
        for task in load {
            task.await.unwrap();
        }
        self.history.pause(began, Instant::now())
    }

    /// Holds what each process has at the end against the history, and all that is stored against
    /// itself.
    async fn judge(&self, what: &str) -> crate::mongo::tests::history::Checked {
        let mut last = HashMap::new();
        for store in &self.stores {
            store.commit.fresh().await.unwrap();
            for number in 0..METERS {
                let rows = whole(store, &name(number)).await.unwrap();
                let known = store.segments.statistics(&meter(&name(number))).await;
                let known = known.unwrap().readings;
                assert_eq!(known, u64::try_from(rows.len()).unwrap(), "{what}");
                last.insert(name(number), rows);
            }
            assert_eq!(self.history.check(&last).1, Vec::<String>::new(), "{what}");
        }
        for store in &self.stores {
            store.commit.close().await.unwrap();
        }
        let end = open_again(self.home, &self.database);
        end.segments.fold().await.unwrap();
        end.commit.close().await.unwrap();
        let faults = self.home.verify(&self.database).faults;
        assert_eq!(faults, Vec::<String>::new(), "{what}");
        self.history.check(&last).0
    }
}

/// Plays a fault as often as is asked under load, and holds what happened against the history.
pub(super) async fn play(home: &Home, (what, jobs): (&str, Jobs), fault: impl AsyncFn(&Scene<'_>)) {
    if std::env::var("EMS_SOAK_ONLY").is_ok_and(|only| !what.contains(&only)) {
        return;
    }
    let rounds = std::env::var("EMS_SOAK_ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    let mut scene = Scene::new(home, jobs);
    let mut pauses = Vec::new();
    for round in 0..rounds {
        scene.round = round;
        pauses.push(scene.round(what, &fault).await.as_millis());
    }
    let checked = scene.judge(what).await;
    println!(
        "{rounds} times: {what}: pauses {pauses:?} ms; {} batches acknowledged, {} in doubt, {} reads, \
         {} readings checked: 0 lost, 0 doubled, 0 invented, 0 gone back",
        checked.acknowledged, checked.in_doubt, checked.reads, checked.rows
    );
}
