//! How a command fails: what it says, and with which exit code.

use std::{fmt, io, process::ExitCode};

use clap::error::ErrorKind;

use crate::output;

/// The command failed.
const FAILED: u8 = 1;
/// The command line, or the configuration, is wrong.
const USAGE: u8 = 64;

/// Wrong usage or configuration. Each line is one fault.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// An error that ends the program with 64.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

/// The command ran and found faults, each of which was printed.
#[derive(Debug)]
pub(crate) struct Found;

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faults were found")
    }
}

impl std::error::Error for Found {}

/// Says what went wrong, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(Usage(text)) = error.downcast_ref() {
        for line in text.lines() {
            output::complain(line);
        }
        return ExitCode::from(USAGE);
    }
    // Whoever reads our output has gone: there is nobody to tell.
    let gone = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    if !error.is::<Found>() && !error.chain().any(gone) {
        output::complain(&in_one_line(error));
    }
    ExitCode::from(FAILED)
}

/// An error and its causes; a cause that stands in the error's own words is not said again.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if line.ends_with(&cause) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&cause);
    }
    line.replace('\n', "; ")
}

/// Shows help or version, or says in one line what is wrong with the command line.
pub(crate) fn report_usage(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return match output::text(&error.render().to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report(&error),
        };
    }
    let rendered = error.render().to_string();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::complain_as_is(&rendered);
        return ExitCode::from(USAGE);
    }
    let (what, usage) = rendered
        .split_once("\n\nUsage: ")
        .unwrap_or((&rendered, ""));
    let what = what.split("\n\nFor more information").next();
    let what: Vec<&str> = what.unwrap_or_default().split_whitespace().collect();
    let what = what.join(" ");
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let command: Vec<&str> = usage
        .split_whitespace()
        .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()))
        .collect();
    let command = if command.is_empty() {
        "ems".to_owned()
    } else {
        command.join(" ")
    };
    output::complain(&format!("{what}: see `{command} --help`"));
    ExitCode::from(USAGE)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("disk full")
            .context("the key: disk full")
            .context("import");
        assert_eq!(in_one_line(&error), "import: the key: disk full");
        let error = anyhow!("two\nlines").context("first");
        assert_eq!(in_one_line(&error), "first: two; lines");
    }
}
