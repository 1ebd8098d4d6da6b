//! Random batches: in order, late, repeated, corrected, deleting, describing; small and large.

use ems_core::{
    meter::MeterId,
    quantity::{Kwh, Location, PowerFactor},
    reading::{Reading, ReadingBatch},
    time::{TimeRange, Timestamp},
};

use super::{
    super::super::vfs::simulated::{Dice, narrow},
    model::Model,
};
use crate::{Batch, Deletion, Expect, RecordChange, Table, contract};

/// 2024-01-20T00:00:00Z, in microseconds: the months change under the batches.
const START: i64 = 1_705_708_800_000_000;
const STEP: i64 = 3_600_000_000;

/// A random batch. Each has a ledger entry of its own, by which it is known again.
pub(super) fn batch(dice: &mut Dice, model: &Model, number: u64) -> Batch {
    let mut batch = Batch::default();
    for part in 0..=dice.below(3) {
        let mut event = contract::event(&format!("batch-{number}-{part}"));
        event.user = "u".repeat(narrow(dice.below(40)));
        batch.ledger.push(event);
    }
    if dice.once_in(12) {
        remove(dice, &mut batch);
        return batch;
    }
    for _ in 0..dice.below(4) {
        rows(dice, model, &mut batch.readings);
    }
    if dice.once_in(6) {
        let start = START + steps(dice, 1000);
        let end = start + STEP + steps(dice, 200);
        batch.deletions.push(Deletion {
            meter: meter(dice),
            range: TimeRange::new(at(start), at(end)).unwrap(),
        });
    }
    if dice.once_in(3) {
        batch.records.push(change(dice, model));
    }
    batch
}

/// A batch that only notes something.
pub(super) fn note(number: u64) -> Batch {
    Batch::note(contract::event(&format!("note-{number}")))
}

fn steps(dice: &mut Dice, below: u64) -> i64 {
    i64::try_from(dice.below(below)).unwrap() * STEP
}

pub(super) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

pub(super) fn meter(dice: &mut Dice) -> MeterId {
    let many = if dice.once_in(4) { 60 } else { 4 };
    contract::meter(&format!("m{}", dice.below(many)))
}

/// A range of a few days, or all time.
pub(super) fn range(dice: &mut Dice) -> TimeRange {
    if dice.once_in(4) {
        return TimeRange::ALL;
    }
    let start = START + steps(dice, 1200);
    let end = start + STEP + steps(dice, 300);
    TimeRange::new(at(start), at(end)).unwrap()
}

/// A meter goes with all its readings.
fn remove(dice: &mut Dice, batch: &mut Batch) {
    let meter = meter(dice);
    batch.records.push(RecordChange {
        table: Table::Meters,
        id: meter.to_string(),
        expect: Expect::Any,
        value: None,
    });
    batch.deletions.push(Deletion {
        meter,
        range: TimeRange::ALL,
    });
}

fn rows(dice: &mut Dice, model: &Model, readings: &mut ReadingBatch) {
    let meter = meter(dice);
    let count = match dice.below(24) {
        0 => 600,
        1..4 => dice.below(80),
        _ => 1 + dice.below(4),
    };
    let last = model.meters.get(&meter).and_then(|rows| rows.keys().last());
    let mut next = last.map_or(START, |last| last.as_micros() + STEP);
    let late = dice.once_in(3);
    for _ in 0..count {
        let micros = if late {
            START + steps(dice, 1000)
        } else {
            next
        };
        next += STEP + steps(dice, 3);
        readings.push(meter.clone(), reading(dice, micros));
    }
}

fn reading(dice: &mut Dice, micros: i64) -> Reading {
    let places = ["Leeds", "Sceaux"];
    Reading {
        at: at(micros),
        energy: Kwh::new(dice.pick(&[0.0, 0.25, 0.5])).unwrap(),
        power_factor: dice.once_in(5).then(|| PowerFactor::new(0.5).unwrap()),
        location: dice
            .once_in(5)
            .then(|| Location::parse(dice.pick(&places)).unwrap()),
    }
}

fn change(dice: &mut Dice, model: &Model) -> RecordChange {
    let table = dice.pick(&[Table::Users, Table::Keys, Table::Meters]);
    let id = match table {
        Table::Meters => meter(dice).to_string(),
        _ => format!("r{}", dice.below(8)),
    };
    let known = model.records.get(&(table, id.clone()));
    let expect = match (known, dice.below(4)) {
        (_, 0) => Expect::Any,
        (_, 1) => Expect::Absent,
        (Some((_, Some(revision))), 2) => Expect::Revision(*revision),
        (_, _) => Expect::Revision(dice.below(20)),
    };
    // A revision that nobody was told cannot be expected.
    let told = known.is_none_or(|(_, revision)| revision.is_some());
    let removes = table != Table::Meters && dice.once_in(4);
    RecordChange {
        table,
        id,
        expect: if told { expect } else { Expect::Any },
        value: (!removes).then(|| vec![b'v'; narrow(dice.below(60))]),
    }
}
