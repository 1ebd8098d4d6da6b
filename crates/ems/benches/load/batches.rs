//! Batches of few, of many and of very many meters, and what a single commit waits beside them.

use std::time::Duration;

use anyhow::Result;

use crate::{
    body::{Form, ROWS, Shape},
    load::{Done, Source, Until, load, mebibytes, print, ratio},
    loads::Bench,
    requests::single_posts,
};

/// Connections that send batches.
pub const SENDERS: usize = 4;

/// The batch loads that are wanted.
pub async fn run(bench: &Bench<'_>) -> Result<()> {
    let until = bench.wanted.until();
    for (name, meters) in [("batch_100_meters", 100), ("batch_10000_meters", 10_000)] {
        if bench.wanted.is(name) {
            let shape = ours(&name.replace("meters", "").replace('_', "-"), meters);
            batch(bench, name, shape.source(&bench.token, 0)?, until).await?;
            let memory = mebibytes(bench.instance.server.peak_memory()?);
            print(&format!("{name}_memory"), memory, "MiB");
        }
    }
    if bench.wanted.is("commit") {
        commit(bench).await?;
    }
    Ok(())
}

/// Our own batches of so many meters each.
pub fn ours(prefix: &str, meters: u64) -> Shape {
    Shape {
        form: Form::Ndjson,
        prefix: prefix.to_owned(),
        meters,
        all: meters,
    }
}

/// Sends batches and prints their rate, and which part of the processor time the bench took.
pub async fn batch(
    bench: &Bench<'_>,
    name: &str,
    source: impl Fn() -> Source + Sync,
    until: Until,
) -> Result<()> {
    let before = bench.instance.server.cpu()?;
    let done = load(bench.target(), SENDERS, until, &source).await?;
    told(name, &done, bench.instance.server.cpu_since(before)?);
    Ok(())
}

/// Prints the rate of batches, and which part of the processor time making them took.
pub fn told(name: &str, done: &Done, server: Duration) {
    let own = done.own_cpu.as_secs_f64();
    let share = own / (own + server.as_secs_f64());
    print(name, done.rate() * ratio(ROWS, 1), "readings/s");
    print(&format!("{name}_p99"), done.percentile(0.99), "ms");
    print(&format!("{name}_client"), share, "of_cpu");
}

/// Over so many meters that each comes once in many requests: first they come into being.
pub async fn many_meters(bench: &Bench<'_>) -> Result<()> {
    let all = bench.wanted.meters.next_multiple_of(ROWS);
    let shape = Shape {
        all,
        ..ours("many-", ROWS)
    };
    let name = "batch_1000000_meters";
    let round = Until::Requests(all / ROWS);
    let first = shape.clone().source(&bench.token, 0)?;
    batch(bench, &format!("{name}_created"), first, round).await?;
    batch(bench, name, shape.source(&bench.token, all / ROWS)?, round).await?;
    let memory = mebibytes(bench.instance.server.peak_memory()?);
    print(&format!("{name}_memory"), memory, "MiB");
    Ok(())
}

/// How long single posts take on one connection while batches come in on others.
async fn commit(bench: &Bench<'_>) -> Result<()> {
    let until = Until::Time(bench.wanted.time * 8);
    let batches = ours("commit-", 100).source(&bench.token, 0)?;
    let posts = single_posts(&bench.token, "commit");
    let (batches, posts) = tokio::try_join!(
        load(bench.target(), SENDERS, until, &batches),
        load(bench.target(), 1, until, &posts),
    )?;
    for (name, part) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        print(&format!("commit_{name}"), posts.percentile(part), "ms");
    }
    print("commit_posts", ratio(posts.requests, 1), "requests");
    print(
        "commit_beside",
        batches.rate() * ratio(ROWS, 1),
        "readings/s",
    );
    Ok(())
}
