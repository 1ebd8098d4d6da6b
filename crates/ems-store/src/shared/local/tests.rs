//! Windows against a model that forgets nothing.

use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;

use super::*;

fn on_a_clock() -> (LocalShared, Arc<AtomicI64>) {
    let clock = Arc::new(AtomicI64::new(0));
    let hand = Arc::clone(&clock);
    (
        LocalShared::with_ticks(Arc::new(move || hand.load(Ordering::SeqCst))),
        clock,
    )
}

fn named(key: impl Into<String>, limit: u64, length: i64) -> Window {
    Window {
        key: key.into(),
        limit,
        length_micros: length,
    }
}

fn window(limit: u64, length: i64) -> Window {
    named("k", limit, length)
}

fn keys(shared: &LocalShared) -> usize {
    let shards = shared.shards.iter();
    shards.map(|shard| shard.lock().rings.len()).sum()
}

/// Everything that was accepted, for ever: when and how much.
#[derive(Default)]
struct Model(Vec<(i64, u64)>);

impl Model {
    /// What is in the window that ends at `now`.
    fn held(&self, length: i64, now: i64) -> u64 {
        let inside = self.0.iter().filter(|(at, _)| at + length > now);
        inside.map(|(_, cost)| cost).sum()
    }

    /// The most in any window that begins with something accepted.
    fn most(&self, length: i64) -> u64 {
        let beginning = |from: i64| {
            let inside = self
                .0
                .iter()
                .filter(move |(at, _)| (from..from + length).contains(at));
            inside.map(|(_, cost)| cost).sum()
        };
        self.0
            .iter()
            .map(|(from, _)| beginning(*from))
            .max()
            .unwrap_or(0)
    }
}

proptest! {
    /// The model keeps every accepted cost and adds up those of the last window.
    #[test]
    fn agrees_with_a_model_that_forgets_nothing(
        limit in 1_u64..20,
        length in 1_i64..50,
        steps in prop::collection::vec((0_i64..20, 0_u64..22), 1..200),
    ) {
        let (shared, clock) = on_a_clock();
        let mut model = Model::default();
        for (wait, cost) in steps {
            let now = clock.fetch_add(wait, Ordering::SeqCst) + wait;
            let expected = model.held(length, now) + cost <= limit;
            let verdict = shared.decide(&window(limit, length), cost);
            prop_assert_eq!(verdict.allowed, expected);
            match verdict.retry_after_micros {
                Some(wait) if expected => prop_assert_eq!(wait, 0),
                None => prop_assert!(cost > limit),
                Some(wait) => {
                    prop_assert!(model.held(length, now + wait) + cost <= limit, "late enough");
                    prop_assert!(model.held(length, now + wait - 1) + cost > limit, "and no later");
                }
            }
            if expected && cost > 0 {
                model.0.push((now, cost));
            }
            prop_assert_eq!(verdict.remaining, limit - model.held(length, now));
            let free = verdict.reset_after_micros;
            prop_assert_eq!(model.held(length, now + free), 0);
            prop_assert!(free == 0 || model.held(length, now + free - 1) > 0);
        }
        prop_assert!(model.most(length) <= limit);
    }

    /// Windows of several keys and lengths do not see each other.
    #[test]
    fn keys_are_apart(steps in prop::collection::vec((0_i64..9, 0_usize..5), 1..200)) {
        let (shared, clock) = on_a_clock();
        let mut models: [Model; 5] = Default::default();
        for (wait, key) in steps {
            let now = clock.fetch_add(wait, Ordering::SeqCst) + wait;
            let (limit, length) = (1 + u64::try_from(key).unwrap(), 20);
            let expected = models[key].held(length, now) < limit;
            let verdict = shared.decide(&named(key.to_string(), limit, length), 1);
            prop_assert_eq!(verdict.allowed, expected);
            if expected {
                models[key].0.push((now, 1));
            }
        }
    }
}

#[test]
fn of_many_at_once_exactly_the_limit_passes() {
    let shared = Arc::new(LocalShared::new());
    let take = || {
        let shared = Arc::clone(&shared);
        std::thread::spawn(move || {
            (0..1000)
                .filter(|_| shared.decide(&window(100, 3_600_000_000), 1).allowed)
                .count()
        })
    };
    let threads: Vec<_> = (0..8).map(|_| take()).collect();
    let passed: usize = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!(passed, 100);
}

/// Threads that take under a clock which moves: no window of what passed holds more than the limit.
#[test]
fn of_many_at_once_no_stretch_holds_more_than_the_limit() {
    let (shared, clock) = on_a_clock();
    let shared = Arc::new(shared);
    let take = || {
        let (shared, clock) = (Arc::clone(&shared), Arc::clone(&clock));
        std::thread::spawn(move || {
            let mut passed = Vec::new();
            for _ in 0..2000 {
                // The clock moves only by these threads, so a take lies between two looks at it.
                let before = clock.fetch_add(1, Ordering::SeqCst);
                if shared.decide(&window(50, 1000), 1).allowed {
                    passed.push((before, clock.load(Ordering::SeqCst)));
                }
            }
            passed
        })
    };
    let threads: Vec<_> = (0..4).map(|_| take()).collect();
    let passed: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    for from in 0..clock.load(Ordering::SeqCst) {
        // Surely inside, whenever exactly each was taken.
        let inside = passed
            .iter()
            .filter(|(before, after)| from <= *before && *after < from + 1000);
        assert!(inside.count() <= 50);
    }
    assert!(passed.len() >= 50);
}

#[test]
fn asking_without_cost_and_a_refusal_take_no_memory() {
    let (shared, _) = on_a_clock();
    assert!(shared.decide(&window(5, 100), 0).allowed);
    assert!(!shared.decide(&window(5, 100), 6).allowed);
    assert_eq!(keys(&shared), 0);
}

#[test]
fn keys_that_hold_nothing_any_more_are_cleared_out() {
    let (shared, clock) = on_a_clock();
    for number in 0..200_000_i64 {
        clock.store(number * 10, Ordering::SeqCst);
        shared.decide(&named(number.to_string(), 5, 100), 1);
    }
    assert!(keys(&shared) <= 16 * SWEEP, "{}", keys(&shared));
}

#[test]
fn past_the_bound_the_keys_used_longest_ago_go_first() {
    let mut shard = Shard::default();
    for number in 0..i64::try_from(MOST).unwrap() * 2 {
        shard.make_room(number);
        let mut ring = Ring::default();
        ring.take(number, &window(5, i64::MAX), 1);
        shard.rings.insert(number.to_string().into(), ring);
        assert!(shard.rings.len() <= MOST);
    }
    let oldest = shard.rings.values().map(Ring::used_at).min().unwrap();
    let kept = i64::try_from(shard.rings.len()).unwrap();
    // Those that are left are the latest, without a gap.
    assert_eq!(oldest + kept, i64::try_from(MOST).unwrap() * 2);
}

#[test]
fn a_burst_that_is_over_gives_its_memory_back() {
    let mut ring = Ring::default();
    for now in 0..10_000 {
        ring.take(now, &window(10_000, 10_000), 1);
    }
    for now in 0..100 {
        ring.take(1_000_000 + now, &window(10_000, 10), 1);
    }
    assert!(
        ring.accepted.capacity() < 100,
        "{}",
        ring.accepted.capacity()
    );
}
