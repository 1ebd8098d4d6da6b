//! The script says what the windows in process say, to the microsecond.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;

/// So long that nothing goes by the server's own clock meanwhile.
const UNIT: i64 = 10_000_000;

/// Windows of some names, each with its own limit and length.
fn of_name(name: u8) -> Window {
    let limit = [1, 3, 7, 40][usize::from(name % 4)];
    window(&format!("n{name}"), limit, UNIT * (5 + i64::from(name)))
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0_u8..6;
    let cost = prop_oneof![4 => Just(1_u64), 1 => 0_u64..9];
    let once = prop::option::weighted(0.2, 0_u8..3);
    let take = (name.clone(), cost, once).prop_map(|(name, cost, once)| Step::Take {
        window: of_name(name),
        cost,
        once: once.map(|once| key(&format!("once{once}"))),
    });
    let named = |name| key(&format!("n{name}"));
    let look = (name.clone(), prop::bool::weighted(0.3)).prop_map(move |(name, stop)| Step::Look {
        key: named(name),
        stop,
    });
    let mark = (name.clone(), -1_i64..8).prop_map(move |(name, long)| Step::Mark {
        key: named(name),
        for_micros: long * UNIT,
    });
    let clear = name.prop_map(move |name| Step::Clear { key: named(name) });
    prop_oneof![8 => take, 2 => look, 1 => mark, 1 => clear]
}

#[test]
fn answers_random_steps_as_the_windows_in_process_do() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let turned = runtime.block_on(Turned::start());
    let mut runner = TestRunner::new(Config::with_cases(256));
    let wait = prop_oneof![Just(0_i64), 0..UNIT, 0..UNIT * 4, Just(UNIT * 5)];
    let asks = prop::collection::vec((wait, prop::collection::vec(step(), 1..6)), 1..80);
    let ran = runner.run(&asks, |asks| {
        runtime.block_on(async {
            turned.empty().await;
            let local = turned.local();
            for (wait, steps) in asks {
                turned.set(turned.now() + wait).await;
                prop_assert_eq!(turned.ask(&steps).await, local.decide(&steps));
            }
            Ok(())
        })
    });
    ran.unwrap();
}

/// Rings that grow, wrap round, shrink and change their form, with many accepted at one moment.
#[tokio::test]
async fn answers_bursts_and_lulls_as_the_windows_in_process_do() {
    let turned = Turned::start().await;
    let windows = [
        window("units", 700, 100 * UNIT),
        window("amounts", 5000, 90 * UNIT),
        window("wide", 1_000_000, 80 * UNIT),
    ];
    turned.empty().await;
    let local = turned.local();
    let mut dice = 1_u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (dice >> 33) % sides
    };
    for round in 0..1500 {
        let lull = round % 300 == 299;
        let wait = if lull {
            95
        } else {
            i64::try_from(roll(2)).unwrap()
        };
        turned.set(turned.now() + wait * UNIT + 17).await;
        let busy = 1 + if round % 300 < 150 { roll(30) } else { roll(3) };
        let mut steps = Vec::new();
        for _ in 0..busy {
            steps.push(Step::take(windows[0].clone(), 1));
            steps.push(Step::take(windows[1].clone(), 1 + roll(40) * (round % 2)));
            steps.push(Step::take(windows[2].clone(), roll(9000)));
        }
        assert_eq!(turned.ask(&steps).await, local.decide(&steps), "{round}");
    }
}

/// Past 4,096 entries times are put together: what passes is never more than the limit, and what is
/// refused is refused for one part in 4,096 of the window too long at most.
#[tokio::test]
async fn a_window_of_very_many_amounts_errs_to_the_safe_side_and_little() {
    let turned = Turned::start().await;
    turned.empty().await;
    let length = 4096 * UNIT;
    let wide = window("wide", 30_000, length);
    let mut accepted: Vec<(i64, u64)> = Vec::new();
    let held = |accepted: &[(i64, u64)], from: i64| -> u64 {
        let inside = accepted.iter().rev().take_while(|(at, _)| *at > from);
        inside.map(|(_, cost)| cost).sum()
    };
    let (mut refused, mut most) = (0, 0);
    for round in 0..26_000_i64 {
        let now = round * length / 12_000;
        turned.set(now).await;
        let cost = 1 + u64::try_from(round % 5).unwrap();
        let verdict = turned.take(&wide, cost).await;
        let (exact, longer) = (
            held(&accepted, now - length),
            held(&accepted, now - length - UNIT),
        );
        if verdict.allowed {
            assert!(exact + cost <= 30_000, "{round}");
            accepted.push((now, cost));
        } else {
            refused += 1;
            assert!(longer + cost > 30_000, "{round}");
        }
        most = most.max(exact);
    }
    assert!(refused > 1000 && most > 29_000, "{refused} {most}");
    let kept = turned.redis.keys().await;
    let ring = kept.iter().find(|key| key.contains(":w:")).unwrap();
    let bytes = turned.redis.memory_usage(ring).await;
    println!("a window of very many amounts: {bytes} bytes");
    assert!((60_000..120_000).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn a_window_of_a_thousand_takes_ten_kilobytes_at_most() {
    let turned = Turned::start().await;
    turned.set(0).await;
    let thousand = window("thousand", 1000, 3_600_000_000);
    for round in 0..1500 {
        turned.set(round * 7).await;
        let verdict = turned.take(&thousand, 1).await;
        assert_eq!(verdict.allowed, round < 1000);
    }
    let kept = turned.redis.keys().await;
    let ring = kept.iter().find(|key| key.contains(":w:")).unwrap();
    let bytes = turned.redis.memory_usage(ring).await;
    println!("a window of 1000: {bytes} bytes");
    assert!(bytes <= 10_000, "{bytes}");
    // And goes when it holds nothing any more.
    let left: i64 = turned.redis.run(&["PTTL", ring]).await.parse().unwrap();
    assert!((3_500_000..=3_600_100).contains(&left), "{left}");
}
