//! A clock of the server that steps.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;

const SECOND: i64 = 1_000_000;
const YEAR: i64 = 31_536_000 * SECOND;

#[test]
fn whatever_steps_the_clock_takes_back_no_window_holds_more_than_its_limit() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let turned = runtime.block_on(Turned::start());
    let mut runner = TestRunner::new(Config::with_cases(32));
    let wait = prop_oneof![4 => 0..SECOND * 30, 1 => -YEAR..0, 1 => -SECOND * 50..0];
    let waits = prop::collection::vec((wait, 1_u64..4), 1..120);
    let (limit, length) = (5, 100 * SECOND);
    let ran = runner.run(&waits, |waits| {
        runtime.block_on(async {
            turned.redis.flush().await;
            turned.set(50 * YEAR).await;
            let stepping = window("stepping", limit, length);
            // A step back takes no time.
            let (mut passed, mut truth) = (Vec::new(), 0);
            for (wait, cost) in waits {
                truth += wait.max(0);
                turned.set(turned.now() + wait).await;
                let verdict = turned.take(&stepping, cost).await;
                if verdict.allowed {
                    passed.push((truth, cost));
                }
                let inside = passed.iter().filter(|(at, _)| at + length > truth);
                let held: u64 = inside.map(|(_, cost)| cost).sum();
                prop_assert!(held <= limit);
                prop_assert!(verdict.reset_after_micros <= length);
                prop_assert!(verdict.retry_after_micros.is_none_or(|wait| wait <= length));
            }
            // And it blocks nobody for longer than its length.
            turned.set(turned.now() + length).await;
            prop_assert!(turned.take(&stepping, 1).await.allowed);
            Ok(())
        })
    });
    ran.unwrap();
}

#[tokio::test]
async fn a_mark_lasts_no_longer_than_it_was_set_for_when_the_clock_goes_back() {
    let turned = Turned::start().await;
    turned.set(50 * YEAR).await;
    let (mark, look) = (
        Step::Mark {
            key: key("m"),
            for_micros: 60 * SECOND,
        },
        Step::Look {
            key: key("m"),
            stop: false,
        },
    );
    let look = [look];
    turned.ask(&[mark]).await;
    turned.set(49 * YEAR).await;
    assert_eq!(turned.ask(&look).await, [Answer::Marked(Some(60 * SECOND))]);
    turned.set(49 * YEAR + 59 * SECOND).await;
    assert_eq!(turned.ask(&look).await, [Answer::Marked(Some(SECOND))]);
    turned.set(49 * YEAR + 60 * SECOND).await;
    assert_eq!(turned.ask(&look).await, [Answer::Marked(None)]);
}
