//! `cargo xtask gen`: the reference pages, written by the product itself from its own code.
//!
//! They are committed, so that a change of what the outside sees shows in review; `--check` (part
//! of `check`) fails where the committed ones differ from what the code says now.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell;

const REFERENCE: &str = "docs/reference";

/// Writes the reference pages.
pub(crate) fn write() -> Result<()> {
    generate(&shell::root().join(REFERENCE))
}

/// Fails where a committed page is missing, left over or out of date.
pub(crate) fn check() -> Result<()> {
    let fresh = shell::target().join("reference");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).context("cannot clear the last comparison")?;
    }
    generate(&fresh)?;
    let stale = differing(&shell::root().join(REFERENCE), &fresh)?;
    if !stale.is_empty() {
        bail!(
            "out of date in {REFERENCE}: {}; run `cargo xtask gen`",
            stale.join(", ")
        );
    }
    Ok(())
}

fn generate(out: &Path) -> Result<()> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let args = ["run", "--quiet", "--locked", "-p", "ems", "--", "gen"];
    shell::run(shell::command("cargo", args).arg("--out").arg(out))
}

/// The names of files that are not the same in both directories.
fn differing(committed: &Path, fresh: &Path) -> Result<Vec<String>> {
    let mut names = names(committed)?;
    names.extend(self::names(fresh)?);
    let mut differing = Vec::new();
    for name in names {
        let same = match (fs::read(committed.join(&name)), fs::read(fresh.join(&name))) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        };
        if !same {
            differing.push(name);
        }
    }
    Ok(differing)
}

fn names(dir: &Path) -> Result<BTreeSet<String>> {
    if !dir.exists() {
        return Ok(BTreeSet::new());
    }
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_changed_what_is_missing_and_what_is_left_over() {
        let committed = tempfile::tempdir().unwrap();
        let fresh = tempfile::tempdir().unwrap();
        for (dir, name, text) in [
            (&committed, "same.md", "one"),
            (&fresh, "same.md", "one"),
            (&committed, "changed.md", "old"),
            (&fresh, "changed.md", "new"),
            (&committed, "left.md", ""),
            (&fresh, "missing.md", ""),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let differing = differing(committed.path(), fresh.path()).unwrap();
        assert_eq!(differing, ["changed.md", "left.md", "missing.md"]);
    }

    #[test]
    fn a_directory_that_is_not_there_yet_holds_no_page() {
        let fresh = tempfile::tempdir().unwrap();
        fs::write(fresh.path().join("a.md"), "").unwrap();
        let absent = fresh.path().join("absent");
        assert_eq!(differing(&absent, fresh.path()).unwrap(), ["a.md"]);
    }
}
