//! The loads, and what is printed of each.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    client::{Answer, Connection, request},
    instance::{Baseline, Instance},
};

const CONNECTIONS: usize = 64;
const NDJSON: &str = "application/x-ndjson";
/// 2020-01-01T00:00:00Z.
const EPOCH: i64 = 1_577_836_800;

/// Runs the loads named on a fresh instance; all when none is.
pub async fn run(time: Duration, names: Vec<String>) -> Result<()> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let mut instance = Instance::start().await?;
    let token: Arc<str> = instance.token().await?.into();
    let bench = Bench {
        address: instance.address,
        ca: instance.ca(),
        home: instance.home(),
        token,
        time,
    };
    if wanted("single_post") {
        bench.single_post(&instance).await?;
    }
    if wanted("get_48_readings") {
        bench.meter_day(&instance).await?;
    }
    let mut ingested = 0;
    for (name, meters) in [("batch_100_meters", 100), ("batch_10000_meters", 10_000)] {
        if wanted(name) {
            ingested += bench.batches(name, meters).await?;
        }
    }
    let memory = mebibytes(instance.peak_memory()?);
    print("memory_after_ingest", memory, "MiB");
    if wanted("month_out") {
        bench.month_out().await?;
    }
    if wanted("usage_by_day") {
        bench.usage().await?;
    }
    let start = instance.kill_and_restart().await?;
    print("start_after_kill", start.as_secs_f64() * 1e3, "ms");
    if wanted("largest_bodies") {
        bench.largest_bodies().await?;
        let memory = mebibytes(instance.peak_memory()?);
        print("memory_with_64_largest_bodies", memory, "MiB");
    }
    instance.stop()?;
    if ingested > 0 {
        let stored = ratio(instance.data_bytes()?, ingested);
        print("stored", stored, "bytes/reading");
    }
    Ok(())
}

struct Bench {
    address: SocketAddr,
    ca: PathBuf,
    home: PathBuf,
    token: Arc<str>,
    time: Duration,
}

type Next = Arc<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

impl Bench {
    async fn single_post(&self, instance: &Instance) -> Result<()> {
        let token = Arc::clone(&self.token);
        let next: Next = Arc::new(move |number| {
            let row = row(
                &format!("single-{}", number % 64),
                EPOCH + i64::try_from(number / 64).unwrap_or(0) * 60,
                number,
            );
            request(
                "POST",
                "/api/v1/data",
                &token,
                ("application/json", row.as_bytes()),
            )
        });
        self.compare("single_post", instance, next).await
    }

    /// A month of half-hours of the meter `day`.
    async fn put_month(&self) -> Result<()> {
        let mut connection = Connection::open(self.address, &self.ca).await?;
        let rows: String = (0..1488)
            .map(|slot| row("day", EPOCH + slot * 1800, slot.unsigned_abs()) + "\n")
            .collect();
        let stored = connection
            .exchange(&request(
                "POST",
                "/api/v1/data/batch",
                &self.token,
                (NDJSON, rows.as_bytes()),
            ))
            .await?;
        ensure!(stored.status == 200, "batch: {}", stored.status);
        Ok(())
    }

    async fn meter_day(&self, instance: &Instance) -> Result<()> {
        self.put_month().await?;
        let target = format!(
            "/api/v1/data/day?start={}&end={}",
            text(EPOCH),
            text(EPOCH + 86_400)
        );
        let bytes = request("GET", &target, &self.token, ("application/json", b""));
        let next: Next = Arc::new(move |_| bytes.clone());
        self.compare("get_48_readings", instance, next).await
    }

    /// Loads the server and the bare handler alike, one after the other.
    async fn compare(&self, name: &str, instance: &Instance, next: Next) -> Result<()> {
        let run = |address, next| load(address, &self.ca, CONNECTIONS, self.time, next);
        let before = instance.cpu()?;
        let ours = run(self.address, Arc::clone(&next)).await?;
        let cpu = instance.cpu()? - before;
        let baseline = Baseline::start(&self.home, ours.body_bytes)?;
        let before = baseline.cpu()?;
        let bare = run(baseline.address, next).await?;
        let bare_cpu = baseline.cpu()? - before;
        let each = |cpu: Duration, done: &Done| cpu.as_secs_f64() * 1e6 / ratio(done.requests, 1);
        for (figure, value, unit) in [
            ("", ours.rate(), "requests/s"),
            ("_p99", ours.percentile(0.99), "ms"),
            ("_cpu", each(cpu, &ours), "us/request"),
            ("_baseline", bare.rate(), "requests/s"),
            ("_baseline_cpu", each(bare_cpu, &bare), "us/request"),
            ("_ratio", ours.rate() / bare.rate(), "of_baseline"),
        ] {
            print(&format!("{name}{figure}"), value, unit);
        }
        Ok(())
    }

    /// 10,000 readings a request, of so many meters; returns how many readings went in.
    async fn batches(&self, name: &str, meters: u64) -> Result<u64> {
        let (token, prefix) = (Arc::clone(&self.token), name.replace('_', "-"));
        let next: Next = Arc::new(move |number| {
            let mut rows = String::with_capacity(1 << 20);
            let each = 10_000 / meters;
            for meter in 0..meters {
                for slot in 0..each {
                    let minute = i64::try_from(number * each + slot).unwrap_or(0);
                    rows.push_str(&row(
                        &format!("{prefix}-{meter}"),
                        EPOCH + minute * 60,
                        slot + meter,
                    ));
                    rows.push('\n');
                }
            }
            request(
                "POST",
                "/api/v1/data/batch",
                &token,
                (NDJSON, rows.as_bytes()),
            )
        });
        let ours = load(self.address, &self.ca, 4, self.time, next).await?;
        print(name, ours.rate() * 10_000.0, "readings/s");
        Ok(ours.requests * 10_000)
    }

    async fn month_out(&self) -> Result<()> {
        self.put_month().await?;
        let bytes = request(
            "GET",
            "/api/v1/data/day?limit=10000",
            &self.token,
            ("application/json", b""),
        );
        let next: Next = Arc::new(move |_| bytes.clone());
        let ours = load(self.address, &self.ca, 1, self.time, next).await?;
        print("month_out_p50", ours.percentile(0.5), "ms");
        print("month_out_p99", ours.percentile(0.99), "ms");
        Ok(())
    }

    async fn usage(&self) -> Result<()> {
        let target = "/api/v1/analytics/usage?meter_id=batch-100-meters-*&interval=1d";
        let bytes = request("GET", target, &self.token, ("application/json", b""));
        let mut connection = Connection::open(self.address, &self.ca).await?;
        let begin = Instant::now();
        let answer = connection.exchange(&bytes).await?;
        let seconds = begin.elapsed().as_secs_f64();
        ensure!(answer.status == 200, "usage: {}", answer.status);
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let buckets = answer["buckets"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let readings: u64 = buckets
            .iter()
            .filter_map(|bucket| bucket["count"].as_u64())
            .sum();
        print("usage_by_day", ratio(readings, 1) / seconds, "readings/s");
        Ok(())
    }

    /// Every connection sends the largest body allowed, once; some are told to come again.
    async fn largest_bodies(&self) -> Result<()> {
        let line = row("large", EPOCH, 1) + "\n";
        let body = Arc::new(line.repeat((16 << 20) / line.len()));
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (address, ca, token, body) = (
                    self.address,
                    self.ca.clone(),
                    Arc::clone(&self.token),
                    Arc::clone(&body),
                );
                tokio::spawn(async move {
                    let mut connection = Connection::open(address, &ca).await?;
                    let answer = connection
                        .exchange(&request(
                            "POST",
                            "/api/v1/data/batch",
                            &token,
                            (NDJSON, body.as_bytes()),
                        ))
                        .await;
                    // A server that is full may answer and close before it has read the whole body.
                    Ok::<u16, anyhow::Error>(answer.map_or(503, |answer| answer.status))
                })
            })
            .collect();
        for task in tasks {
            let status = task.await??;
            ensure!(
                [200, 413, 503].contains(&status),
                "a largest body: {status}"
            );
        }
        Ok(())
    }
}

/// What a load did.
struct Done {
    requests: u64,
    seconds: f64,
    latencies: Vec<f64>,
    body_bytes: usize,
}

impl Done {
    fn rate(&self) -> f64 {
        ratio(self.requests, 1) / self.seconds
    }

    /// In milliseconds.
    fn percentile(&self, part: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (part * ratio(sorted.len() as u64, 1)) as usize;
        sorted
            .get(place.min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    }
}

async fn load(
    address: SocketAddr,
    ca: &Path,
    connections: usize,
    time: Duration,
    next: Next,
) -> Result<Done> {
    let numbers = Arc::new(AtomicU64::new(0));
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address, ca).await?);
    }
    let begin = Instant::now();
    let tasks: Vec<_> = open
        .into_iter()
        .map(|mut connection| {
            let (numbers, next) = (Arc::clone(&numbers), Arc::clone(&next));
            tokio::spawn(async move {
                let (mut latencies, mut last) = (
                    Vec::new(),
                    Answer {
                        status: 0,
                        body: Vec::new(),
                    },
                );
                while begin.elapsed() < time {
                    let bytes = next(numbers.fetch_add(1, Ordering::Relaxed));
                    let sent = Instant::now();
                    last = connection.exchange(&bytes).await?;
                    ensure!(
                        (200..300).contains(&last.status),
                        "answered {}: {}",
                        last.status,
                        String::from_utf8_lossy(&last.body)
                    );
                    latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                }
                Ok((latencies, last.body.len()))
            })
        })
        .collect();
    let mut done = Done {
        requests: 0,
        seconds: 0.0,
        latencies: Vec::new(),
        body_bytes: 0,
    };
    for task in tasks {
        let (latencies, size) = task.await??;
        done.requests += latencies.len() as u64;
        done.latencies.extend(latencies);
        done.body_bytes = done.body_bytes.max(size);
    }
    done.seconds = begin.elapsed().as_secs_f64();
    Ok(done)
}

/// A reading as JSON, its value made of a number so that no two of a series are alike.
fn row(meter: &str, second: i64, number: u64) -> String {
    let energy = (number * 7919 % 100_003) as f64 / 1e5;
    format!(
        r#"{{"meter_id":"{meter}","timestamp":"{}","energy_consumption":{energy},"power_factor":0.97,"location":"Leeds"}}"#,
        text(second)
    )
}

fn text(second: i64) -> String {
    ems_core::time::Timestamp::saturating_from_micros(second * 1_000_000).to_string()
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn mebibytes(bytes: u64) -> f64 {
    ratio(bytes, 1 << 20)
}

fn print(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}
