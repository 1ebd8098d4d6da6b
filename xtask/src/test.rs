//! `cargo xtask test`: installs what the tests need, then runs all of them.
//!
//! With `cargo-nextest` each test has its own process; without it, `cargo test` runs the same ones.
//! The examples in the documentation go first, so that the last line is the summary of the rest.

use anyhow::Result;

use crate::{setup, shell};

/// Runs every test of the workspace; `args` go to the runner, and then only that runs.
pub(crate) fn run(args: &[String]) -> Result<()> {
    setup::for_tests()?;
    if args.is_empty() {
        shell::cargo(&["test", "--quiet", "--workspace", "--doc", "--locked"])?;
    }
    let runner: &[&str] = if shell::succeeds("cargo", &["nextest", "--version"]) {
        &["nextest", "run", "--workspace", "--locked"]
    } else {
        &[
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--locked",
        ]
    };
    shell::run(shell::command("cargo", runner).args(args))
}
