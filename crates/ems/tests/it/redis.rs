//! Several servers of one instance over one Redis: one limit for all, and what is said and done while it
//! is away.

use std::time::Duration;

use ems_core::role::Role;
use ems_testkit::{Redis, RedisProxy, TestServer, mongo::ReplicaSet, secret_file};
use serde_json::json;
use tokio::time::timeout;

use crate::cli::{binary, text};

/// How long a server may take to notice.
const PATIENCE: Duration = Duration::from_secs(20);
const LOCAL: &str = "ems_shared_local_total";

async fn metric(server: &TestServer, name: &str) -> f64 {
    let url = server.metrics_url().unwrap();
    let page = server.client().get(url).send().await.unwrap();
    let page = page.text().await.unwrap();
    let line = page.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.unwrap().parse().unwrap()
}

async fn server(redis: &Redis, proxy: &RedisProxy, keys: &str) -> TestServer {
    let mut builder = TestServer::builder()
        .set("shared.redis_url", &redis.url_at(proxy.address()))
        .set("limits.key_per_hour", keys);
    if let Some(ca) = redis.ca_file() {
        builder = builder.set("shared.ca_file", &text(&ca));
    }
    builder.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_of_an_instance_on_mongodb_share_one_limit_in_redis() {
    let (set, redis) = (ReplicaSet::start().await, Redis::start_as_deployed().await);
    let one = TestServer::builder()
        .on(&set)
        .set("shared.redis_url", &redis.url())
        .set("shared.ca_file", &text(&redis.ca_file().unwrap()))
        .set("limits.key_per_hour", "40")
        .start()
        .await;
    let two = one.beside().unwrap();
    let round = async || {
        let key = one.key_for(Role::Viewer, &["*"]).await;
        let get = async |server: &TestServer| {
            let caller = server.nobody().api_key(&key);
            caller.get("/api/v1/meters").await.status
        };
        let mut answers = Vec::new();
        for _ in 0..30 {
            let (first, second) = tokio::join!(get(&one), get(&two));
            answers.extend([first, second]);
        }
        let count = |status| answers.iter().filter(|answer| **answer == status).count();
        (count(200), count(429))
    };
    // On a machine that stood still for 50 ms, a server decided alone, and says so.
    let alone = async || metric(&one, LOCAL).await + metric(&two, LOCAL).await;
    let mut rounds = 0..20;
    let counted = loop {
        rounds.next().unwrap();
        let before = alone().await;
        let counted = round().await;
        if alone().await == before {
            break counted;
        }
    };
    assert_eq!(counted, (40, 20));
    for server in [one, two] {
        server.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_and_metrics_say_that_redis_is_away_and_requests_are_served() {
    let redis = Redis::start_as_deployed().await;
    let proxy = redis.proxy().await;
    let server = server(&redis, &proxy, "1000").await;
    let key = server.key_for(Role::Viewer, &["*"]).await;
    let ready = async || {
        let ready = server.nobody().get("/ready").await;
        (ready.status, ready.json()["dependencies"]["redis"].clone())
    };
    let get = async || {
        let caller = server.nobody().api_key(&key);
        caller.get("/api/v1/meters").await.status
    };
    let comes = async |state: &str| {
        let asks = async {
            while ready().await != (200, json!(state)) {
                assert_eq!(get().await, 200);
            }
        };
        timeout(PATIENCE, asks).await.unwrap();
    };
    comes("up").await;
    let asked = async {
        while metric(&server, "ems_shared_seconds_count").await < 1.0 {
            assert_eq!(get().await, 200);
        }
    };
    timeout(PATIENCE, asked).await.unwrap();
    // Who was let in before goes on; a key that was never seen would wait.
    assert_eq!(get().await, 200);

    redis.pause();
    comes("down").await;
    let local = metric(&server, LOCAL).await;
    assert_eq!(get().await, 200);
    assert_eq!(metric(&server, "ems_shared_up").await, 0.0);
    assert!(metric(&server, LOCAL).await > local);
    assert!(metric(&server, "ems_shared_failures_total").await >= 1.0);

    redis.resume();
    comes("up").await;
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_takes_the_address_from_a_file_and_says_what_is_wrong_with_it() {
    let redis = Redis::start_as_deployed().await;
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("instance");
    let made = binary().run(["init", "--dir", &text(&dir)]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let config = dir.join("ems.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let ca = text(&redis.ca_file().unwrap());
    let section = format!("\n[shared]\nredis_url_file = \"redis.url\"\nca_file = \"{ca}\"\n");
    std::fs::write(&config, before + &section).unwrap();
    secret_file(&dir.join("redis.url"), &redis.url()).unwrap();
    let shown = binary().run(["config", "show", "--config", &text(&config)]);
    assert!(
        shown.stdout.contains("rediss://ems:***@127.0.0.1"),
        "{}",
        shown.stdout
    );
    let server = binary().serve(&dir, &[]).unwrap();
    let nobody = server.nobody().unwrap();
    let is_up =
        async { while nobody.get("/ready").await.json()["dependencies"]["redis"] != "up" {} };
    timeout(PATIENCE, is_up).await.unwrap();
    server.kill().unwrap();

    let wrong = redis.url().replace(redis.password(), "hunter2");
    secret_file(&dir.join("redis.url"), &wrong).unwrap();
    let refused = binary().run(["serve", "--config", &text(&config)]);
    assert_eq!(refused.code, 64, "{}", refused.stderr);
    let line = refused
        .stderr
        .lines()
        .find(|line| line.contains("shared.redis_url"));
    assert!(
        line.unwrap().contains("user or the password"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains("hunter2"));
}
