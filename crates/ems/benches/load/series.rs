//! What real readings take on disk: the one-minute series of the samples, laid over 500 meters.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::{
    batches::batch,
    body::ROWS,
    client::request,
    load::{Source, Until, print, ratio},
    loads::Bench,
    samples::{Minute, minutes},
    stream::METERS,
};

/// Readings for which all meters are used; a shorter run takes fewer.
const FULL: u64 = 50_000_000;

/// Sends the series for each meter, lets the server finish, and looks at its files.
pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let tails: Vec<String> = minutes()?.iter().map(tail).collect::<Result<_>>()?;
    let meters = (METERS * bench.wanted.readings / FULL).clamp(1, METERS);
    let slots = usize::try_from(ROWS / meters)?.min(tails.len());
    let readings = meters * tails.len() as u64;
    let requests = tails.len().div_ceil(slots) as u64;
    let source = laid_over(tails, meters, slots, &bench.token);
    batch(bench, "real_series", source, Until::Requests(requests)).await?;
    bench.instance.settle().await?;
    bench.instance.server.terminate()?;
    let (report, _) = bench.instance.verify()?;
    ensure!(
        report["clean"] == true && report["readings"] == readings,
        "{readings} readings: {report}"
    );
    print(
        "stored",
        ratio(bench.instance.allocated("data")?, readings),
        "bytes/reading",
    );
    print("stored_readings", ratio(readings, 1), "readings");
    // The files do not tell what the ledger takes; its entries as text are about as many bytes.
    print(
        "stored_audit",
        ratio(bench.instance.allocated("log")?, readings),
        "bytes/reading",
    );
    let entries = report["ledger_entries"].as_u64().context("no ledger")?;
    print("stored_ledger", ratio(entries, 1), "entries");
    Ok(())
}

/// What follows the meter's id in a row.
pub fn tail(minute: &Minute) -> Result<String> {
    Ok(format!(
        r#"","timestamp":"{}","energy_consumption":{},"power_factor":{},"location":"{}"}}"#,
        minute.time,
        std::str::from_utf8(&minute.energy)?,
        std::str::from_utf8(&minute.factor)?,
        minute.location
    ))
}

/// Requests of so many consecutive readings for each meter.
pub fn laid_over(
    tails: Vec<String>,
    meters: u64,
    slots: usize,
    token: &Arc<str>,
) -> impl Fn() -> Source {
    let tails: Arc<[String]> = tails.into();
    let token = Arc::clone(token);
    move || {
        let (tails, token) = (Arc::clone(&tails), Arc::clone(&token));
        Box::new(move |number, buffer| {
            let from = usize::try_from(number).unwrap_or(usize::MAX) * slots;
            let mut rows = String::with_capacity(2 << 20);
            for meter in 0..meters {
                let id = format!("home-{meter:03}");
                for tail in tails.iter().skip(from).take(slots) {
                    rows.push_str(r#"{"meter_id":""#);
                    rows.push_str(&id);
                    rows.push_str(tail);
                    rows.push('\n');
                }
            }
            let body = ("application/x-ndjson", rows.as_bytes());
            *buffer = request("POST", "/api/v1/data/batch", &token, body);
        })
    }
}
