//! Loads the real server over TLS on loopback, beside a bare hyper handler in the same run, and
//! prints a figure a line: name, value, unit. The machine's speed drifts: ratios are what counts.
//!
//! `cargo xtask bench -- [SECONDS [NAME…]]`; each load runs for SECONDS, 5 by default; with names only
//! those loads run, so that one can be profiled.

#![expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a bench prints figures, and may stop at once where one makes no sense"
)]

mod baseline;
mod client;
mod instance;
mod loads;

use anyhow::Result;

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
    let seconds = arguments.first().map_or(Ok(5), |seconds| seconds.parse())?;
    let names = arguments.into_iter().skip(1).collect();
    runtime.block_on(loads::run(std::time::Duration::from_secs(seconds), names))
}
