//! Every developer command of the project: `cargo xtask --help` lists them.
//!
//! One file a command, so that what CI does and what a developer types are the same code.

mod audit;
mod bench;
mod check;
mod ci;
mod conformance;
mod fuzz;
mod generate;
mod instance;
mod setup;
mod shell;
mod smoke;
mod soak;
mod test;
mod tidy;
mod waf;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of EMS Agent.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Formatting, our own rules, generated files, clippy and the docs.
    Check,
    /// Our own rules alone: sizes, words, crate arrows, comments on dependencies.
    Tidy,
    /// Writes docs/reference from the code: OpenAPI, errors, settings, command line.
    Gen {
        /// Compares instead of writing, and fails where a file is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Installs what a bare Debian with Rust lacks, and only that.
    Setup {
        /// Installs the stores that the bench measures beside ours, instead.
        #[arg(long)]
        peers: bool,
    },
    /// Installs what the tests need, then runs all of them.
    Test {
        /// Passed to the test runner: a filter, for example.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Licences, banned crates, sources and known vulnerabilities of the dependencies.
    Audit,
    /// Runs the load bench in release mode; prints `name value unit` a line.
    Bench {
        /// Passed to the bench: `[SECONDS] [NAME…] [readings=N] [meters=N]`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Sends generated requests to the release binary and holds each answer against its OpenAPI.
    Conformance {
        /// Fewer requests: what CI runs.
        #[arg(long)]
        short: bool,
    },
    /// Runs the release binary from init to SIGTERM with one reading in and out.
    Smoke,
    /// Runs the tests that look for rare faults for as long as is asked, and prints their figures.
    Soak(soak::Soak),
    /// Replays a corpus of attacks and texts against the release binary, and counts what is blocked.
    Waf(waf::Waf),
    /// Feeds made-up bytes to everything that reads bytes of others, and holds it to what it promises.
    Fuzz(fuzz::Fuzz),
    /// All of it, as CI does, with the time of each step.
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Check => check::run(),
        Command::Tidy => tidy::run(),
        Command::Gen { check: true } => generate::check(),
        Command::Gen { check: false } => generate::write(),
        Command::Setup { peers: true } => setup::peers(),
        Command::Setup { peers: false } => setup::all(),
        Command::Test { args } => test::run(&args),
        Command::Audit => audit::run(),
        Command::Bench { args } => bench::run(&args),
        Command::Conformance { short: true } => conformance::run(conformance::SHORT),
        Command::Conformance { short: false } => conformance::run(conformance::FULL),
        Command::Smoke => smoke::run(),
        Command::Soak(soak) => soak::run(&soak),
        Command::Waf(waf) => waf::run(&waf),
        Command::Fuzz(fuzz) => fuzz::run(&fuzz),
        Command::Ci => ci::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
