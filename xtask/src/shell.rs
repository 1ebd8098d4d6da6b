//! Running other programs: every command is shown before it runs, and one that fails ends the step.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Says one line to the developer, on stderr, so that stdout stays a command's own output.
#[expect(
    clippy::print_stderr,
    reason = "the one place where developer commands speak"
)]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Where build output goes, honouring `CARGO_TARGET_DIR`.
pub(crate) fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR");
    root().join(named.unwrap_or_else(|| "target".into()))
}

/// Where the tools that a step installs for itself are kept.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// The release binary of the product.
pub(crate) fn release_binary() -> PathBuf {
    target().join("release").join("ems")
}

/// A command that runs in the repository's root.
pub(crate) fn command<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Shows the command, runs it, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    say(&format!("$ {shown}"));
    let status = command
        .status()
        .with_context(|| format!("`{shown}` could not be started"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// `cargo` with these arguments, run in the repository's root.
pub(crate) fn cargo(args: &[&str]) -> Result<()> {
    run(&mut command("cargo", args))
}

/// Whether a command can be run and succeeds; it is shown nothing and shows nothing.
pub(crate) fn succeeds(program: impl AsRef<OsStr>, args: &[&str]) -> bool {
    command(program, args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether a program is there and, given `arg`, prints something that ends with `text`.
pub(crate) fn prints(program: impl AsRef<OsStr>, arg: &str, text: &str) -> bool {
    command(program, [arg]).output().is_ok_and(|output| {
        let printed = String::from_utf8_lossy(&output.stdout);
        output.status.success() && printed.trim_end().ends_with(text)
    })
}

/// What a command prints on stdout; fails if it does.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{shown}` could not be started"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` printed bad UTF-8"))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.strip_prefix(root()).unwrap_or(program);
    let mut shown = name.display().to_string();
    for arg in command.get_args() {
        shown.push(' ');
        shown.push_str(&arg.to_string_lossy());
    }
    shown
}
