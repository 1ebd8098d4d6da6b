//! A writer: one request after the other, until the server is gone. It knows what each answer has
//! to be, and after a restart what has to be there.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ems_api::{
    client::{Client, Error, Span, UsageQuery},
    reading::Reading,
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    change::{BUSY, Change, Key, Rows, SHARED, YEAR, instant, is, kwh, name, second},
    dice::Dice,
    found::{Figures, compare, either},
};

/// Readings that a writer keeps; past it, ranges are deleted.
const KEPT: usize = 2500;

/// The way to a server that will be killed.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    /// By the admin socket.
    pub(super) owner: Client,
    /// Told of each answer.
    pub(super) answered: UnboundedSender<()>,
    /// Whether it is meant to be gone.
    pub(super) killed: Arc<AtomicBool>,
}

impl Link {
    /// The answer; `None` where there is none because the server was killed.
    #[expect(
        clippy::panic,
        reason = "a refusal fails the test, and silence before the kill"
    )]
    pub(super) fn answer<T>(&self, what: &str, answer: Result<T, Error>) -> Option<T> {
        match answer {
            Ok(answer) => {
                let _ = self.answered.send(());
                Some(answer)
            }
            Err(Error::Transport(_)) if self.killed.load(Ordering::SeqCst) => None,
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

pub(super) struct Writer {
    number: u64,
    dice: Dice,
    /// Where the next reading in order comes.
    next: u64,
    pub(super) rows: Rows,
    last: Option<Change>,
    /// What was sent and not answered.
    doubt: Option<Change>,
    again: Option<Change>,
    pub(super) figures: Figures,
}

impl Writer {
    pub(super) fn new(number: u64, seed: u64) -> Self {
        Self {
            number,
            dice: Dice::new(seed),
            next: 0,
            rows: Rows::new(),
            last: None,
            doubt: None,
            again: None,
            figures: Figures::default(),
        }
    }

    /// Sends until the server is gone.
    pub(super) async fn run(mut self, link: Link) -> Self {
        loop {
            let answered = match self.dice.below(10) {
                0 => self.read(&link).await,
                1 => self.sum(&link).await,
                _ => self.change(&link).await,
            };
            if answered.is_none() {
                return self;
            }
            self.figures.acknowledged += 1;
        }
    }

    /// Changes something; the answer has to be the model's.
    async fn change(&mut self, link: &Link) -> Option<()> {
        let change = self.again.take().unwrap_or_else(|| self.choose());
        let expected = change.expected(&self.rows);
        let answer = change.send(link, self.number).await;
        self.doubt = Some(change);
        let answer = link.answer("a change", answer)?;
        let change = self.doubt.take()?;
        let what = format!("{} to {change:?}", self.number);
        self.figures.count(&what, &answer, &expected);
        change.apply(&mut self.rows);
        self.last = Some(change);
        Some(())
    }

    fn choose(&mut self) -> Change {
        let dice = &mut self.dice;
        if self.rows.len() > KEPT || dice.once_in(12) {
            let quiet = dice.once_in(4);
            let meter = if quiet {
                BUSY + dice.below(SHARED - BUSY)
            } else {
                busy(dice)
            };
            let many = self.rows.len() > KEPT || dice.once_in(4);
            let length = match (quiet, many) {
                (true, true) => YEAR,
                (false, true) => YEAR / 2,
                (_, false) => YEAR / 200,
            };
            let from = dice.below(YEAR - length);
            let own = self.rows.range((SHARED, 0)..).next().is_some();
            if own && dice.once_in(4) {
                let erase = dice.once_in(3);
                return if erase { Change::Erase } else { Change::Remove };
            }
            if self.rows.range((meter, 0)..(meter, YEAR)).next().is_some() {
                return Change::Delete(meter, from, from + length);
            }
        }
        match (dice.below(8), &self.last) {
            (0, Some(last @ (Change::Post(_) | Change::Batch(..)))) => last.clone(),
            (0..4, _) => {
                let count = 1 + dice.below(800);
                let rows = (0..count).map(|_| self.row()).collect();
                Change::Batch(rows, self.dice.once_in(2))
            }
            _ => Change::Post(Rows::from([self.row()])),
        }
    }

    /// A reading: mostly the next one, else one that comes late, or one that was there before.
    fn row(&mut self) -> (Key, u64) {
        let dice = &mut self.dice;
        let meter = busy(dice);
        let key = match dice.below(16) {
            0 => {
                self.next = (self.next + 1 + dice.below(900)) % YEAR;
                (BUSY + dice.below(SHARED - BUSY), self.next)
            }
            1 => (meter, dice.below(YEAR)),
            2..5 => {
                let from = (meter, dice.below(YEAR));
                let earlier = self.rows.range(from..).next();
                earlier.map_or(from, |(key, _)| *key)
            }
            _ => {
                self.next = (self.next + 1 + dice.below(900)) % YEAR;
                (meter, self.next)
            }
        };
        let known = self.rows.get(&key).copied();
        let value = known.filter(|_| dice.once_in(3));
        (key, value.unwrap_or_else(|| dice.next()))
    }

    /// Reads a part of what it knows.
    async fn read(&mut self, link: &Link) -> Option<()> {
        let meter = self.dice.below(SHARED + 1);
        let from = self.dice.below(YEAR / 2);
        let range = (meter, from)..(meter, from + YEAR / 2);
        let rows: Rows = self.rows.range(range.clone()).map(copied).collect();
        let span = (range.start.1, range.end.1);
        let answer = fetch(&link.client, self.number, meter, span).await;
        let found = link.answer("readings", answer)?;
        self.figures.readings += wide(rows.len());
        let faults = compare(&found, &rows, |found, value| is(found, *value));
        self.figures.faults += &faults;
        Some(())
    }

    /// Asks for the usage of its year of a meter.
    async fn sum(&mut self, link: &Link) -> Option<()> {
        let meter = self.dice.below(SHARED + 1);
        let rows = self.rows.range((meter, 0)..(meter, YEAR));
        let expected = rows.fold((0, 0.0), |(count, sum), (_, value)| {
            (count + 1, sum + kwh(*value))
        });
        let (start, end) = (instant(self.number, 0), instant(self.number, YEAR));
        let query = UsageQuery {
            meters: &[&name(self.number, meter)],
            span: Span {
                start: &start.to_string(),
                end: &end.to_string(),
            },
            interval: "1mo",
            timezone: "UTC",
        };
        let answer = none_if_unknown(link.client.usage(query).await);
        let usage = link.answer("usage", answer)?;
        let buckets = usage.into_iter().flat_map(|usage| usage.buckets);
        let found = buckets.fold((0, 0.0), |(count, sum), bucket| {
            (count + bucket.count, sum + bucket.energy_kwh.unwrap_or(0.0))
        });
        let what = format!("usage of {}", name(self.number, meter));
        self.figures.count(&what, &found, &expected);
        Some(())
    }

    /// Holds what there is against what was acknowledged. What was in doubt is there whole or not at
    /// all, over all meters that it named; it is sent again later.
    pub(super) async fn settle(&mut self, client: &Client) {
        let mut found = Vec::new();
        for meter in 0..=SHARED {
            let rows = fetch(client, self.number, meter, (0, YEAR)).await;
            found.extend(rows.unwrap());
        }
        let same = |found: &Reading, value: &u64| is(found, *value);
        let mut faults = compare(&found, &self.rows, same);
        if let Some(doubt) = self.doubt.take() {
            let mut rows = self.rows.clone();
            doubt.apply(&mut rows);
            let (there, nearer) = either(faults, compare(&found, &rows, same));
            faults = nearer;
            if there {
                self.rows = rows;
            }
            self.figures.doubtful += 1;
            self.figures.there += u64::from(there);
            // A meter that is gone cannot be removed again.
            self.again = (!matches!(doubt, Change::Remove | Change::Erase)).then_some(doubt);
        }
        self.figures.readings += wide(self.rows.len());
        self.figures.faults += &faults;
    }
}

/// One of the meters that get most.
fn busy(dice: &mut Dice) -> u64 {
    let meter = dice.below(BUSY + 1);
    if meter == BUSY { SHARED } else { meter }
}

fn copied((key, value): (&Key, &u64)) -> (Key, u64) {
    (*key, *value)
}

pub(super) fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

/// What is there of a writer's meter, in the order of the answer.
async fn fetch(
    client: &Client,
    writer: u64,
    meter: u64,
    (from, to): (u64, u64),
) -> Result<Vec<(Key, Reading)>, Error> {
    let (start, end) = (instant(writer, from), instant(writer, to));
    let span = Span {
        start: &start.to_string(),
        end: &end.to_string(),
    };
    let found = client.readings(&name(writer, meter), span).await;
    let readings = none_if_unknown(found)?.into_iter();
    let readings = readings.flat_map(|found| found.readings);
    Ok(readings
        .map(|reading| ((meter, second(writer, reading.timestamp)), reading))
        .collect())
}

/// A meter of which nothing was ever stored is not known, and one that was removed neither.
fn none_if_unknown<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Err(error) if error.status() == Some(404) => Ok(None),
        answer => answer.map(Some),
    }
}
