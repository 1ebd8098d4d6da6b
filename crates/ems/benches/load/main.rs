//! Loads the real server over TLS on loopback, beside a bare hyper handler and the peers that are
//! installed in the same run, and prints a figure a line: name, value, unit. The machine's speed
//! drifts: ratios are what counts. CONTRIBUTING.md says what each figure means.
//!
//! `cargo xtask bench -- [SECONDS] [NAME…] [readings=N] [meters=N]`; each load runs for SECONDS, 5 by
//! default; with names only those loads run, so that one can be profiled.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints figures, and may stop at once where one makes no sense"
)]

mod baseline;
mod batches;
mod body;
mod client;
mod inspection;
mod instance;
mod limited;
mod load;
mod loads;
mod mongo;
mod peers;
mod process;
mod requests;
mod samples;
mod series;
mod stream;

use std::time::Duration;

use anyhow::Result;

use loads::Wanted;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if let [word, certificate, key, size] = arguments.as_slice()
        && word == "baseline"
    {
        return runtime.block_on(baseline::serve(
            certificate.as_ref(),
            key.as_ref(),
            size.parse()?,
        ));
    }
    runtime.block_on(loads::run(&wanted(arguments)?))
}

fn wanted(arguments: Vec<String>) -> Result<Wanted> {
    let mut wanted = Wanted {
        time: Duration::from_secs(5),
        readings: 50_000_000,
        meters: 1_000_000,
        names: Vec::new(),
    };
    for word in arguments {
        match word.split_once('=') {
            Some(("readings", number)) => wanted.readings = number.parse()?,
            Some(("meters", number)) => wanted.meters = number.parse()?,
            _ => match word.parse() {
                Ok(seconds) => wanted.time = Duration::from_secs(seconds),
                Err(_) => wanted.names.push(word),
            },
        }
    }
    Ok(wanted)
}
