//! What an ask costs, printed; the bounds asserted are far off what is measured.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ask_costs_a_fraction_of_a_millisecond() {
    let redis = Redis::start().await;
    let tally = Arc::<Tally>::default();
    let shared = Arc::new(connect(&redis, &redis.url(), &tally).await.unwrap());
    let ask = async |name: &str| {
        let take = Step::take(window(name, 1000, 3_600_000_000), 1);
        let began = Instant::now();
        assert!(!shared.ask(&[take]).await.alone);
        began.elapsed()
    };
    let mut took = Vec::new();
    for number in 0..3000 {
        took.push(ask(&format!("n{}", number % 50)).await);
    }
    took.sort();
    println!("one ask: p50 {:?}, p99 {:?}", took[1500], took[2970]);
    assert!(took[1500] < Duration::from_millis(5));

    let local = LocalShared::new();
    let take = Step::take(window("local", 1_000_000, 3_600_000_000), 1);
    let began = Instant::now();
    for _ in 0..100_000 {
        local.decide(std::slice::from_ref(&take));
    }
    println!("in process: {:?}", began.elapsed() / 100_000);

    let began = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let take = Step::take(window(&format!("t{task}"), 1000, 3_600_000_000), 1);
                for _ in 0..300 {
                    assert!(!shared.ask(std::slice::from_ref(&take)).await.alone);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rate = 64.0 * 300.0 / began.elapsed().as_secs_f64();
    println!("of 64 at once: {rate:.0} asks/s");
    assert!(rate > 1000.0);
}
