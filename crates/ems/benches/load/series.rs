//! What real readings take on disk: the one-minute series of the samples, laid over 500 meters.

use std::{io::Read as _, path::Path, sync::Arc};

use anyhow::{Context as _, Result, ensure};

use crate::{
    batches::batch,
    body::ROWS,
    client::request,
    load::{Source, Until, print, ratio},
    loads::Bench,
    stream::METERS,
};

/// Readings for which all meters are used; a shorter run takes fewer.
const FULL: u64 = 50_000_000;

/// Sends the series for each meter, lets the server finish, and looks at its files.
pub async fn run(bench: &mut Bench<'_>) -> Result<()> {
    let tails = tails()?;
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

/// Of each reading of the series what follows the meter's id in a row.
fn tails() -> Result<Vec<String>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/sceaux-one-minute.csv.gz");
    let mut text = String::new();
    let packed = std::fs::File::open(file)?;
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text)?;
    text.lines().skip(1).map(tail).collect()
}

fn tail(line: &str) -> Result<String> {
    let fields = || line.splitn(5, ',');
    let mut each = fields().skip(1);
    let mut next = || each.next().with_context(|| format!("a short row: {line}"));
    let (time, energy, factor, location) = (next()?, next()?, next()?, next()?);
    let location = location.trim_matches('"');
    Ok(format!(
        r#"","timestamp":"{time}","energy_consumption":{energy},"power_factor":{factor},"location":"{location}"}}"#
    ))
}

/// Requests of so many consecutive readings for each meter.
fn laid_over(
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
