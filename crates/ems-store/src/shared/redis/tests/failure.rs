//! Redis fails in every way that we could think of, and comes back; no ask hangs, and none says that it
//! was decided together when it was not.

use std::time::Duration;

use ems_testkit::redis::Proxy;

use super::*;

/// What an ask takes at most that gives Redis up, on a busy machine.
const SOON: Duration = Duration::from_secs(3);
const LIMIT: u64 = 100;

/// The state over a proxy.
struct Setting {
    redis: Redis,
    proxy: Proxy,
    shared: RedisShared,
    tally: Arc<Tally>,
}

impl Setting {
    async fn start() -> Self {
        Self::over(Redis::start().await, RELAXED).await
    }

    async fn over(redis: Redis, patience: Duration) -> Self {
        let proxy = redis.proxy().await;
        let tally = Arc::<Tally>::default();
        let url = redis.url_at(proxy.address());
        let shared = connect_with(&redis, &url, &tally, patience).await.unwrap();
        Self {
            redis,
            proxy,
            shared,
            tally,
        }
    }

    async fn take(&self, name: &str) -> (Verdict, bool) {
        let began = Instant::now();
        let window = window(name, LIMIT, 3_600_000_000);
        let answers = self.shared.ask(&[Step::take(window, 1)]).await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        (answers.verdict(0).unwrap(), answers.alone)
    }

    /// Takes until it is decided alone: what failed need not have been noticed by the first.
    async fn until_alone(&self, name: &str) -> Verdict {
        loop {
            let (verdict, alone) = self.take(name).await;
            if alone {
                return verdict;
            }
        }
    }

    /// While it fails, asks are decided at once, by windows that know what was accepted before.
    async fn goes_on_alone(&self) {
        let before = self.until_alone("w").await;
        assert!(!self.shared.standing().up);
        let began = Instant::now();
        for round in 1..=20 {
            let (verdict, alone) = self.take("w").await;
            assert!(alone);
            assert_eq!(verdict.remaining, before.remaining - round);
        }
        assert!(began.elapsed() < RELAXED, "{:?}", began.elapsed());
        assert_eq!(self.tally.up(), 0);
    }

    async fn comes_back(&self, epoch: u64) {
        back(&self.shared).await;
        assert!(self.shared.standing().epoch > epoch);
        assert!(!self.take("after").await.1);
        assert_eq!(self.tally.up(), 1);
    }

    /// It works, then fails, then works again.
    async fn fails_and_mends(&self, fail: impl AsyncFnOnce(), mend: impl AsyncFnOnce()) {
        for _ in 0..10 {
            assert!(!self.take("w").await.1);
        }
        assert!(self.tally.answered() >= 10);
        let epoch = self.shared.standing().epoch;
        fail().await;
        self.goes_on_alone().await;
        mend().await;
        self.comes_back(epoch).await;
    }
}

#[tokio::test]
async fn goes_on_alone_while_redis_is_killed_and_comes_back_to_an_empty_one() {
    let set = Setting::start().await;
    let (kill, restart) = (
        async || set.redis.kill(),
        async || set.redis.restart().await,
    );
    set.fails_and_mends(kill, restart).await;
    // It is empty: what was accepted before is known to this process alone.
    let (verdict, _) = set.take("w").await;
    assert_eq!(verdict.remaining, LIMIT - 1);
}

#[tokio::test]
async fn goes_on_alone_while_redis_stands_still() {
    let set = Setting::start().await;
    let (pause, resume) = (async || set.redis.pause(), async || set.redis.resume());
    set.fails_and_mends(pause, resume).await;
    let (verdict, _) = set.take("w").await;
    assert!(
        verdict.remaining >= LIMIT - 12,
        "what was decided alone is not there"
    );
}

#[tokio::test]
async fn goes_on_alone_in_a_partition() {
    let set = Setting::start().await;
    let (part, heal) = (async || set.proxy.part(), async || set.proxy.heal());
    set.fails_and_mends(part, heal).await;
}

#[tokio::test]
async fn goes_on_alone_after_a_connection_was_cut_midway_and_connects_anew() {
    let set = Setting::start().await;
    let steps = [Step::take(window("w", LIMIT, 3_600_000_000), 1)];
    set.proxy.delay(Duration::from_millis(20));
    back(&set.shared).await;
    let cut = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        set.proxy.cut();
    };
    let (answers, ()) = tokio::join!(set.shared.ask(&steps), cut);
    assert!(answers.alone);
    set.proxy.delay(Duration::ZERO);
    set.comes_back(0).await;
}

/// Ten times what is asked of Redis, so that a busy machine does not count.
#[tokio::test]
async fn waits_for_an_answer_that_is_three_fifths_late_and_not_for_six() {
    let set = Setting::over(Redis::start().await, PATIENCE * 10).await;
    set.proxy.delay(Duration::from_millis(300));
    for _ in 0..5 {
        assert!(!set.take("w").await.1);
    }
    let (slow, fast) = (Duration::from_millis(600), Duration::ZERO);
    let (slow, fast) = (
        async || set.proxy.delay(slow),
        async || set.proxy.delay(fast),
    );
    set.fails_and_mends(slow, fast).await;
}

#[tokio::test]
async fn does_not_wait_for_answers_that_are_sixty_milliseconds_late_nor_come_back_to_them() {
    let set = Setting::over(Redis::start().await, PATIENCE).await;
    set.proxy.delay(Duration::from_millis(60));
    set.until_alone("w").await;
    let failures = set.tally.failed();
    let till = Instant::now() + Duration::from_secs(2);
    while Instant::now() < till {
        assert!(set.take(&format!("w{}", set.tally.alone())).await.1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(set.tally.failed(), failures, "and no ask waits meanwhile");
    set.proxy.delay(Duration::ZERO);
    back(&set.shared).await;
}

#[tokio::test]
async fn of_many_asks_at_once_none_waits_again_when_redis_stops() {
    let set = Arc::new(Setting::start().await);
    set.redis.pause();
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let set = Arc::clone(&set);
            tokio::spawn(async move { set.take(&number.to_string()).await.1 })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    let began = Instant::now();
    for number in 0..200 {
        assert!(set.take(&number.to_string()).await.1);
    }
    assert!(began.elapsed() < RELAXED, "{:?}", began.elapsed());
    set.redis.resume();
    set.comes_back(0).await;
}

#[tokio::test]
async fn goes_on_alone_while_redis_is_full() {
    let set = Setting::start().await;
    let memory = async |bytes| {
        set.redis.run(&["CONFIG", "SET", "maxmemory", bytes]).await;
    };
    set.fails_and_mends(async || memory("1").await, async || memory("0").await)
        .await;
}

#[tokio::test]
async fn goes_on_alone_while_redis_is_a_replica() {
    let set = Setting::start().await;
    let follow = async |whom: [&str; 2]| {
        set.redis.run(&["REPLICAOF", whom[0], whom[1]]).await;
    };
    set.fails_and_mends(
        async || follow(["127.0.0.1", "1"]).await,
        async || follow(["NO", "ONE"]).await,
    )
    .await;
}

#[tokio::test]
async fn goes_on_alone_while_redis_is_busy_with_a_script_of_others() {
    let set = Setting::start().await;
    set.redis
        .run(&["CONFIG", "SET", "busy-reply-threshold", "10"])
        .await;
    let begin = Notify::new();
    let others = async {
        begin.notified().await;
        let forever = ["EVAL", "while true do end", "0"];
        assert!(set.redis.try_run(&forever).await.is_err(), "it was killed");
    };
    let ours = set.fails_and_mends(
        async || begin.notify_one(),
        async || {
            set.redis.run(&["SCRIPT", "KILL"]).await;
        },
    );
    tokio::join!(ours, others);
}

#[tokio::test]
async fn goes_on_alone_while_redis_is_loading() {
    let set = Setting::start().await;
    for number in 0..300 {
        set.redis.run(&["SET", &format!("x{number}"), "1"]).await;
    }
    set.redis.run(&["SAVE"]).await;
    let slowly = set.redis.dir().join("redis.conf");
    let before = std::fs::read_to_string(&slowly).unwrap();
    let more = "key-load-delay 20000\nloading-process-events-interval-bytes 1024\n";
    std::fs::write(&slowly, before + more).unwrap();
    let restart = async || set.redis.restart().await;
    let loaded = async || {
        set.redis
            .try_run(&["CONFIG", "SET", "key-load-delay", "0"])
            .await
            .ok();
    };
    set.fails_and_mends(restart, loaded).await;
}

#[tokio::test]
async fn goes_on_alone_while_the_password_or_the_rules_are_others() {
    let set = Setting::over(Redis::start_as_deployed().await, RELAXED).await;
    let rules = async |rule: &str| {
        set.redis.run(&["ACL", "SETUSER", "ems", rule]).await;
    };
    set.fails_and_mends(
        async || rules("-evalsha").await,
        async || {
            rules("+evalsha").await;
        },
    )
    .await;
    let (own, others) = (format!(">{}", set.redis.password()), ">others");
    set.fails_and_mends(
        async || {
            rules("resetpass").await;
            rules(others).await;
            set.redis.run(&["CLIENT", "KILL", "USER", "ems"]).await;
        },
        async || rules(&own).await,
    )
    .await;
}

#[tokio::test]
async fn notices_that_redis_was_emptied_without_losing_it() {
    let set = Setting::start().await;
    for _ in 0..2 {
        set.take("w").await;
        let before = set.shared.standing();
        set.redis.flush().await;
        let (verdict, alone) = set.take("w").await;
        assert_eq!((verdict.remaining, alone), (LIMIT - 1, false));
        let after = set.shared.standing();
        assert!(after.up && after.epoch > before.epoch);
    }
    // Also while nobody asks.
    let epoch = set.shared.standing().epoch;
    set.redis.flush().await;
    until(|| set.shared.standing().epoch > epoch).await;
}

#[tokio::test]
async fn notices_that_redis_is_gone_while_nobody_asks() {
    let set = Setting::start().await;
    set.redis.kill();
    until(|| !set.shared.standing().up).await;
    let (verdict, alone) = set.take("w").await;
    assert!(verdict.allowed && alone);
}

#[tokio::test]
async fn a_script_that_was_forgotten_is_brought_again_unnoticed() {
    let set = Setting::start().await;
    set.redis.run(&["SCRIPT", "FLUSH"]).await;
    assert!(!set.take("w").await.1);
    assert_eq!(set.tally.failed(), 0);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_reaches_nobody() {
    let set = Setting::start().await;
    set.take("w").await;
    set.proxy.delay(RELAXED * 2);
    let alone = set.until_alone("w").await;
    set.proxy.delay(Duration::ZERO);
    back(&set.shared).await;
    // The ask that was given up was counted in Redis and here, and its answer by nobody after it.
    let look = [Step::Look {
        key: key("never marked"),
        stop: false,
    }];
    assert_eq!(set.shared.ask(&look).await.each, [Answer::Marked(None)]);
    assert_eq!(alone.remaining, LIMIT - 2);
    assert_eq!(set.take("w").await.0.remaining, LIMIT - 3);
}
