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
        key: Key::of_stranger(key),
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
            let verdict = shared.take(&window(limit, length), cost, None);
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
            let verdict = shared.take(&named(key.to_string(), limit, length), 1, None);
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
                .filter(|_| shared.take(&window(100, 3_600_000_000), 1, None).allowed)
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
                if shared.take(&window(50, 1000), 1, None).allowed {
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
    assert!(shared.take(&window(5, 100), 0, None).allowed);
    assert!(!shared.take(&window(5, 100), 6, None).allowed);
    assert_eq!(keys(&shared), 0);
}

#[test]
fn keys_that_hold_nothing_any_more_are_cleared_out() {
    let (shared, clock) = on_a_clock();
    for number in 0..200_000_i64 {
        clock.store(number * 10, Ordering::SeqCst);
        shared.take(&named(number.to_string(), 5, 100), 1, None);
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
        shard
            .rings
            .insert((u64::try_from(number).unwrap(), 0), ring);
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
    assert!(ring.capacity() < 100, "{}", ring.capacity());
}

fn key(name: &str) -> Key {
    Key::of_stranger(name)
}

fn taken(answer: Answer) -> Verdict {
    match answer {
        Answer::Taken(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

#[test]
fn different_things_are_counted_each_once_and_again_after_the_window() {
    let (shared, clock) = on_a_clock();
    let see = |what: &str| {
        let steps = [Step::Take {
            window: named("accounts", 2, 100),
            cost: 1,
            once: Some(key(what)),
        }];
        let verdict = taken(shared.decide(&steps)[0]);
        (verdict.first, verdict.counted, verdict.remaining)
    };
    assert_eq!(see("a"), (true, true, 1));
    assert_eq!(see("a"), (false, false, 1));
    assert_eq!(see("b"), (true, true, 0));
    // Past the limit it is still told that it was the first time, once.
    assert_eq!(see("c"), (true, false, 0));
    assert_eq!(see("c"), (false, false, 0));
    clock.store(100, Ordering::SeqCst);
    assert_eq!(see("a"), (true, true, 1));
}

#[test]
fn a_mark_ends_by_itself_and_a_look_at_it_stops_what_follows() {
    let (shared, clock) = on_a_clock();
    let mark = |for_micros| Step::Mark {
        key: key("m"),
        for_micros,
    };
    let asked = || {
        let look = Step::Look {
            key: key("m"),
            stop: true,
        };
        shared.decide(&[look, Step::take(window(5, 100), 1)])
    };
    shared.decide(&[mark(50), mark(20)]);
    assert_eq!(asked(), [Answer::Marked(Some(50)), Answer::Skipped]);
    clock.store(49, Ordering::SeqCst);
    assert_eq!(asked()[0], Answer::Marked(Some(1)));
    clock.store(50, Ordering::SeqCst);
    assert_eq!(asked()[0], Answer::Marked(None));
    assert!(taken(asked()[1]).allowed);
    shared.decide(&[mark(50), Step::Clear { key: key("m") }]);
    assert_eq!(asked()[0], Answer::Marked(None));
    shared.decide(&[Step::Clear { key: key("k") }]);
    assert_eq!(taken(asked()[1]).remaining, 4);
}

#[test]
fn strangers_push_no_principals_window_or_mark_out() {
    let (shared, _) = on_a_clock();
    let of_principal = Window {
        key: Key::of_principal("p"),
        ..window(1, i64::MAX)
    };
    shared.take(&of_principal, 1, None);
    shared.decide(&[Step::Mark {
        key: Key::of_principal("live"),
        for_micros: i64::MAX,
    }]);
    for number in 0..400_000 {
        shared.take(&named(format!("w{number}"), 5, i64::MAX), 1, None);
        shared.decide(&[Step::Mark {
            key: key(&format!("m{number}")),
            for_micros: 1000,
        }]);
    }
    assert!(!shared.take(&of_principal, 1, None).allowed);
    let look = Step::Look {
        key: Key::of_principal("live"),
        stop: false,
    };
    assert!(matches!(shared.decide(&[look])[0], Answer::Marked(Some(_))));
    let shards = shared.shards.iter();
    let marks: usize = shards.map(|shard| shard.lock().marks.len()).sum();
    assert!(
        keys(&shared) <= 16 * MOST + 1 && marks <= 16 * MOST + 1,
        "{marks}"
    );
}

#[test]
fn what_a_state_outside_accepted_is_known_here_too() {
    let (outside, inside) = (on_a_clock().0, on_a_clock().0);
    let steps = [
        Step::take(window(3, 100), 2),
        Step::Mark {
            key: key("m"),
            for_micros: 40,
        },
        Step::Look {
            key: key("m"),
            stop: false,
        },
        Step::take(window(3, 100), 2),
    ];
    let answers = outside.decide(&steps);
    assert!(!taken(answers[3]).allowed);
    inside.follow(&steps, &answers);
    assert_eq!(inside.take(&window(3, 100), 0, None).remaining, 1);
    let look = Step::Look {
        key: key("m"),
        stop: false,
    };
    assert_eq!(inside.decide(&[look]), [Answer::Marked(Some(40))]);
}
