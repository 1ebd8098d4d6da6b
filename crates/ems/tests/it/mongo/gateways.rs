//! Two gateways over one Redis: one memory of who may how much and who is shut out, and what is
//! promised while that memory is gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use ems_core::role::Role;
use ems_testkit::{ADMIN, Answer, Builder, Caller, Redis, TestServer, mongo::ReplicaSet};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const ME: &str = "/api/v1/auth/me";
const BANS: &str = "/api/v1/security/bans";

/// Two gateways, and what they share.
struct Pair {
    redis: Redis,
    one: TestServer,
    other: TestServer,
    _set: ReplicaSet,
}

impl Pair {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let (set, redis) = (ReplicaSet::start().await, Redis::start_as_deployed().await);
        let ca = redis.ca_file().unwrap().display().to_string();
        let ours = [
            ("shared.redis_url", redis.url()),
            ("shared.ca_file", ca),
            ("server.trusted_proxies", "[\"127.0.0.1/32\"]".into()),
            ("guard.failed_logins", "5".into()),
        ];
        let builder = ours
            .iter()
            .fold(TestServer::builder(), |builder, (key, value)| {
                builder.set(key, value)
            });
        let set_one = |builder: Builder, (key, value): &(&str, &str)| builder.set(key, value);
        let builder = settings.iter().fold(builder, set_one);
        let one = builder.on(&set).start().await;
        let other = one.beside().unwrap();
        Self {
            redis,
            one,
            other,
            _set: set,
        }
    }

    fn both(&self) -> [&TestServer; 2] {
        [&self.one, &self.other]
    }
}

async fn log_in(server: &TestServer, address: &str, password: &str) -> Answer {
    let body = json!({ "username": ADMIN.0, "password": password });
    let caller = server.nobody().forwarded_for(address);
    caller.post("/api/v1/auth/token", &body).await
}

/// Asks until the answer is as expected.
async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !ask().await {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_times_the_window_at_two_gateways_exactly_the_window_passes() {
    let pair = Pair::start(&[
        ("limits.key_per_hour", "40"),
        ("limits.readings_per_hour", "30"),
    ])
    .await;
    let keys = [
        pair.one.key_for(Role::Viewer, &["*"]).await,
        pair.one.key_for(Role::MeterReader, &["*"]).await,
    ];
    let reading =
        json!({ "meter_id": "a", "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 1 });
    let asked: Vec<JoinHandle<(u16, u16)>> = (0..400)
        .map(|turn| {
            let [viewer, device] = [&keys[0], &keys[1]].map(|key| {
                let server = pair.both()[turn % 2];
                server.nobody().api_key(key)
            });
            let reading = reading.clone();
            tokio::spawn(async move {
                let seen = viewer.get(ME).await.status;
                (seen, device.post("/api/v1/data", &reading).await.status)
            })
        })
        .collect();
    let (mut seen, mut stored) = (0, 0);
    for answer in asked {
        let (see, store) = answer.await.unwrap();
        assert!(
            matches!(see, 200 | 429) && matches!(store, 201 | 429),
            "{see} {store}"
        );
        seen += u32::from(see == 200);
        stored += u32::from(store == 201);
    }
    // The device's requests pass its window of forty, and thirty of them its window of readings.
    assert_eq!((seen, stored), (40, 30));
}

#[tokio::test]
async fn a_block_a_ban_a_release_and_a_revocation_hold_at_both_gateways() {
    let pair = Pair::start(&[]).await;
    let [one, other] = pair.both();
    for turn in 0..5 {
        let refused = log_in(pair.both()[turn % 2], "203.0.113.9", "not the password").await;
        assert_eq!(refused.status, 401);
    }
    for server in pair.both() {
        let blocked = log_in(server, "203.0.113.9", ADMIN.1).await;
        assert_eq!(blocked.verdict(), (403, "request_blocked".into()));
    }
    let admin = one.admin().await;
    let banned = json!({ "ip": "203.0.113.10" });
    assert_eq!(admin.post(BANS, &banned).await.status, 201);
    let there = log_in(other, "203.0.113.10", ADMIN.1).await;
    assert_eq!(there.status, 403);
    let lift = format!("{BANS}/203.0.113.10");
    assert_eq!(other.admin().await.delete(&lift).await.status, 204);
    assert_eq!(log_in(one, "203.0.113.10", ADMIN.1).await.status, 200);

    let key = one.key_for(Role::Viewer, &["*"]).await;
    let id = key.split('_').nth(1).unwrap().to_owned();
    let there = other.nobody().api_key(&key);
    assert_eq!(there.get(ME).await.status, 200);
    assert_eq!(
        admin.delete(&format!("/api/v1/keys/{id}")).await.status,
        204
    );
    assert_eq!(there.get(ME).await.status, 401);
    // Nor does a revocation need what is shared.
    let key = one.key_for(Role::Viewer, &["*"]).await;
    let there = other.nobody().api_key(&key);
    assert_eq!(there.get(ME).await.status, 200);
    let token = one.log_in(ADMIN.0, ADMIN.1).await;
    let bearer = other.nobody().bearer(&token);
    assert_eq!(bearer.get(ME).await.status, 200);
    pair.redis.kill();
    let out = one
        .nobody()
        .bearer(&token)
        .request("POST", "/api/v1/auth/logout");
    // The session was seen at that gateway only once it is: what was not seen before waits.
    let out = Answer::of(out).await.status;
    assert!(matches!(out, 204 | 503), "{out}");
    if out == 204 {
        assert_eq!(bearer.get(ME).await.status, 401);
    }
}

/// Meters that report at both gateways without a pause, until told to stop.
struct Load {
    over: Arc<AtomicBool>,
    stored: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    async fn start(pair: &Pair) -> Self {
        let (over, stored) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let mut tasks = Vec::new();
        for meter in 0..4 {
            let key = pair
                .one
                .key_for(Role::MeterReader, &[&format!("m{meter}")])
                .await;
            let callers = pair.both().map(|server| server.nobody().api_key(&key));
            for caller in &callers {
                assert_eq!(caller.get(ME).await.status, 200);
            }
            let (over, stored) = (Arc::clone(&over), Arc::clone(&stored));
            tasks.push(tokio::spawn(report(callers, meter, (over, stored))));
        }
        Self {
            over,
            stored,
            tasks,
        }
    }

    /// Waits until so many more are stored.
    async fn goes_on(&self) {
        let before = self.stored.load(Ordering::SeqCst);
        let begin = Instant::now();
        while self.stored.load(Ordering::SeqCst) < before + 20 {
            assert!(begin.elapsed() < Duration::from_secs(30), "nothing goes on");
            tokio::task::yield_now().await;
        }
    }

    /// What was not stored.
    async fn end(self) -> Vec<String> {
        self.over.store(true, Ordering::SeqCst);
        let mut refused = Vec::new();
        for task in self.tasks {
            refused.extend(task.await.unwrap());
        }
        refused
    }
}

async fn report(
    callers: [Caller; 2],
    meter: usize,
    (over, stored): (Arc<AtomicBool>, Arc<AtomicU64>),
) -> Vec<String> {
    let mut refused = Vec::new();
    let mut second: u64 = 0;
    while !over.load(Ordering::SeqCst) {
        second += 1;
        let (minute, rest) = (second / 60, second % 60);
        let timestamp = format!(
            "2020-01-01T{:02}:{:02}:{rest:02}Z",
            minute / 60,
            minute % 60
        );
        let reading: Value = json!({ "meter_id": format!("m{meter}"), "timestamp": timestamp, "energy_consumption": 0.1 });
        let caller = &callers[usize::try_from(second % 2).unwrap()];
        let answer = caller.post("/api/v1/data", &reading).await;
        if answer.status == 201 {
            stored.fetch_add(1, Ordering::SeqCst);
        } else {
            refused.push(answer.text());
        }
    }
    refused
}

/// What is promised of a gateway that cannot reach Redis: logins, administration and credentials
/// that it has not seen wait.
async fn fails_closed(pair: &Pair, unseen: &str, admins: &[Caller; 2]) {
    for (server, admin) in pair.both().into_iter().zip(admins) {
        let login = log_in(server, "198.51.100.1", ADMIN.1).await;
        assert_eq!(login.verdict(), (503, "unavailable".into()));
        assert!(!login.header("retry-after").is_empty());
        let unseen = server.nobody().api_key(unseen).get(ME).await;
        assert_eq!(unseen.status, 503, "{}", unseen.text());
        assert_eq!(admin.get("/api/v1/users").await.status, 503);
        assert_eq!(admin.get("/api/v1/meters").await.status, 200);
        assert_eq!(server.nobody().get("/health").await.status, 200);
    }
}

/// That all is as before once Redis can be reached, without a restart.
async fn recovers(pair: &Pair) {
    for server in pair.both() {
        until("logins go on", async || {
            log_in(server, "198.51.100.1", ADMIN.1).await.status == 200
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_gone_the_known_go_on_and_the_rest_waits() {
    let pair = Pair::start(&[]).await;
    let token = pair.one.log_in(ADMIN.0, ADMIN.1).await;
    let admins = pair.both().map(|server| server.nobody().bearer(&token));
    for admin in &admins {
        assert_eq!(admin.get("/api/v1/users").await.status, 200);
    }
    // Somebody is shut out before, and stays so whatever Redis forgets.
    let banned = json!({ "ip": "203.0.113.10", "kind": "block" });
    assert_eq!(admins[0].post(BANS, &banned).await.status, 201);
    let unseen = pair.one.key_for(Role::Viewer, &["*"]).await;
    let load = Load::start(&pair).await;
    load.goes_on().await;
    let down = async || {
        for server in pair.both() {
            until("it is noticed", async || {
                log_in(server, "198.51.100.2", ADMIN.1).await.status == 503
            })
            .await;
        }
        fails_closed(&pair, &unseen, &admins).await;
        load.goes_on().await;
    };
    pair.redis.kill();
    down().await;
    pair.redis.restart().await;
    recovers(&pair).await;
    pair.redis.pause();
    down().await;
    pair.redis.resume();
    recovers(&pair).await;
    pair.redis.flush().await;
    load.goes_on().await;
    for server in pair.both() {
        until("who was shut out is so again", async || {
            log_in(server, "203.0.113.10", ADMIN.1).await.status == 403
        })
        .await;
    }
    let refused = load.end().await;
    assert!(
        refused.is_empty(),
        "{}: {:?}",
        refused.len(),
        refused.first()
    );
    let page = reqwest::get(pair.one.metrics_url().unwrap()).await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("ems_shared_up 1"), "{page}");
}
