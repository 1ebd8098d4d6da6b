//! What no file of the repository may hold: a path of one machine, or the address of a package
//! registry. Either would tie the project to where it happened to be built.

use super::Finding;

/// Homes and work trees; put together, so that this file holds none.
const MACHINE_PATHS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
];

/// Parts of a host's name that say it serves packages.
const REGISTRIES: [&str; 7] = [
    "crates",
    "pypi",
    "pythonhosted",
    "npmjs",
    "artifactory",
    "nexus",
    "mirror",
];

/// Files that say where each package came from, by design.
const LOCKS: [&str; 2] = ["Cargo.lock", "package-lock.json"];

/// The places with a machine's path or a registry's host.
pub(super) fn findings(path: &str, text: &str) -> Vec<Finding> {
    if LOCKS.iter().any(|name| path.ends_with(name)) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(found) = MACHINE_PATHS
            .iter()
            .find(|start| begins_a_path(text, start))
        {
            let message = format!("`{found}`: a path of one machine");
            findings.push(Finding::new(path, line, message));
        }
        if let Some(host) = hosts(text).find(|host| is_registry(host)) {
            let message = format!("`{host}`: the host of a package registry");
            findings.push(Finding::new(path, line, message));
        }
    }
    findings
}

/// Whether a path begins with `start` here; `a/work/b` goes on rather than begins.
fn begins_a_path(text: &str, start: &str) -> bool {
    text.match_indices(start).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}".contains(c))
    })
}

/// The hosts of the web addresses in a line.
fn hosts(text: &str) -> impl Iterator<Item = &str> {
    text.split("://").skip(1).filter_map(|rest| {
        let in_host = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
        rest.split(|c| !in_host(c)).next()
    })
}

fn is_registry(host: &str) -> bool {
    host.split(['.', '-'])
        .any(|label| REGISTRIES.contains(&label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        findings("docs/a.md", text).len()
    }

    #[test]
    fn a_path_of_one_machine_is_named() {
        for start in MACHINE_PATHS {
            assert_eq!(found(&format!("cd {start}project")), 1);
            assert_eq!(found(&format!("see docs{start}project")), 0);
        }
    }

    #[test]
    fn a_registry_is_named_and_other_hosts_are_not() {
        assert_eq!(found(concat!("from https://py", "pi.example/simple")), 1);
        assert_eq!(found(concat!("http://static.cra", "tes.example:8080/x")), 1);
        assert_eq!(found("https://127.0.0.1:8000/api/v1/data"), 0);
        assert_eq!(found("published on crates and on npm"), 0);
    }

    #[test]
    fn a_lock_file_names_its_source() {
        let line = concat!("registry+https://index.cra", "tes.example");
        assert_eq!(findings("Cargo.lock", line), []);
    }
}
