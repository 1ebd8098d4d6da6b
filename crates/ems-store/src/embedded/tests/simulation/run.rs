//! One seed: some rounds, each from an opening to a close, a kill or a power cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ems_core::{clock::Clock, meter::MeterStatistics, reading::Reading, time::TimeRange};
use ems_crypto::keyring::RootKey;

use super::{
    super::super::{
        Options, Report, open_on, verify_on,
        vfs::{
            Ground,
            simulated::{Dice, Operation, Plan, SimulatedDisk, Trouble, wide},
        },
    },
    batches,
    model::Model,
};
use crate::{Batch, Columns, Error, Outcome, Result, Store, Table, contract, readings::queue::FEW};

/// What was done and checked.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    seeds: u64,
    rounds: u64,
    cuts: u64,
    failures: u64,
    full: u64,
    commits: u64,
    doubtful: u64,
    readings: u64,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.rounds += other.rounds;
        self.cuts += other.cuts;
        self.failures += other.failures;
        self.full += other.full;
        self.commits += other.commits;
        self.doubtful += other.doubtful;
        self.readings += other.readings;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seeds,
            rounds,
            cuts,
            failures,
            full,
            commits,
            doubtful,
            readings,
        } = self;
        write!(
            f,
            "{seeds} seeds, {rounds} rounds, {cuts} power cuts, {failures} answers with an error, \
             {full} times full, {commits} commits ({doubtful} in doubt), {readings} readings \
             checked: none lost, doubled or miscounted"
        )
    }
}

/// The files of a disk.
pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What became of a store of which something was changed.
pub(super) enum Verdict {
    /// Opening or verifying named it.
    Named(String),
    /// Everything is there as it was; the pieces of each file that were read to say so.
    AsItWas(BTreeMap<PathBuf, BTreeSet<u64>>),
}

/// Ends a round: the disk failed, so the answers say nothing more.
#[derive(Debug)]
struct Stop;

pub(super) struct Run {
    dice: Dice,
    disk: SimulatedDisk,
    root: RootKey,
    clock: Arc<dyn Clock>,
    model: Model,
    /// Batches that were sent and not acknowledged, since the last that was.
    doubt: Vec<Batch>,
    sent: u64,
    /// Whether something went wrong in this round.
    troubled: bool,
    history: Vec<String>,
    pub(super) figures: Figures,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            disk: SimulatedDisk::new(seed),
            root: RootKey::generate(),
            clock: contract::clock(),
            model: Model::default(),
            doubt: Vec::new(),
            sent: 0,
            troubled: false,
            history: Vec::new(),
            figures: Figures {
                seeds: 1,
                ..Figures::default()
            },
        }
    }

    pub(super) fn history(&self) -> &[String] {
        &self.history
    }

    fn note(&mut self, what: impl Into<String>) {
        self.history.push(what.into());
    }

    pub(super) async fn rounds(&mut self) {
        for _ in 0..3 + self.dice.below(4) {
            self.figures.rounds += 1;
            self.disk.was_troubled();
            self.troubled = false;
            let store = self.open();
            if self.round(&store).await.is_err() {
                self.note("the round ends in trouble");
            }
            self.end(store).await;
        }
        self.disk.restart();
        self.disk.was_troubled();
        self.troubled = false;
        let store = self.open();
        self.disk.plan(None);
        self.compare(&store)
            .await
            .expect("nothing is wrong with the disk");
        store.commit.close().await.unwrap();
        drop(store);
        self.verify_exactly();
    }

    /// A store with some of everything: its files some folds before, and as it leaves them when it is
    /// closed or killed.
    pub(super) async fn small(seed: u64, close: bool) -> (Self, Files, Files) {
        let mut run = Self::new(seed);
        let store = run.try_open(1 << 20).unwrap();
        let mut before = Files::new();
        for step in 0..24 {
            run.commit(&store, 1).await.unwrap();
            if step == 17 {
                before = run.disk.files();
            }
            if step % 6 == 1 {
                store.segments.fold().await.unwrap();
            }
        }
        // A key that was not there before.
        let new = contract::batch(&[("new", 1, 1.0)]);
        let answer = store.commit.commit(new.clone()).await;
        run.answered(new, answer).unwrap();
        if close {
            store.commit.close().await.unwrap();
            drop(store);
            let files = run.disk.files();
            return (run, before, files);
        }
        let files = run.disk.files();
        run.disk.restart();
        (run, before, files)
    }

    /// What becomes of the store where its files are these: whether opening or verifying names
    /// something, and if not, whether all of it is as it was.
    pub(super) async fn judge(&self, files: Files) -> Verdict {
        let disk = SimulatedDisk::of(0, files);
        let mut probe = Self {
            disk,
            model: self.model.clone(),
            root: self.root.clone(),
            clock: Arc::clone(&self.clock),
            ..Self::new(0)
        };
        match probe.verify() {
            Err(error) => return Verdict::Named(error.to_string()),
            Ok(report) if !report.faults.is_empty() => {
                return Verdict::Named(report.faults.join("; "));
            }
            Ok(_) => {}
        }
        let store = match probe.try_open(1 << 20) {
            Err(error) => return Verdict::Named(error.to_string()),
            Ok(store) => store,
        };
        probe
            .compare(&store)
            .await
            .expect("nothing is wrong with the disk");
        drop(store);
        Verdict::AsItWas(probe.disk.pieces_read())
    }

    fn ground(&self) -> Ground {
        Self::ground_on(&self.disk)
    }

    pub(super) fn ground_on(disk: &SimulatedDisk) -> Ground {
        Ground {
            vfs: Arc::new(disk.clone()),
            ahead: 16 << 10,
            retry: Duration::from_millis(1),
            idle: Duration::from_millis(1),
            check: false,
        }
    }

    fn options(journal_bytes: u64) -> Options {
        Options {
            data_dir: PathBuf::from("/data"),
            keyring_dir: PathBuf::from("/keyring"),
            journal_bytes,
            key_cache_bytes: 1 << 20,
            reserve_bytes: 0,
        }
    }

    /// Opens the store, again and again where trouble hits the opening.
    fn open(&mut self) -> Store {
        if self.dice.once_in(3) {
            self.plan(40);
        }
        let size = 1 << (9 + self.dice.below(8));
        loop {
            match self.try_open(size) {
                Ok(store) => {
                    self.note(format!("opened, folding at {size} bytes"));
                    return store;
                }
                Err(error) => {
                    self.note(format!("not opened: {error}"));
                    assert!(self.seen_trouble(), "it does not open: {error}");
                    self.disk.restart();
                    if self.dice.once_in(2) {
                        self.disk.cut();
                        self.disk.restart();
                    }
                    // That was it: now it must open, and nothing be missing.
                    self.disk.was_troubled();
                    self.troubled = false;
                }
            }
        }
    }

    fn try_open(&self, size: u64) -> Result<Store> {
        open_on(
            self.ground(),
            Self::options(size),
            self.root.clone(),
            Arc::clone(&self.clock),
        )
    }

    fn verify(&self) -> Result<Report> {
        verify_on(
            Ground {
                check: true,
                ..self.ground()
            },
            Self::options(1 << 20),
            self.root.clone(),
            Arc::clone(&self.clock),
        )
    }

    /// Lets something go wrong within the next `within` operations.
    fn plan(&mut self, within: u64) {
        let dice = &mut self.dice;
        let trouble = if dice.once_in(3) {
            Trouble::Fail
        } else {
            Trouble::Cut
        };
        let suffixes = ["", "", ".journal", "engine.redb", "pages.redb", "keyring"];
        let suffix = dice.pick(&suffixes);
        let operations = [
            None,
            Some(Operation::Write),
            Some(Operation::Sync),
            Some(Operation::Name),
            Some(Operation::Read),
        ];
        let operation = dice.pick(&operations);
        let few = if operation == Some(Operation::Name) {
            4
        } else {
            1
        };
        let after = dice.below(within / few + 1);
        let plan = Plan {
            trouble,
            suffix,
            operation,
            after,
        };
        self.note(format!("{plan:?}"));
        self.disk.plan(Some(plan));
    }

    fn seen_trouble(&mut self) -> bool {
        self.troubled |= self.disk.was_troubled();
        self.troubled
    }

    async fn round(&mut self, store: &Store) -> Result<(), Stop> {
        self.compare(store).await?;
        if !self.dice.once_in(4) {
            let within = self.dice.pick(&[10, 60, 300]);
            self.plan(within);
        }
        for _ in 0..3 + self.dice.below(20) {
            self.step(store).await?;
        }
        Ok(())
    }

    async fn step(&mut self, store: &Store) -> Result<(), Stop> {
        match self.dice.below(16) {
            0..8 => self.commit(store, 1).await,
            8 | 9 => {
                let together = 2 + self.dice.below(4);
                self.commit(store, together).await
            }
            10 => {
                self.note("fold");
                let folded = store.segments.fold().await;
                self.expect(folded)
            }
            11..14 => self.look(store).await,
            14 => self.compare(store).await,
            _ => self.fill_up(store).await,
        }
    }

    /// The answer; an error must be the disk's fault.
    fn expect<T>(&mut self, answer: Result<T>) -> Result<T, Stop> {
        answer.map_err(|error| {
            self.note(format!("failed: {error}"));
            self.figures.failures += 1;
            assert!(self.seen_trouble(), "without a reason: {error}");
            assert!(
                !matches!(error, Error::Damaged { .. }),
                "a failure is no damage: {error}"
            );
            Stop
        })
    }

    async fn commit(&mut self, store: &Store, together: u64) -> Result<(), Stop> {
        let mut sent: Vec<(Batch, _)> = Vec::new();
        for _ in 0..together {
            self.sent += 1;
            let batch = batches::batch(&mut self.dice, &self.model, self.sent);
            let few = |batch: &Batch| batch.readings.len() <= FEW;
            if sent.iter().any(|(other, _)| few(other) != few(&batch)) {
                // Those of a kind are served in their order, not all.
                continue;
            }
            let (commit, copy) = (Arc::clone(&store.commit), batch.clone());
            sent.push((
                batch,
                tokio::spawn(async move { commit.commit(copy).await }),
            ));
        }
        let mut ended = Ok(());
        for (batch, answer) in sent {
            let answer = answer.await.unwrap();
            ended = ended.and(self.answered(batch, answer));
        }
        ended
    }

    /// Holds an answer to a commit against the model's.
    fn answered(&mut self, batch: Batch, answer: Result<Outcome>) -> Result<(), Stop> {
        self.figures.commits += 1;
        let name = batch.ledger[0].action.clone();
        match answer {
            Ok(outcome) => {
                self.note(format!("{name}: {outcome:?}"));
                // One writer, one journal: what came before is not there, or it would be told.
                self.doubt.clear();
                let expected = self.model.apply(&batch, Some(outcome.revision));
                let expected = expected.expect("a record was not as expected");
                assert_eq!(
                    (outcome.counts, outcome.deleted),
                    (expected.counts, expected.deleted)
                );
                Ok(())
            }
            Err(Error::Conflict { .. }) => {
                self.note(format!("{name}: conflict"));
                let applied = self.model.clone().apply(&batch, None);
                assert_eq!(applied, None, "{name}: a conflict that is none");
                Ok(())
            }
            Err(error) => {
                self.doubt.push(batch);
                self.figures.doubtful += 1;
                self.expect(Err(error))
            }
        }
    }

    /// A look at some of what is stored.
    async fn look(&mut self, store: &Store) -> Result<(), Stop> {
        let meter = batches::meter(&mut self.dice);
        let range = batches::range(&mut self.dice);
        let rows = scan(store, meter.as_str(), range).await;
        let rows = self.expect(rows)?;
        let expected: Vec<Reading> = self.model.meters.get(&meter).map_or_else(Vec::new, |rows| {
            rows.range(range.start()..range.end())
                .map(|(_, row)| row.clone())
                .collect()
        });
        self.figures.readings += wide(rows.len());
        same(&format!("{meter} {range:?}"), &rows, &expected);
        Ok(())
    }

    /// All that is stored, and every figure.
    async fn compare(&mut self, store: &Store) -> Result<(), Stop> {
        self.compare_ledger(store).await?;
        for table in Table::ALL {
            let found = self.expect(store.records.list(table, "", None, usize::MAX).await)?;
            let known = self.model.records.iter_mut();
            let mut known = known.filter(|((kind, _), _)| *kind == table);
            for record in found {
                let ((_, id), (value, revision)) = known.next().expect("a record too many");
                assert_eq!((&**id, &**value), (&*record.id, &*record.value));
                assert_eq!(*revision.get_or_insert(record.revision), record.revision);
            }
            assert!(known.next().is_none(), "a record is gone from {table:?}");
        }
        for (meter, rows) in self.model.meters.clone() {
            let expected: Vec<Reading> = rows.into_values().collect();
            let found = self.expect(scan(store, meter.as_str(), TimeRange::ALL).await)?;
            same(meter.as_str(), &found, &expected);
            self.figures.readings += wide(found.len());
            let statistics = self.expect(store.segments.statistics(&meter).await)?;
            let first = expected.first().map(|row| row.at);
            assert_eq!(
                statistics,
                MeterStatistics {
                    readings: wide(expected.len()),
                    span: first.zip(expected.last().map(|row| row.at)),
                },
                "{meter}"
            );
        }
        Ok(())
    }

    /// The ledger; what was in doubt is settled by it.
    async fn compare_ledger(&mut self, store: &Store) -> Result<(), Stop> {
        let entries = self.expect(store.ledger.range(0, usize::MAX).await)?;
        let (indexes, events): (Vec<u64>, Vec<_>) = entries.into_iter().unzip();
        assert!(indexes.iter().copied().eq(0..wide(indexes.len())));
        let told: Vec<(String, Option<u64>)> = events
            .into_iter()
            .map(|event| (event.action, event.filters["accepted"].as_u64()))
            .collect();
        for batch in std::mem::take(&mut self.doubt) {
            let next = told.get(self.model.ledger.len()).map(|entry| &entry.0);
            if next == Some(&batch.ledger[0].action) {
                self.note(format!("{} is there", batch.ledger[0].action));
                self.model.apply(&batch, None).expect("it was applied");
            }
        }
        assert_eq!(told, self.model.ledger);
        assert_eq!(*store.ledger.durable().borrow(), wide(told.len()));
        Ok(())
    }

    /// Fills the disk, goes on for a while, makes room: without a restart all is well again.
    async fn fill_up(&mut self, store: &Store) -> Result<(), Stop> {
        if self.seen_trouble() {
            return Ok(());
        }
        self.disk.plan(None);
        self.figures.full += 1;
        let (mut more, lie) = (self.dice.below(60) << 10, self.dice.once_in(2));
        if !lie && self.dice.once_in(2) {
            // What the store leaves free, and what it reckons with.
            more += 1 << 20;
        }
        self.troubled = true;
        self.note(format!(
            "full after {more} bytes, and nobody is told: {lie}"
        ));
        self.disk.bound(Some(more), lie.then_some(u64::MAX));
        for _ in 0..4 + self.dice.below(8) {
            self.sent += 1;
            let batch = batches::batch(&mut self.dice, &self.model, self.sent);
            let answer = store.commit.commit(batch.clone()).await;
            if let Err(error) = &answer {
                let said = matches!(error, Error::Unavailable(_) | Error::Conflict { .. });
                assert!(said, "a full disk is to be told as such: {error}");
            }
            drop(self.answered(batch, answer));
            self.look_stubbornly(store).await;
        }
        self.sent += 1;
        let note = batches::note(self.sent);
        let noted = store.commit.commit(note.clone()).await;
        assert!(noted.is_ok(), "the reserve is for notes: {noted:?}");
        drop(self.answered(note, noted));
        self.disk.bound(None, None);
        self.note("there is room again");
        self.sent += 1;
        let batch = batches::batch(&mut self.dice, &self.model, self.sent);
        let answer = store.commit.commit(batch.clone()).await;
        assert!(
            matches!(answer, Ok(_) | Err(Error::Conflict { .. })),
            "there is room again: {answer:?}"
        );
        self.answered(batch, answer)?;
        for attempt in 0.. {
            match store.segments.fold().await {
                Ok(()) => break,
                Err(error) => assert!(attempt < 20, "there is room to fold: {error}"),
            }
        }
        self.disk.was_troubled();
        self.troubled = false;
        self.compare(store).await
    }

    /// Reads go on when the disk is full; one may meet the reopening of a file.
    async fn look_stubbornly(&mut self, store: &Store) {
        for attempt in 0.. {
            if self.look(store).await.is_ok() {
                return;
            }
            assert!(attempt < 20, "reads go on when the disk is full");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends a round: by a close, a kill, or a cut.
    async fn end(&mut self, store: Store) {
        let way = self.dice.below(3);
        if way == 0 {
            let closed = store.commit.close().await;
            self.note(format!("closed: {closed:?}"));
            let closed = self.expect(closed);
            drop(store);
            self.disk.plan(None);
            if closed.is_ok() && !self.seen_trouble() {
                return self.verify_exactly();
            }
        } else {
            self.note(if way == 1 { "killed" } else { "cut" });
            if way == 2 {
                self.disk.cut();
            }
            self.disk.restart();
            drop(store);
        }
        self.disk.restart();
        self.figures.cuts += u64::from(self.disk.was_cut());
    }

    /// Everything authenticates, and there is as much of it as there should be.
    fn verify_exactly(&self) {
        let report = self.verify().unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
        assert_eq!(report.readings, self.model.readings());
        assert_eq!(report.ledger, wide(self.model.ledger.len()));
        assert_eq!(report.records, wide(self.model.records.len()));
        assert_eq!(report.superseded, self.model.superseded());
    }
}

async fn scan(store: &Store, meter: &str, range: TimeRange) -> Result<Vec<Reading>> {
    let (mut rows, mut rest) = (Vec::new(), Some(range));
    while let Some(range) = rest {
        let meter = contract::meter(meter);
        let piece = store.segments.scan(&meter, range, Columns::All).await?;
        rows.extend(piece.block.iter());
        rest = TimeRange::new(piece.until, range.end());
    }
    Ok(rows)
}

/// Compares readings; says where they part, not all of them.
fn same(what: &str, found: &[Reading], expected: &[Reading]) {
    let parted = found
        .iter()
        .zip(expected)
        .position(|(one, other)| one != other);
    let at = parted.unwrap_or(found.len().min(expected.len()));
    assert!(
        found == expected,
        "{what}: {} readings instead of {}, other from number {at} on: {:?} instead of {:?}",
        found.len(),
        expected.len(),
        found.get(at),
        expected.get(at)
    );
}
