//! A store that grows large: many one-minute readings of 500 meters, and what reading, starting and
//! verifying cost on it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::{
    batches::{batch, ours},
    body::ROWS,
    client::get,
    load::{Until, mebibytes, print, ratio},
    loads::Bench,
    requests::{month_out, put_month},
};

/// Meters whose readings are streamed in.
pub const METERS: u64 = 500;

/// Streams in a hundredth and measures a query, then the rest and everything else.
pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let requests = bench.wanted.readings.div_ceil(ROWS);
    let first = requests.div_ceil(100);
    put_month(bench.target(), &bench.token).await?;
    stream(bench, "stream_first_hundredth", 0, first).await?;
    let small = settled_month_out(bench).await?;
    print("month_out_in_a_hundredth_p50", small.0, "ms");

    stream(bench, "stream", first, requests - first).await?;
    print("stream_readings", ratio(requests * ROWS, 1), "readings");
    let memory = mebibytes(bench.instance.server.peak_memory()?);
    print("stream_memory", memory, "MiB");
    let start = bench.instance.kill_and_restart().await?;
    print("start_after_kill", start.as_secs_f64() * 1e3, "ms");

    let (p50, p99) = settled_month_out(bench).await?;
    print("month_out_p50", p50, "ms");
    print("month_out_p99", p99, "ms");
    print("month_out_growth", p50 / small.0, "of_a_hundredth");
    usage(bench, requests * ROWS).await?;
    print(
        "stream_read_memory",
        mebibytes(bench.instance.server.peak_memory()?),
        "MiB",
    );
    bench.instance.server.terminate()?;
    verify(bench)
}

async fn stream(bench: &Bench<'_>, name: &str, first: u64, requests: u64) -> Result<()> {
    let source = ours("stream-", METERS).source(&bench.token, first)?;
    batch(bench, name, source, Until::Requests(requests)).await
}

/// The middle and the slowest hundredth of a query, once everything is folded: both stores are then
/// read the same way.
async fn settled_month_out(bench: &mut Bench<'_>) -> Result<(f64, f64)> {
    bench.instance.settle().await?;
    bench.instance.restart().await?;
    bench.instance.settle().await?;
    let done = month_out(bench).await?;
    Ok((done.percentile(0.5), done.percentile(0.99)))
}

/// Usage by day of all meters: the first, then again and again.
async fn usage(bench: &Bench<'_>, readings: u64) -> Result<()> {
    let target = "/api/v1/analytics/usage?meter_id=stream-*&interval=1d";
    let request = get(target, &bench.token);
    let mut connection = bench.target().connect().await?;
    let server = &bench.instance.server;
    let (begin, before) = (Instant::now(), server.cpu()?);
    let mut first = None;
    let mut rounds = 0;
    while rounds == 0 || begin.elapsed() < bench.wanted.time {
        let answer = connection.exchange(&request).await?;
        ensure!(answer.status == 200, "usage: {}", answer.status);
        first.get_or_insert((begin.elapsed(), counted(&answer.body)?));
        rounds += 1;
    }
    let (took, counted) = first.context("no round")?;
    ensure!(counted == readings, "usage counts {counted} of {readings}");
    let rate = |rounds: u64, time: Duration| ratio(readings * rounds, 1) / time.as_secs_f64();
    print("usage_by_day_first", rate(1, took), "readings/s");
    print("usage_by_day", rate(rounds, begin.elapsed()), "readings/s");
    let per_core = rate(rounds, server.cpu_since(before)?);
    print("usage_by_day_per_core", per_core, "readings/s");
    Ok(())
}

/// The readings in the buckets of an answer.
fn counted(answer: &[u8]) -> Result<u64> {
    let answer: serde_json::Value = serde_json::from_slice(answer)?;
    let buckets = answer["buckets"].as_array().context("no buckets")?;
    Ok(buckets.iter().filter_map(|b| b["count"].as_u64()).sum())
}

fn verify(bench: &Bench<'_>) -> Result<()> {
    let bytes = ratio(bench.instance.allocated("data")?, 1_000_000);
    let (report, time) = bench.instance.verify()?;
    ensure!(report["clean"] == true, "verify: {report}");
    print("verify", bytes / time.as_secs_f64(), "MB/s");
    let readings = report["readings"].as_u64().context("no readings")?;
    let rate = ratio(readings, 1) / time.as_secs_f64();
    print("verify_readings", rate, "readings/s");
    print("verify_time", time.as_secs_f64(), "s");
    print(
        "stream_stored",
        bytes * 1e6 / ratio(readings, 1),
        "bytes/reading",
    );
    Ok(())
}
