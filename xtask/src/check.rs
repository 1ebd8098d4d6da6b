//! `cargo xtask check`: everything that can be judged without running the product, quickest first.

use anyhow::Result;

use crate::{generate, shell, tidy};

/// Runs every check; the first that fails ends it.
pub(crate) fn run() -> Result<()> {
    shell::cargo(&["fmt", "--all", "--check"])?;
    // A workspace of its own, which clippy would need nightly Rust for.
    let programs = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    shell::cargo(&programs)?;
    tidy::run()?;
    shell::cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])?;
    generate::check()?;
    docs()
}

/// Builds the documentation; a broken link is an error.
fn docs() -> Result<()> {
    let args = ["doc", "--workspace", "--no-deps", "--locked"];
    shell::run(shell::command("cargo", args).env("RUSTDOCFLAGS", "-D warnings"))
}
