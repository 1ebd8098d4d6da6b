//! `cargo xtask fuzz`: every target of `fuzz/` under LLVM's fuzzer, for as long as is asked, and a
//! table of what came of it.
//!
//! Built by nightly Rust with the sanitizer of addresses, which watches the C parts and the unsafe code of
//! dependencies (ours has none) and leaves some ten thousand runs a second. One run at a time uses
//! one core. What leads somewhere new gathers under the target directory; `--keep` brings the
//! few inputs that reach all of it to `fuzz/corpus`, which every test run plays again.

mod corpus;

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell;
use corpus::{KEPT, keep, unpack};

/// Version of the tool that builds fuzz targets.
const CARGO_FUZZ: &str = "0.13.2";
/// The toolchain that knows sanitizers.
const NIGHTLY: &str = "nightly";
/// Bounds of a run: input's length in bytes, memory in megabytes, seconds an input.
const BOUNDS: [&str; 3] = ["-max_len=8192", "-rss_limit_mb=2048", "-timeout=20"];
/// The words that a target's inputs are made of.
const WORDS: [(&str, &str); 9] = [
    ("decoder", "attack"),
    ("inspect_head", "attack"),
    ("inspect_body", "attack"),
    ("rows", "reading"),
    ("csv", "reading"),
    ("ndjson", "reading"),
    ("json", "reading"),
    ("sieve", "http"),
    ("forwarded", "http"),
];

/// What to run, and for how long.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// The targets; all when absent.
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 360)]
    seconds: u64,
    /// Brings what was found to `fuzz/corpus`, minimised, when the runs are over.
    #[arg(long)]
    keep: bool,
}

/// What came of a target.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    target: String,
    runs: u64,
    a_second: u64,
    corpus: usize,
    edges: u64,
    fault: Option<String>,
}

/// Builds and runs the targets; fails when any found a fault.
pub(crate) fn run(fuzz: &Fuzz) -> Result<()> {
    let all = targets()?;
    if let Some(unknown) = fuzz.targets.iter().find(|name| !all.contains(*name)) {
        bail!(
            "there is no target `{unknown}`; there are: {}",
            all.join(", ")
        );
    }
    let chosen = |name: &String| fuzz.targets.is_empty() || fuzz.targets.contains(name);
    let chosen: Vec<String> = all.into_iter().filter(chosen).collect();
    build(&chosen)?;
    seed(&chosen)?;
    let told = chosen
        .iter()
        .map(|target| target_run(target, fuzz.seconds))
        .collect::<Result<Vec<_>>>()?;
    if fuzz.keep {
        for target in &chosen {
            keep(target, &program(target)?)?;
        }
    }
    shell::say(&table(&told));
    let faults = told.iter().filter_map(|told| told.fault.as_deref());
    let faults: Vec<&str> = faults.collect();
    if faults.is_empty() {
        return Ok(());
    }
    bail!(
        "faults were found; their inputs and logs: {}",
        faults.join(", ")
    )
}

/// The names of the targets, as their files have them.
fn targets() -> Result<Vec<String>> {
    let folder = shell::root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).context("cannot read fuzz/fuzz_targets")? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    names.sort_unstable();
    Ok(names)
}

/// Where everything of the fuzzer is built and gathered.
fn folder() -> PathBuf {
    shell::target().join("fuzz")
}

/// Builds the targets by nightly Rust.
fn build(targets: &[String]) -> Result<()> {
    if !shell::succeeds("rustup", &["run", NIGHTLY, "cargo", "--version"]) {
        bail!("fuzzing needs nightly Rust: rustup toolchain install {NIGHTLY} --profile minimal");
    }
    let tool = cargo_fuzz()?;
    let all = targets.len() > 1;
    let args = ["run", NIGHTLY];
    let mut build = shell::command("rustup", args);
    build.arg(tool).args(["build", "--sanitizer", "address"]);
    build.args(targets.iter().filter(|_| !all));
    shell::run(build.env("CARGO_TARGET_DIR", folder()))
}

/// The program of a target.
fn program(target: &str) -> Result<PathBuf> {
    let built = fs::read_dir(folder()).context("nothing is built")?;
    let places = built.filter_map(|entry| Some(entry.ok()?.path().join("release").join(target)));
    let mut found = places.filter(|place| place.is_file());
    found
        .next()
        .with_context(|| format!("the target {target} is not built"))
}

/// The tool, built first when it is missing or of another version.
fn cargo_fuzz() -> Result<PathBuf> {
    let program = shell::tools().join("bin").join("cargo-fuzz");
    if !shell::prints(&program, "--version", CARGO_FUZZ) {
        let what = ["install", "cargo-fuzz", "--version", CARGO_FUZZ, "--locked"];
        let mut install = shell::command("cargo", what);
        install
            .args(["--force", "--quiet", "--root"])
            .arg(shell::tools());
        shell::run(&mut install)?;
    }
    Ok(program)
}

/// Lays out what each target sets out from: the corpus that is kept, and where there is none yet, the
/// seeds that the tests of the crates make.
fn seed(targets: &[String]) -> Result<()> {
    let mut bare = false;
    for target in targets {
        bare |= unpack(target)? == 0;
    }
    if !bare {
        return Ok(());
    }
    let crates = ["ems-crypto", "ems-guard", "ems-server", "ems-store"];
    let packages = crates.iter().flat_map(|name| ["--package", name]);
    let mut seed = shell::command("cargo", ["test", "--quiet", "--lib", "--locked"]);
    seed.args(packages)
        .args(["--", "fuzz::tests", "--skip", "the_corp"]);
    shell::run(seed.env("EMS_FUZZ_SEEDS", folder().join("corpus")))
}

/// Runs a target for so long.
fn target_run(target: &str, seconds: u64) -> Result<Told> {
    shell::say(&format!("== {target}, {seconds} s"));
    let (corpus, logs) = (corpus::place(target), folder().join("logs"));
    let artifacts = folder().join("artifacts").join(target);
    for folder in [&corpus, &logs, &artifacts] {
        fs::create_dir_all(folder).context("cannot make the folders of a run")?;
    }
    let log = logs.join(format!("{target}.log"));
    let file = File::create(&log).context("cannot make the log of a run")?;
    let mut command = shell::command(program(target)?, BOUNDS);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-print_final_stats=1"]);
    if let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == target) {
        command.arg(format!("-dict=fuzz/dict/{words}"));
    }
    let status = command
        .arg(&corpus)
        .stdout(Stdio::null())
        .stderr(file)
        .status()
        .with_context(|| format!("the target {target} could not be started"))?;
    // A panic may repeat bytes that are no UTF-8.
    let text = fs::read(&log).context("cannot read the log of a run")?;
    let text = String::from_utf8_lossy(&text);
    let told = read(target, &text, &corpus);
    let fault = (!status.success()).then(|| {
        let input = text
            .lines()
            .rev()
            .find_map(|line| line.split("written to ").nth(1));
        format!("{} ({})", input.unwrap_or("no input"), log.display())
    });
    Ok(Told { fault, ..told })
}

/// Reads the figures out of a log.
fn read(target: &str, log: &str, corpus: &Path) -> Told {
    let after = |name: &str| {
        let line = log.lines().rev().find_map(|line| line.split(name).nth(1))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Told {
        target: target.to_owned(),
        runs: after("stat::number_of_executed_units:").unwrap_or(0),
        a_second: after("stat::average_exec_per_sec:").unwrap_or(0),
        corpus: fs::read_dir(corpus).map_or(0, Iterator::count),
        edges: after(" cov: ").unwrap_or(0),
        fault: None,
    }
}

fn table(told: &[Told]) -> String {
    let mut text = format!(
        "{:14} {:>12} {:>8} {:>8} {:>8} {:>7}  (the corpus keeps at most {KEPT} inputs)",
        "target", "runs", "a second", "corpus", "edges", "faults"
    );
    for one in told {
        let faults = usize::from(one.fault.is_some());
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "\n{:14} {:>12} {:>8} {:>8} {:>8} {faults:>7}",
            one.target, one.runs, one.a_second, one.corpus, one.edges
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "#2\tINITED cov: 12 ft: 14 corp: 1/1b exec/s: 0 rss: 40Mb\n\
        #9\tNEW    cov: 345 ft: 400 corp: 2/3b lim: 4 exec/s: 0 rss: 41Mb L: 2/2 MS: 1 X-\n\
        #90\tDONE   cov: 345 ft: 400 corp: 2/3b lim: 4 exec/s: 30 rss: 41Mb\n\
        Done 90 runs in 3 second(s)\n\
        stat::number_of_executed_units: 90\n\
        stat::average_exec_per_sec:     30\n";

    #[test]
    fn figures_are_read_out_of_a_log_and_shown() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        let told = read("csv", LOG, folder.path());
        let expected = Told {
            target: "csv".to_owned(),
            runs: 90,
            a_second: 30,
            corpus: 1,
            edges: 345,
            fault: None,
        };
        assert_eq!(told, expected);
        let row = "csv                      90       30        1      345       0";
        assert!(table(&[told]).ends_with(row), "{}", table(&[expected]));
    }

    #[test]
    fn every_target_is_a_program_of_the_manifest_and_has_a_corpus() {
        let manifest = fs::read_to_string(shell::root().join("fuzz/Cargo.toml")).unwrap();
        let names = targets().unwrap();
        assert!(!names.is_empty());
        for name in names {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let corpus = shell::root().join("fuzz/corpus").join(&name);
            assert!(corpus.is_file(), "{name} has no corpus");
        }
    }
}
