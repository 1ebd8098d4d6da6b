//! `cargo xtask bench`: loads against the real server over TLS on loopback, beside a bare baseline.
//!
//! The bench prints `name value unit` a line on stdout, for people and for scripts alike.

use anyhow::Result;

use crate::shell;

/// Runs the load bench, which cargo builds with the release profile; `args` go to it.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let bench = ["bench", "--locked", "-p", "ems", "--bench", "load", "--"];
    shell::run(shell::command("cargo", bench).args(args))
}
