//! The program `ems`: reads the command line, runs one command, ends with its exit code.
//!
//! 0 done, 1 failed, 64 wrong usage or configuration (`EX_USAGE` of sysexits). What went wrong goes
//! to stderr, one line for each thing, and says what to do.

mod cli;
mod cmd;
mod connect;
mod failure;
mod instance;
mod output;
mod password;

use std::process::ExitCode;

use clap::Parser as _;

/// Threads that parse and seal beside each other would queue in the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::try_parse() {
        Ok(cli) => match cmd::run(cli) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure::report(&error),
        },
        Err(error) => failure::report_usage(&error),
    }
}
