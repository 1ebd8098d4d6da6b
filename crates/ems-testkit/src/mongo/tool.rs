//! The system's own tools, run to their end: `ip`, `tc`, `mount` and `umount`.

use std::{
    io::ErrorKind,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

/// Where Debian has them; not every user's own path leads there.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A tool that sees none of the environment that the tests run in.
pub(super) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).stdin(Stdio::null());
    command
}

/// Runs a tool, with arguments that have no space in them; what it printed.
pub(super) fn run(program: &str, arguments: &str) -> Result<String> {
    let mut command = command(program);
    finish(command.args(arguments.split_whitespace()))
}

/// Runs a tool; what it printed.
pub(super) fn finish(command: &mut Command) -> Result<String> {
    let ran = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("a tool of the system is missing: {command:?}; run cargo xtask setup")
        }
        ran => ran.with_context(|| format!("cannot run {command:?}"))?,
    };
    if !ran.status.success() {
        let complaint = String::from_utf8_lossy(&ran.stderr);
        bail!("{command:?} failed: {}", complaint.trim());
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_missing_says_how_to_get_it() {
        let error = run("no-such-tool", "").unwrap_err().to_string();
        assert!(error.contains("run cargo xtask setup"), "{error}");
    }

    #[test]
    fn one_that_fails_says_why() {
        let error = run("ip", "link set no-such-link up").unwrap_err();
        assert!(error.to_string().contains("no-such-link"), "{error}");
    }
}
