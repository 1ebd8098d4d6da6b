//! `docs/guide-conformance.md` is worth something only while what it names exists: each test in the
//! last column of a table, and each file that says where a thing is built.

use std::{collections::HashSet, path::Path};

use super::Finding;

/// The page.
const PAGE: &str = "docs/guide-conformance.md";

/// The page's short names of folders.
const FOLDERS: [(&str, &str); 5] = [
    ("S/", "crates/ems-server/src/"),
    ("G/", "crates/ems-guard/src/"),
    ("C/", "crates/ems-crypto/src/"),
    ("D/", "crates/ems-core/src/"),
    ("T/", "crates/ems-store/src/"),
];

/// What there is to be named.
#[derive(Default)]
pub(super) struct Known {
    functions: HashSet<String>,
    files: HashSet<String>,
    page: String,
}

impl Known {
    /// Takes note of a file.
    pub(super) fn add(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned());
        if path == PAGE {
            text.clone_into(&mut self.page);
        } else if Path::new(path).extension().is_some_and(|kind| kind == "rs") {
            let names = text.split("fn ").skip(1).filter_map(|rest| {
                let end = rest.find(|c: char| !is_name(c))?;
                rest.get(..end)
            });
            self.functions.extend(names.map(str::to_owned));
        }
    }

    /// The places of the page that name what there is not.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (line, text) in (1..).zip(self.page.lines()) {
            let mut say = |what: &str, name: &str| {
                let message = format!("`{name}`: there is no such {what}");
                findings.push(Finding::new(PAGE, line, message));
            };
            for name in quoted(text).filter(|name| !self.has_file(name)) {
                say("file", name);
            }
            let last = text.trim_end_matches([' ', '|']).rsplit(" | ").next();
            let tests = quoted(last.unwrap_or_default()).filter(|name| is_sentence(name));
            for name in tests.filter(|name| !self.functions.contains(*name)) {
                say("test", name);
            }
        }
        findings
    }

    /// Whether a name is of a file or folder that exists, or of neither.
    fn has_file(&self, name: &str) -> bool {
        FOLDERS.iter().all(|(short, folder)| {
            let Some(rest) = name.strip_prefix(short) else {
                return true;
            };
            let path = format!("{folder}{rest}");
            if path.ends_with('/') {
                self.files.iter().any(|file| file.starts_with(&path))
            } else {
                self.files.contains(&path)
            }
        })
    }
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether a name has the form of a test's: words enough to say something.
fn is_sentence(name: &str) -> bool {
    name.chars().all(is_name) && name.matches('_').count() >= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_or_file_that_is_not_there_is_named() {
        let mut known = Known::default();
        known.add("crates/ems-core/src/role.rs", "fn refuses_a_reading() {}");
        known.add(
            PAGE,
            "| it | `D/role.rs`, `D/`, `limits.a_b_c` | `refuses_a_reading`, `short_one` |\n\
             | it | `D/rule.rs`, `not_a_test` | `refuses_a_writing` |\n",
        );
        let found: Vec<String> = known.findings().iter().map(ToString::to_string).collect();
        let at = |what: &str| format!("{PAGE}:2: {what}");
        assert_eq!(
            found,
            [
                at("`D/rule.rs`: there is no such file"),
                at("`refuses_a_writing`: there is no such test"),
            ]
        );
    }
}
