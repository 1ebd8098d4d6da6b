//! `cargo xtask bench`: loads against the real server over TLS on loopback, beside a bare baseline,
//! and what inspection takes by itself.
//!
//! The bench prints `name value unit` a line on stdout, for people and for scripts alike.

use anyhow::Result;

use crate::shell;

/// The figures of inspection by itself.
const INSPECT: &str = "inspect";

/// Runs the benches, which cargo builds with the release profile; `args` go to the loads.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let named = |name: &str| args.iter().any(|word| word == name);
    if named(INSPECT) || args.iter().all(|word| is_number(word)) {
        let bench = ["bench", "--locked", "-p", "ems-guard", "--bench", INSPECT];
        shell::run(&mut shell::command("cargo", bench))?;
    }
    if args == [INSPECT] {
        return Ok(());
    }
    let bench = ["bench", "--locked", "-p", "ems", "--bench", "load", "--"];
    let loads = args.iter().filter(|word| *word != INSPECT);
    shell::run(shell::command("cargo", bench).args(loads))
}

/// Whether a word names no bench: seconds, or `readings=N`.
fn is_number(word: &str) -> bool {
    word.contains('=') || word.parse::<u64>().is_ok()
}
