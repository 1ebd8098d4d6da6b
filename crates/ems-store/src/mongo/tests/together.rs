//! Several processes on one database: what one accepts another reads, each reading is counted once
//! whoever sends it, and the jobs are done by one of them.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        fence::{Fence, Lease},
        link::Link,
    },
    Home, run,
};
use crate::{
    Batch, Deletion, Error, Store,
    contract::{batch, event, meter, range, scan},
    subject::Subject,
};

/// Numbers that look random, and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

/// Spreads small numbers over three months, so that segments of several months arise.
const SPREAD: i64 = 40_000_000_000;
const NAMES: [&str; 3] = ["h0", "h1", "h2"];

async fn pairs(store: &Store, name: &str) -> Vec<(i64, f64)> {
    let rows = scan(store, name, ems_core::time::TimeRange::ALL).await;
    rows.iter()
        .map(|row| (row.at.as_micros(), row.energy.get()))
        .collect()
}

#[test]
fn what_one_process_accepts_the_others_read_and_count_on() {
    run(async |home: &Home| {
        let database = home.make();
        let stores = [
            home.open(&database),
            home.open(&database),
            home.open(&database),
        ];
        let mut model: BTreeMap<(usize, i64), f64> = BTreeMap::new();
        let mut dice = Dice(7);
        for step in 0..120 {
            let writer = &stores[usize::try_from(dice.below(3)).unwrap()];
            let name = usize::try_from(dice.below(3)).unwrap();
            if dice.below(6) == 0 {
                let start = i64::try_from(dice.below(200)).unwrap() * SPREAD;
                let end = start + 30 * SPREAD;
                let before = model.len();
                model.retain(|(of, at), _| *of != name || !(start..end).contains(at));
                let deletion = Deletion {
                    meter: meter(NAMES[name]),
                    range: range(start, end),
                };
                let batch = Batch {
                    deletions: vec![deletion],
                    ledger: vec![event("delete")],
                    ..Batch::default()
                };
                let deleted = writer.commit.commit(batch).await.unwrap().deleted;
                assert_eq!(
                    deleted,
                    u64::try_from(before - model.len()).unwrap(),
                    "{step}"
                );
            } else {
                let (mut rows, mut expected) = (Vec::new(), crate::Counts::default());
                for _ in 0..=dice.below(20) {
                    let at = i64::try_from(dice.below(200)).unwrap() * SPREAD;
                    let kwh = [1.0, 2.5][usize::try_from(dice.below(2)).unwrap()];
                    rows.push((NAMES[name], at, kwh));
                    match model.insert((name, at), kwh) {
                        None => expected.accepted += 1,
                        Some(old) if old == kwh => expected.unchanged += 1,
                        Some(_) => expected.corrected += 1,
                    }
                }
                let outcome = writer.commit.commit(batch(&rows)).await.unwrap();
                assert_eq!(outcome.counts, expected, "{step}");
            }
            if dice.below(8) == 0 {
                let folder = &stores[usize::try_from(dice.below(3)).unwrap()];
                folder.segments.fold().await.unwrap();
            }
            let reader = &stores[usize::try_from(dice.below(3)).unwrap()];
            reader.commit.fresh().await.unwrap();
            for (name, id) in NAMES.iter().enumerate() {
                let of = model.iter().filter(|((of, _), _)| *of == name);
                let expected: Vec<_> = of.map(|((_, at), kwh)| (*at, *kwh)).collect();
                assert_eq!(pairs(reader, id).await, expected, "{step} {id}");
                let known = reader.segments.statistics(&meter(id)).await.unwrap();
                assert_eq!(
                    known.readings,
                    u64::try_from(expected.len()).unwrap(),
                    "{step}"
                );
            }
        }
        for store in &stores {
            store.commit.close().await.unwrap();
        }
        assert_eq!(home.verify(&database).faults, Vec::<String>::new());
    });
}

#[test]
fn many_processes_at_once_count_each_reading_once_and_number_the_ledger_without_a_gap() {
    run(async |home: &Home| {
        let database = home.make();
        let stores = [home.open(&database), home.open(&database)];
        let tasks: Vec<_> = (0..16_i64)
            .map(|task| {
                let store = stores[usize::try_from(task % 2).unwrap()].clone();
                tokio::spawn(async move {
                    let mut accepted = 0;
                    for step in 0..25 {
                        // Every reading is sent by both: one of them finds it there.
                        let micros = (task / 2) * 1000 + step;
                        let rows = [("c", micros, 1.0), ("n", 7 * micros + task % 2, 2.0)];
                        let outcome = store.commit.commit(batch(&rows)).await.unwrap();
                        accepted += outcome.counts.accepted;
                    }
                    accepted
                })
            })
            .collect();
        let mut accepted = 0;
        for task in tasks {
            accepted += task.await.unwrap();
        }
        for store in &stores {
            store.commit.fresh().await.unwrap();
            let there = pairs(store, "c").await.len() + pairs(store, "n").await.len();
            assert_eq!((accepted, there), (600, 600));
            assert_eq!(*store.ledger.durable().borrow(), 400);
            let entries = store.ledger.range(0, 1000).await.unwrap();
            assert!(entries.iter().map(|(index, _)| *index).eq(0..400));
        }
        for store in &stores {
            store.commit.close().await.unwrap();
        }
    });
}

#[test]
fn a_key_that_one_process_destroys_is_gone_for_all() {
    run(async |home: &Home| {
        let database = home.make();
        let (one, other) = (home.open(&database), home.open(&database));
        one.commit
            .commit(batch(&[("e", 1, 1.0), ("s", 1, 2.0)]))
            .await
            .unwrap();
        one.segments.fold().await.unwrap();
        one.commit.commit(batch(&[("e", 2, 1.0)])).await.unwrap();
        other.commit.fresh().await.unwrap();
        let subject = Subject::Meter(meter("e"));
        let before = other.subjects.pseudonym(&subject).await.unwrap();
        assert!(before.is_some());
        assert!(
            one.keys
                .destroy(&meter("e"), event("destroy_key"))
                .await
                .unwrap()
        );
        for store in [&one, &other] {
            store.commit.fresh().await.unwrap();
            assert_eq!(pairs(store, "e").await, []);
            assert_eq!(pairs(store, "s").await, [(1, 2.0)]);
            assert_eq!(store.subjects.pseudonym(&subject).await.unwrap(), None);
        }
        let again = other.commit.commit(batch(&[("e", 2, 5.0)])).await.unwrap();
        assert_eq!(again.counts.accepted, 1);
        one.commit.fresh().await.unwrap();
        let after = one.subjects.pseudonym(&subject).await.unwrap();
        assert!(after.is_some() && after != before);
        assert_eq!(pairs(&one, "e").await, [(2, 5.0)]);
        assert!(
            !one.keys
                .destroy(&meter("z"), event("destroy_key"))
                .await
                .unwrap()
        );
        let rotated = other.keys.rotate_pages().await.unwrap();
        assert!(rotated.pages > 0);
        one.commit.commit(batch(&[("new", 1, 1.0)])).await.unwrap();
        other.commit.fresh().await.unwrap();
        assert_eq!(pairs(&other, "new").await, [(1, 1.0)]);
        one.commit.close().await.unwrap();
        other.commit.close().await.unwrap();
        assert_eq!(home.verify(&database).faults, Vec::<String>::new());
    });
}

#[test]
fn another_instances_key_a_new_database_a_line_in_clear_and_a_small_oplog_are_refused() {
    run(async |home: &Home| {
        let database = home.make();
        let options = home.options(&database, false);
        let other = ems_crypto::keyring::RootKey::generate();
        let clock = crate::contract::clock;
        let opened = super::open(options.clone(), other, clock()).err();
        assert!(matches!(opened, Some(Error::Key(_))), "{opened:?}");
        let unmade = home.options("nothing", true);
        let opened = super::open(unmade, home.root.clone(), clock())
            .err()
            .unwrap();
        assert!(
            opened.to_string().contains("ems init --store mongo"),
            "{opened}"
        );
        let uri = options.uri.expose();
        let (before, rest) = uri.split_once("tls=true").unwrap();
        let (_, rest) = rest.split_once("&authSource").unwrap();
        let uri = format!("{before}authSource{rest}");
        let plain = |host: &str| super::Options {
            uri: super::Address::new(uri.replace("127.0.0.1", host)),
            ..options.clone()
        };
        let refused = super::open(plain("192.0.2.1"), home.root.clone(), clock())
            .err()
            .unwrap();
        assert!(refused.to_string().contains("TLS"), "{refused}");
        let greedy = super::Options {
            journal_bytes: 1 << 50,
            ..options
        };
        let refused = super::open(greedy, home.root.clone(), clock())
            .err()
            .unwrap();
        assert!(refused.to_string().contains("oplog"), "{refused}");
    });
}

#[test]
fn whoever_has_lost_the_jobs_writes_nothing_of_them() {
    run(async |home: &Home| {
        let database = home.make();
        let options = home.options(&database, false);
        let passed = crate::mongo::apart(|| {
            let link = Arc::new(Link::open(&options)?);
            let (one, other) = (Fence::new(&link), Fence::new(&link));
            one.take(1)?;
            let first = one.next_version()?;
            assert_eq!(one.look()?, Lease::Own(0));
            assert_eq!(
                other.look()?,
                Lease::Others,
                "it has just given a sign of life"
            );
            other.take(2)?;
            let mut passed = Vec::new();
            for (name, fence) in [("one", &one), ("other", &other)] {
                let done = fence.pass(|_| {
                    passed.push(name);
                    Ok(())
                });
                assert_eq!(done.is_ok(), name == "other");
                assert_eq!(fence.next_version().is_ok(), name == "other");
            }
            assert!(
                other.next_version()? > first + 1,
                "no version is given twice"
            );
            assert!(one.take(1).is_err(), "a token is given once");
            other.release()?;
            assert_eq!(one.look()?, Lease::Free);
            Ok(passed)
        });
        assert_eq!(passed.unwrap(), ["other"]);
    });
}
