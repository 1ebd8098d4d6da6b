//! `ems gen`: the reference pages, written from what the program itself knows.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, CommandFactory as _};
use ems_api::{ErrorCode, domain::FaultCode};

use crate::cli::Cli;

/// The flags of `ems gen`.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// Directory to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Generate {
    /// Writes the pages.
    pub(crate) fn run(self) -> Result<()> {
        let out = &self.out;
        fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        let openapi = serde_json::to_string_pretty(&ems_server::openapi::document())?;
        write(out, "openapi.json", &format!("{openapi}\n"))?;
        write(out, "errors.md", &errors())?;
        write(
            out,
            "settings.md",
            &ems_server::config::reference::markdown(),
        )?;
        write(out, "rules.md", &ems_server::rules())?;
        write(out, "cli.md", &cli())
    }
}

fn write(out: &Path, name: &str, text: &str) -> Result<()> {
    let path = out.join(name);
    fs::write(&path, text).with_context(|| path.display().to_string())
}

/// The page of error codes.
fn errors() -> String {
    let mut page = String::from(
        "# Errors\n\nEvery refusal is a problem document (RFC 9457) with one of these codes.\n\n\
         | status | code | meaning |\n|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        let status = ems_server::problem::status(code).as_u16();
        let _ = writeln!(
            page,
            "| {status} | `{}` | {} |",
            code.as_str(),
            code.title()
        );
    }
    page.push_str(
        "\nWithin `errors`, each broken rule of an input has one of these codes.\n\n\
         | code | meaning |\n|---|---|\n",
    );
    for code in FaultCode::ALL {
        let _ = writeln!(page, "| `{}` | {} |", code.as_str(), code.meaning());
    }
    page
}

/// The page of commands: the help texts, as the program prints them.
fn cli() -> String {
    let mut page = String::from("# Command line\n");
    let mut command = Cli::command().term_width(100);
    command.build();
    section(&mut page, &mut command, "");
    page
}

fn section(page: &mut String, command: &mut clap::Command, above: &str) {
    let name = format!("{above}{}", command.get_name());
    let level = "#".repeat(2 + name.matches(' ').count());
    let help = command.render_help().to_string();
    let _ = write!(
        page,
        "\n{level} `{name}`\n\n```text\n{}\n```\n",
        tidy(&help)
    );
    for below in command.get_subcommands_mut() {
        if !below.is_hide_set() && below.get_name() != "help" {
            section(page, below, &format!("{name} "));
        }
    }
}

/// Without spaces at the ends of lines.
fn tidy(help: &str) -> String {
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}
