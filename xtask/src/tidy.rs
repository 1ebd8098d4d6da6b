//! `cargo xtask tidy`: the rules of this house that no compiler lint knows.
//!
//! Each rule is a small function from what it looks at to the places it dislikes; it says what is
//! wrong and what to do. Function length and arguments are clippy's (`clippy.toml`).

mod arrows;
mod conformance;
mod manifest;
mod names;
mod source;
mod text;
mod words;

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell;
use source::Source;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// Counted from 1; 0 where the whole file or crate is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.message),
            line => write!(f, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// Looks at every file that is in the repository or could be added to it.
pub(crate) fn run() -> Result<()> {
    let mut findings = Vec::new();
    let mut known = conformance::Known::default();
    for path in files()? {
        // A deleted file is still listed, and a picture or an archive is no text.
        let Ok(text) = fs::read_to_string(shell::root().join(&path)) else {
            continue;
        };
        findings.extend(text::findings(&path, &text));
        known.add(&path, &text);
        if Path::new(&path)
            .extension()
            .is_some_and(|kind| kind == "rs")
        {
            let source = Source::new(&path, text);
            findings.extend(source::findings(&source));
            findings.extend(words::findings(&source));
            findings.extend(names::findings(&source));
        } else if path == "Cargo.toml" {
            findings.extend(manifest::findings(&path, &text));
        }
    }
    findings.extend(known.findings());
    findings.extend(arrows::findings()?);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        shell::say(&finding.to_string());
    }
    bail!("tidy: {} findings", findings.len())
}

fn files() -> Result<Vec<String>> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = shell::output(&mut shell::command("git", list))
        .context("tidy needs git and a checkout to list the project's files")?;
    Ok(listed.lines().map(str::to_owned).collect())
}
