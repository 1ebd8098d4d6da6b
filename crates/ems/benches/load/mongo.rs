//! The store on a real replica set of three on this machine, beside plain documents in a time-series
//! collection of the same set: the same readings to both, in the same run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ems_testkit::mongo::{Accounts, Plain, PlainReading, ReplicaSet};

use crate::{
    batches::{SENDERS, batch, ours},
    body::{EPOCH, ROWS},
    client::get,
    instance::{Instance, temporary},
    load::{Source, Until, load, print, ratio, repeated},
    loads::{Bench, Wanted},
    samples::{Minute, minutes},
    series::laid_over,
};

/// Meters of the series that usage is asked of: some ten million readings.
const HOMES: u64 = 250;
/// Readings of a month of half-hours.
const MONTH: i64 = 1488;
/// How long what was folded is kept beside what replaced it, and some.
const CLEARED: Duration = Duration::from_secs(90);

/// Runs both, and prints the figures side by side.
pub async fn run(wanted: &Wanted) -> Result<()> {
    let set = ReplicaSet::start().await;
    let accounts = set.with_roles().await;
    let plain = Plain::make(&set).await?;
    let bench = Bench {
        wanted,
        instance: instance(&set, &accounts).await?,
        token: Arc::from(""),
    };
    let bench = Bench {
        token: bench.instance.token().await?,
        ..bench
    };
    for meters in [100, 10_000] {
        let name = format!("mongo_batch_{meters}_meters");
        let source = ours(&format!("b{meters}-"), meters).source(&bench.token, 0)?;
        batch(&bench, &name, source, wanted.until()).await?;
        let rate = plain_batches(&plain, meters, wanted.time).await?;
        print(&format!("mongo_plain_{meters}_meters"), rate, "readings/s");
    }
    drop(bench);
    drop(set);
    series(wanted).await
}

async fn instance(set: &ReplicaSet, accounts: &Accounts) -> Result<Instance> {
    let dir = temporary()?;
    let mut files = Vec::new();
    for (name, account) in [("service", &accounts.ems), ("owner", &accounts.owner)] {
        let file = dir.path().join(name);
        let uri = set.uri(account).replacen("/?", "/ems?", 1);
        std::fs::write(&file, uri)?;
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        files.push(file);
    }
    let [service, owner] = files.as_slice() else {
        anyhow::bail!("two files");
    };
    Instance::start_on(&[
        "--store".as_ref(),
        "mongo".as_ref(),
        "--mongo-uri-file".as_ref(),
        service.as_os_str(),
        "--mongo-owner-uri-file".as_ref(),
        owner.as_os_str(),
    ])
    .await
}

/// The rate at which plain documents of so many meters are inserted, ten thousand at a time.
async fn plain_batches(plain: &Plain, meters: u64, time: Duration) -> Result<f64> {
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (plain, next) = (plain.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let names: Vec<String> = (0..meters).map(|m| format!("p{meters}-{m:07}")).collect();
                while began.elapsed() < time {
                    let round = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let slots = ROWS / meters;
                    let mut rows = Vec::with_capacity(ROWS as usize);
                    for (number, meter) in names.iter().enumerate() {
                        for slot in 0..slots {
                            let minute = round * slots + slot;
                            rows.push(PlainReading {
                                meter,
                                second: EPOCH + i64::try_from(minute)? * 60,
                                energy: ((number as u64 + minute) * 7919 % 100_003) as f64 / 1e5,
                                factor: 0.97,
                            });
                        }
                    }
                    plain.insert(&rows).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let done = next.load(std::sync::atomic::Ordering::Relaxed);
    Ok(ratio(done * ROWS, 1) / began.elapsed().as_secs_f64())
}

/// Real readings in both: what they take, how fast their usage is summed, and how fast a stretch of one
/// meter comes out.
async fn series(wanted: &Wanted) -> Result<()> {
    let set = ReplicaSet::start().await;
    let accounts = set.with_roles().await;
    let instance = instance(&set, &accounts).await?;
    let token = instance.token().await?;
    let bench = Bench {
        wanted,
        instance,
        token,
    };
    let series = minutes()?;
    let tails: Vec<String> = series
        .iter()
        .map(crate::series::tail)
        .collect::<Result<_>>()?;
    let slots = usize::try_from(ROWS / HOMES)?;
    let readings = HOMES * tails.len() as u64;
    let requests = tails.len().div_ceil(slots) as u64;
    let source = laid_over(tails, HOMES, slots, &bench.token);
    batch(
        &bench,
        "mongo_real_series",
        source,
        Until::Requests(requests),
    )
    .await?;
    tokio::time::sleep(CLEARED).await;
    let is_journal = |name: &str| name.ends_with("journal");
    let stored = set.stored_bytes("ems", |name| !is_journal(name)).await?
        + set.stored_bytes("ems_keys", |_| true).await?;
    print("mongo_stored", ratio(stored, readings), "bytes/reading");
    // Folded and removed: what the server has not given back yet, and uses again.
    let left = set.stored_bytes("ems", is_journal).await?;
    print(
        "mongo_stored_journal",
        ratio(left, readings),
        "bytes/reading",
    );
    print("mongo_stored_readings", ratio(readings, 1), "readings");
    let (from, until) = (second(&series[0])?, second(&series[series.len() - 1])? + 60);
    let usage = usage(&bench, (from, until), readings).await?;
    print(
        "mongo_usage_by_day",
        ratio(readings, 1) / usage,
        "readings/s",
    );
    let month = month(&bench, from).await?;
    print("mongo_month_out_p50", month, "ms");
    let plain = Plain::make(&set).await?;
    plain_series(&plain, &series).await?;
    let bytes = plain.stored_bytes().await?;
    print(
        "mongo_plain_stored",
        ratio(bytes, readings),
        "bytes/reading",
    );
    let began = Instant::now();
    let (_, counted) = plain.usage_by_day().await?;
    ensure!(
        counted == i64::try_from(readings)?,
        "{counted} of {readings}"
    );
    let rate = ratio(readings, 1) / began.elapsed().as_secs_f64();
    print("mongo_plain_usage_by_day", rate, "readings/s");
    let mut times = Vec::new();
    for number in 0..100 {
        let began = Instant::now();
        let meter = format!("home-{:03}", number % HOMES);
        let found = plain.find(&meter, from, from + MONTH * 60).await?;
        ensure!(found > 1400, "{found}");
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    print("mongo_plain_month_out_p50", times[times.len() / 2], "ms");
    Ok(())
}

fn second(minute: &Minute) -> Result<i64> {
    let at = ems_core::time::Timestamp::parse(&minute.time);
    Ok(at.ok().context("a time of the samples")?.as_seconds())
}

async fn plain_series(plain: &Plain, series: &[Minute]) -> Result<()> {
    let names: Vec<String> = (0..HOMES).map(|meter| format!("home-{meter:03}")).collect();
    let slots = usize::try_from(ROWS / HOMES)?;
    for minutes in series.chunks(slots) {
        let mut rows = Vec::with_capacity(ROWS as usize);
        for meter in &names {
            for minute in minutes {
                rows.push(PlainReading {
                    meter,
                    second: second(minute)?,
                    energy: std::str::from_utf8(&minute.energy)?.parse()?,
                    factor: std::str::from_utf8(&minute.factor)?.parse()?,
                });
            }
        }
        plain.insert(&rows).await?;
    }
    Ok(())
}

/// Seconds that the usage by day of all homes takes, the best of three.
async fn usage(bench: &Bench<'_>, (from, until): (i64, i64), readings: u64) -> Result<f64> {
    let (from, until) = (crate::body::text(from), crate::body::text(until));
    let path =
        format!("/api/v1/analytics/usage?meter_id=home-*&start={from}&end={until}&interval=1d");
    let mut best = f64::MAX;
    let mut connection = bench.target().connect().await?;
    for _ in 0..3 {
        let began = Instant::now();
        let answer = connection.exchange(&get(&path, &bench.token)).await?;
        let seconds = began.elapsed().as_secs_f64();
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let buckets = answer["buckets"].as_array().context("no buckets")?;
        let counts = buckets.iter().filter_map(|bucket| bucket["count"].as_u64());
        ensure!(counts.sum::<u64>() == readings, "{answer}");
        best = best.min(seconds);
    }
    Ok(best)
}

/// Milliseconds that a stretch of one meter takes, half of them less.
async fn month(bench: &Bench<'_>, from: i64) -> Result<f64> {
    let (start, end) = (
        crate::body::text(from),
        crate::body::text(from + MONTH * 60),
    );
    let path = format!("/api/v1/data/home-007?start={start}&end={end}&limit=10000");
    let request = repeated(get(&path, &bench.token));
    let source: &(dyn Fn() -> Source + Sync) = &request;
    let done = load(bench.target(), 1, Until::Requests(200), source).await?;
    Ok(done.percentile(0.5))
}
