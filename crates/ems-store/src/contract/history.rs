//! Random histories, played on a store and on sorted maps that are compared after every step.

use std::collections::BTreeMap;

use super::{Open, at, batch, event, meter, pairs, range};
use crate::{Batch, Counts, Deletion, Store};

/// One step of a random history.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put(Vec<(u8, i64, f64)>),
    Delete(u8, i64, i64),
    Fold,
    Reopen,
}

const NAMES: [&str; 3] = ["h0", "h1", "h2"];
/// Spreads small numbers over three months, so that segments of several months arise.
const SPREAD: i64 = 40_000_000_000;

/// Plays a history on the store and on sorted maps, and compares after every step.
pub(crate) async fn agrees_with_sorted_maps(open: Open<'_>, steps: &[Step]) {
    let mut store = open();
    let mut model: BTreeMap<(u8, i64), f64> = BTreeMap::new();
    let mut entries = 0;
    for step in steps {
        match step {
            Step::Put(rows) => {
                let mut expected = Counts::default();
                for (name, micros, kwh) in rows {
                    match model.insert((*name, micros * SPREAD), *kwh) {
                        None => expected.accepted += 1,
                        Some(old) if old == *kwh => expected.unchanged += 1,
                        Some(_) => expected.corrected += 1,
                    }
                }
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(name, micros, kwh)| (NAMES[usize::from(*name)], micros * SPREAD, *kwh))
                    .collect();
                assert_eq!(
                    store.commit.commit(batch(&rows)).await.unwrap().counts,
                    expected
                );
                entries += 1;
            }
            Step::Delete(name, start, length) => {
                let (start, end) = (start * SPREAD, (start + length) * SPREAD);
                let before = model.len();
                model.retain(|(owner, micros), _| owner != name || !(start..end).contains(micros));
                let deletion = Deletion {
                    meter: meter(NAMES[usize::from(*name)]),
                    range: range(start, end),
                };
                let outcome = store
                    .commit
                    .commit(Batch {
                        deletions: vec![deletion],
                        ledger: vec![event("delete")],
                        ..Batch::default()
                    })
                    .await
                    .unwrap();
                assert_eq!(
                    usize::try_from(outcome.deleted).unwrap(),
                    before - model.len()
                );
                entries += 1;
            }
            Step::Fold => store.segments.fold().await.unwrap(),
            Step::Reopen => {
                store.commit.close().await.unwrap();
                drop(store);
                store = open();
            }
        }
        compare(&store, &model).await;
    }
    assert_eq!(store.ledger.range(0, 10_000).await.unwrap().len(), entries);
    store.commit.close().await.unwrap();
}

async fn compare(store: &Store, model: &BTreeMap<(u8, i64), f64>) {
    for (number, name) in (0_u8..).zip(NAMES) {
        let expected: Vec<(i64, f64)> = model
            .iter()
            .filter(|((owner, _), _)| *owner == number)
            .map(|((_, at), kwh)| (*at, *kwh))
            .collect();
        assert_eq!(pairs(store, name).await, expected);
        let known = store.segments.statistics(&meter(name)).await.unwrap();
        let span = expected
            .first()
            .zip(expected.last())
            .map(|(first, last)| (at(first.0), at(last.0)));
        assert_eq!(
            (usize::try_from(known.readings).unwrap(), known.span),
            (expected.len(), span)
        );
    }
}
