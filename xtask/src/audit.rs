//! `cargo xtask audit`: what comes in from outside, judged by `deny.toml`: licences, banned crates,
//! sources, and the published advisories.
//!
//! The judge, cargo-deny, is built once into the target directory, at a fixed version and without
//! optimisation: it runs for seconds, so a quick build is worth more than a quick tool.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::shell;

const DENY: &str = "0.20.2";

/// A copy of the advisories beside the checkout, for a machine that cannot fetch them.
const ADVISORIES: &str = "../shared/data/advisory-db.tar.gz";

/// Where `deny.toml` has its advisories, and cargo-deny its clone of the default database.
const DATABASE: &str = "target/advisory-dbs/advisory-db-3157b0e258782691";

/// Checks everything that `deny.toml` says.
pub(crate) fn run() -> Result<()> {
    let deny = cargo_deny()?;
    // Every crate of the lock, those of other systems too, so that the graph is whole.
    shell::cargo(&["fetch", "--locked", "--quiet"])?;
    let local = local_advisories()?;
    // The fuzzer's workspace follows the manifests of the product; its lock may lag behind.
    let fuzz = [
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--config",
        "deny.toml",
    ];
    for of in [&["--locked"][..], &fuzz] {
        let mut check = shell::command(&deny, of);
        check.args(local.then_some("--offline"));
        shell::run(check.args(["check", "--hide-inclusion-graph"]))?;
    }
    Ok(())
}

/// Unpacks the copy of the advisories in the place of a clone; false where there is no copy, and
/// cargo-deny is to fetch them.
fn local_advisories() -> Result<bool> {
    let archive = shell::root().join(ADVISORIES);
    if !archive.exists() {
        return Ok(false);
    }
    let database = shell::root().join(DATABASE);
    let git = database.join(".git");
    fs::create_dir_all(&git).context("cannot make the directory of the advisories")?;
    let mut unpack = shell::command("tar", ["--strip-components=1", "-xzf"]);
    shell::run(unpack.arg(&archive).arg("-C").arg(&database))?;
    // cargo-deny takes the time of a clone's last fetch from this file.
    fs::write(git.join("FETCH_HEAD"), "").context("cannot date the advisories")?;
    Ok(true)
}

/// The program, built first when it is missing or of another version.
fn cargo_deny() -> Result<PathBuf> {
    let program = shell::tools().join("bin").join("cargo-deny");
    if shell::prints(&program, "--version", DENY) {
        return Ok(program);
    }
    let what = [
        "install",
        "cargo-deny",
        "--version",
        DENY,
        "--locked",
        "--force",
    ];
    let mut install = shell::command("cargo", what);
    install
        .args(["--quiet", "--no-default-features", "--root"])
        .arg(shell::tools())
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false");
    shell::run(&mut install)?;
    Ok(program)
}
