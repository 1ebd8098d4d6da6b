//! Held against a real server.

mod clock;
mod failure;
mod same;
mod speed;
mod start;
mod together;

use std::sync::atomic::AtomicI64;

use ems_testkit::redis::Redis;
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection};

use super::{ask::Reply, *};
use crate::shared::{Answer, Key, Verdict, Window};

/// The script on a clock that the test turns: beside it the same script, word for word.
struct Turned {
    redis: Redis,
    connection: MultiplexedConnection,
    script: String,
    names: Names,
    clock: Arc<AtomicI64>,
}

impl Turned {
    async fn start() -> Self {
        let redis = Redis::start().await;
        let client = Client::open(redis.url()).unwrap();
        let script = include_str!("script.lua");
        let turned = script.replace("call('TIME')", "{ 0, call('GET', 'clock') }");
        assert_ne!(script, turned);
        let patient = AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&patient);
        let connection = connection.await;
        Self {
            connection: connection.unwrap(),
            redis,
            script: turned,
            names: Names::new(key_of_names()),
            clock: Arc::default(),
        }
    }

    /// Windows in process on the same clock.
    fn local(&self) -> LocalShared {
        let clock = Arc::clone(&self.clock);
        LocalShared::with_ticks(Arc::new(move || clock.load(Ordering::SeqCst)))
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    async fn set(&self, micros: i64) {
        self.clock.store(micros, Ordering::SeqCst);
        let mut connection = self.connection.clone();
        let mut set = redis::cmd("SET");
        set.arg("clock").arg(micros);
        set.exec_async(&mut connection).await.unwrap();
    }

    async fn empty(&self) {
        self.redis.flush().await;
        self.set(0).await;
    }

    async fn ask(&self, steps: &[Step]) -> Vec<Answer> {
        let ask = Ask::new(&self.names, steps);
        let call = ask.command("EVAL", &self.script, "run");
        let mut connection = self.connection.clone();
        let value = call.query_async(&mut connection).await.unwrap();
        Reply::read(value).unwrap().answers(steps).unwrap()
    }

    async fn take(&self, window: &Window, cost: u64) -> Verdict {
        taken(self.ask(&[Step::take(window.clone(), cost)]).await[0])
    }
}

fn key_of_names() -> IndexKey {
    let pepper = format!("1:{}", data_encoding::BASE64.encode(&[7; 32]));
    let pepper = ems_crypto::api_key::Pepper::parse(&pepper).unwrap();
    pepper.derive("shared keys")
}

fn key(name: &str) -> Key {
    Key::of_stranger(name)
}

fn window(name: &str, limit: u64, length_micros: i64) -> Window {
    Window {
        key: key(name),
        limit,
        length_micros,
    }
}

fn taken(answer: Answer) -> Verdict {
    match answer {
        Answer::Taken(verdict) => verdict,
        other => panic!("{other:?}"),
    }
}

/// Counts what it is told.
#[derive(Default)]
struct Tally {
    answered: AtomicU64,
    failed: AtomicU64,
    alone: AtomicU64,
    up: AtomicU64,
}

impl Tally {
    fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    fn alone(&self) -> u64 {
        self.alone.load(Ordering::SeqCst)
    }

    fn up(&self) -> u64 {
        self.up.load(Ordering::SeqCst)
    }
}

impl RedisFigures for Tally {
    fn answered(&self, took: Duration) {
        assert!(took < Duration::from_secs(2));
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    fn failed(&self) {
        self.failed.fetch_add(1, Ordering::SeqCst);
    }

    fn alone(&self) {
        self.alone.fetch_add(1, Ordering::SeqCst);
    }

    fn up(&self, up: bool) {
        self.up.store(u64::from(up), Ordering::SeqCst);
    }
}

/// How long an ask waits where that is not what a test is about: a busy machine may stand still for
/// longer than what is asked of Redis.
const RELAXED: Duration = Duration::from_secs(1);

async fn connect(redis: &Redis, url: &str, tally: &Arc<Tally>) -> Result<RedisShared> {
    connect_with(redis, url, tally, RELAXED).await
}

async fn connect_with(
    redis: &Redis,
    url: &str,
    tally: &Arc<Tally>,
    patience: Duration,
) -> Result<RedisShared> {
    let options = RedisOptions {
        url: url.to_owned(),
        ca_file: redis.ca_file(),
        key: key_of_names(),
        figures: tally.clone(),
    };
    let connect = move || RedisShared::connect_within(options, START, patience);
    tokio::task::spawn_blocking(connect).await.unwrap()
}

async fn until(is: impl Fn() -> bool) {
    let till = Instant::now() + Duration::from_secs(20);
    while !is() {
        assert!(Instant::now() < till, "waited in vain");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn back(shared: &RedisShared) {
    until(|| shared.standing().up).await;
}
