//! Several processes on one Redis: windows are exact across them, and names stay at home.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn of_several_processes_exactly_the_limit_passes() {
    let redis = Redis::start().await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let tally = Arc::default();
        let shared = Arc::new(connect(&redis, &redis.url(), &tally).await.unwrap());
        for _ in 0..16 {
            let shared = Arc::clone(&shared);
            tasks.push(tokio::spawn(async move {
                let mut passed = 0;
                for _ in 0..20 {
                    let take = Step::take(window("w", 500, 3_600_000_000), 1);
                    let answers = shared.ask(&[take]).await;
                    assert!(!answers.alone);
                    passed += u32::from(answers.verdict(0).unwrap().allowed);
                }
                passed
            }));
        }
    }
    let mut passed = 0;
    for task in tasks {
        passed += task.await.unwrap();
    }
    assert_eq!(passed, 500);
}

/// Of what two processes let pass no stretch of the window's length holds more than the limit: each
/// was decided between two looks at the clock that both share.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_processes_no_stretch_holds_more_than_the_limit() {
    let redis = Redis::start().await;
    let began = Instant::now();
    let length = Duration::from_millis(200);
    let micros = i64::try_from(length.as_micros()).unwrap();
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let shared = connect(&redis, &redis.url(), &Arc::default())
            .await
            .unwrap();
        tasks.push(tokio::spawn(async move {
            let mut passed = Vec::new();
            while began.elapsed() < length * 10 {
                let before = began.elapsed();
                let answers = shared.ask(&[Step::take(window("w", 20, micros), 1)]).await;
                assert!(!answers.alone);
                if answers.verdict(0).unwrap().allowed {
                    passed.push((before, began.elapsed()));
                }
            }
            passed
        }));
    }
    let mut passed = Vec::new();
    for task in tasks {
        passed.extend(task.await.unwrap());
    }
    for (_, from) in &passed {
        // Surely inside, whenever exactly each was decided.
        let inside =
            |(before, after): &&(Duration, Duration)| from <= before && *after < *from + length;
        assert!(passed.iter().filter(inside).count() <= 20);
    }
    assert!(passed.len() > 20 * 8, "{}", passed.len());
}

#[tokio::test]
async fn no_name_and_no_address_is_in_redis_or_on_its_way_to_it() {
    let redis = Redis::start().await;
    redis.run(&["CONFIG", "SET", "appendonly", "yes"]).await;
    let monitor = redis.monitor().await;
    let shared = connect(&redis, &redis.url(), &Arc::default())
        .await
        .unwrap();
    let secret = ["alice.the.admin", "192.0.2.77", "meter-of-the-smiths"];
    for name in secret {
        let steps = [
            Step::Take {
                window: window(&format!("req:user:{name}"), 5, 3_600_000_000),
                cost: 1,
                once: Some(key(name)),
            },
            Step::Mark {
                key: Key::of_principal(name),
                for_micros: 60_000_000,
            },
        ];
        assert!(!shared.ask(&steps).await.alone);
    }
    redis.run(&["SAVE"]).await;
    redis.run(&["ECHO", "that was all"]).await;
    until(|| String::from_utf8_lossy(&monitor.seen()).contains("that was all")).await;
    let mut seen = vec![("monitor".to_owned(), monitor.seen())];
    let keys = redis.keys().await;
    // A window and a mark each, and the run.
    assert_eq!(keys.len(), 2 * secret.len() + 1, "{keys:?}");
    for key in keys {
        let form = key.strip_prefix("ems:{").unwrap().split_once("}:").unwrap();
        assert!(form.0.len() == 16, "{key}");
        let hex = form.1.trim_start_matches("w:").trim_start_matches("m:");
        assert!(hex == "run" || hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        seen.push((key.clone(), redis.run(&["GET", &key]).await.into_bytes()));
        seen.push((key.clone(), key.into_bytes()));
    }
    let files = ems_testkit::files(redis.dir()).unwrap();
    let is_data = |name: &str| name.contains("appendonly") || name.contains("rdb");
    let files = files
        .into_iter()
        .map(|(path, content)| (path.display().to_string(), content));
    let files: Vec<_> = files.filter(|(path, _)| is_data(path)).collect();
    assert!(files.len() >= 2, "a dump and a log of commands");
    seen.extend(files);
    for (place, content) in &seen {
        for name in secret {
            let part = memchr::memmem::find(content, name.as_bytes());
            assert_eq!(part, None, "{name} in {place}");
        }
    }
    let shown = |(place, content): &(String, Vec<u8>)| {
        place.contains("appendonly") && memchr::memmem::find(content, b"ems:{").is_some()
    };
    assert!(
        seen.iter().any(shown),
        "the log of commands holds what was asked"
    );
}

#[tokio::test]
async fn instances_of_other_keys_do_not_see_each_other() {
    let redis = Redis::start().await;
    let one = connect(&redis, &redis.url(), &Arc::default())
        .await
        .unwrap();
    let other = RedisOptions {
        url: redis.url(),
        ca_file: None,
        key: IndexKey::derive(&ems_crypto::seal::DataKey::generate(), "shared keys"),
        figures: Arc::<Tally>::default(),
    };
    let other =
        tokio::task::spawn_blocking(|| RedisShared::connect_within(other, START, RELAXED)).await;
    let other = other.unwrap().unwrap();
    let take = [Step::take(window("w", 1, 3_600_000_000), 1)];
    for shared in [&one, &other] {
        assert!(shared.ask(&take).await.verdict(0).unwrap().allowed);
        assert!(!shared.ask(&take).await.verdict(0).unwrap().allowed);
    }
}

#[tokio::test]
async fn a_window_without_a_bound_is_not_asked() {
    let redis = Redis::start().await;
    let shared = connect(&redis, &redis.url(), &Arc::default())
        .await
        .unwrap();
    let free = Step::take(window("w", 0, 1000), 7);
    let answers = shared.ask(std::slice::from_ref(&free)).await;
    assert_eq!(answers.verdict(0), Some(Verdict::unlimited()));
    let look = Step::Look {
        key: key("m"),
        stop: true,
    };
    let both = shared.ask(&[free, look]).await;
    assert_eq!(both.each[1], Answer::Marked(None));
    assert_eq!(redis.keys().await.len(), 1);
}
