//! Single requests beside a bare handler that reads and answers as many bytes, and the largest
//! bodies allowed, all at once.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    body::{EPOCH, row, text},
    client::{Target, get, request},
    instance::Baseline,
    load::{Done, Source, load, made, mebibytes, print, ratio, repeated},
    loads::Bench,
};

pub const CONNECTIONS: usize = 64;
const NDJSON: &str = "application/x-ndjson";

/// The loads of single requests that are wanted.
pub async fn run(bench: &Bench<'_>) -> Result<()> {
    if bench.wanted.is("single_post") {
        compare(bench, "single_post", &single_posts(&bench.token, "single")).await?;
    }
    if bench.wanted.is("get_48_readings") {
        put_month(bench.target(), &bench.token).await?;
        let source = repeated(get(&day(), &bench.token));
        compare(bench, "get_48_readings", &source).await?;
    }
    Ok(())
}

/// One reading a request, of 64 meters in turn.
pub fn single_posts(token: &Arc<str>, prefix: &str) -> impl Fn() -> Source + use<> {
    let (token, prefix) = (Arc::clone(token), Arc::<str>::from(prefix));
    made(move |number| {
        let row = row(
            &format!("{prefix}-{}", number % 64),
            EPOCH + i64::try_from(number / 64).unwrap_or(0) * 60,
            number,
        );
        let body = ("application/json", row.as_bytes());
        request("POST", "/api/v1/data", &token, body)
    })
}

/// A month of half-hours of the meter `day`.
pub async fn put_month(target: &Target, token: &str) -> Result<()> {
    let rows: String = (0..1488)
        .map(|slot| row("day", EPOCH + slot * 1800, slot.unsigned_abs()) + "\n")
        .collect();
    let body = (NDJSON, rows.as_bytes());
    let batch = request("POST", "/api/v1/data/batch", token, body);
    let stored = target.connect().await?.exchange(&batch).await?;
    ensure!(stored.status == 200, "batch: {}", stored.status);
    Ok(())
}

/// The address of its first day.
pub fn day() -> String {
    let (start, end) = (text(EPOCH), text(EPOCH + 86_400));
    format!("/api/v1/data/day?start={start}&end={end}")
}

/// That month as JSON, over one connection.
pub async fn month_out(bench: &Bench<'_>) -> Result<Done> {
    let source = repeated(get("/api/v1/data/day?limit=10000", &bench.token));
    load(bench.target(), 1, bench.wanted.until(), &source).await
}

/// Loads the server and the bare handler alike, one after the other.
async fn compare(
    bench: &Bench<'_>,
    name: &str,
    source: &(dyn Fn() -> Source + Sync),
) -> Result<()> {
    let until = bench.wanted.until();
    let server = &bench.instance.server;
    let before = server.cpu()?;
    let ours = load(bench.target(), CONNECTIONS, until, source).await?;
    let cpu = server.cpu_since(before)?;
    let baseline = Baseline::start(&bench.instance.home(), ours.body_bytes)?;
    let before = baseline.process.cpu()?;
    let bare = load(&baseline.target, CONNECTIONS, until, source).await?;
    let bare_cpu = baseline.process.cpu_since(before)?;
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

/// Every connection sends the largest body allowed, once, to a fresh process; some are told to come
/// again.
pub async fn largest_bodies(bench: &mut Bench<'_>) -> Result<()> {
    if !bench.wanted.is("largest_bodies") {
        return Ok(());
    }
    bench.instance.restart().await?;
    let line = row("large", EPOCH, 1) + "\n";
    let body = line.repeat((16 << 20) / line.len());
    let body = (NDJSON, body.as_bytes());
    let batch: Arc<[u8]> = request("POST", "/api/v1/data/batch", &bench.token, body).into();
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (target, batch) = (bench.target().clone(), Arc::clone(&batch));
            tokio::spawn(async move {
                let mut connection = target.connect().await?;
                let answer = connection.exchange(&batch).await;
                // A server that is full may answer and close before it has read the whole body.
                anyhow::Ok(answer.map_or(503, |answer| answer.status))
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
    let memory = mebibytes(bench.instance.server.peak_memory()?);
    print("memory_with_64_largest_bodies", memory, "MiB");
    Ok(())
}
