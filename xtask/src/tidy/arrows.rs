//! The arrows between our crates go one way, and what a crate may name from outside is settled:
//! read from `cargo metadata`, so that a manifest cannot say otherwise.

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use super::Finding;
use crate::shell;

/// A crate of ours, and which of ours it may use.
const ARROWS: [(&str, &[&str]); 10] = [
    ("ems-core", &[]),
    ("ems-crypto", &[]),
    ("ems-fuzz", &[]),
    ("ems-store", &["ems-core", "ems-crypto"]),
    ("ems-guard", &["ems-core", "ems-crypto", "ems-store"]),
    ("ems-api", &["ems-core"]),
    (
        "ems-server",
        &[
            "ems-core",
            "ems-crypto",
            "ems-store",
            "ems-guard",
            "ems-api",
        ],
    ),
    ("ems", &["ems-api", "ems-server"]),
    (
        "ems-testkit",
        &["ems-api", "ems-core", "ems-crypto", "ems-server"],
    ),
    ("xtask", &[]),
];

/// A dependency of a crate, as its manifest says.
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    /// Only for tests and benches.
    dev: bool,
    /// Only with a feature.
    optional: bool,
}

/// Crates from outside that only some of ours may depend on.
const OUTSIDE: [(&[&str], &[&str]); 5] = [
    (
        &[
            "aws-lc-rs",
            "rustls",
            "tokio-rustls",
            "rustls-native-certs",
            "rustls-pki-types",
            "jsonwebtoken",
            "argon2",
            "bcrypt",
            "rcgen",
        ],
        &["ems-crypto"],
    ),
    (&["redb"], &["ems-store"]),
    // The test kit starts the real server and looks into it.
    (&["mongodb", "bson"], &["ems-store", "ems-testkit"]),
    (&["redis"], &["ems-store", "ems-testkit"]),
    (&["axum", "hyper", "hyper-util"], &["ems-server"]),
];

/// The bench's bare baseline, in `crates/ems/benches`, is built on these.
const BASELINE: [&str; 2] = ["hyper", "hyper-util"];

/// The arrows that point the wrong way.
pub(super) fn findings() -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new()
        .current_dir(shell::root())
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    Ok(edges(&metadata).filter_map(|edge| judge(&edge)).collect())
}

fn edges(metadata: &Metadata) -> impl Iterator<Item = Edge<'_>> {
    metadata.packages.iter().flat_map(|package| {
        package.dependencies.iter().map(|dependency| Edge {
            from: package.name.as_str(),
            to: dependency.name.as_str(),
            dev: dependency.kind == DependencyKind::Development,
            optional: dependency.optional,
        })
    })
}

fn judge(edge: &Edge<'_>) -> Option<Finding> {
    let allowed = if edge.to == "ems" || edge.to.starts_with("ems-") {
        is_our_arrow(edge)
    } else {
        is_at_home(edge)
    };
    (!allowed).then(|| {
        let message = format!("must not depend on {}", edge.to);
        Finding::new(edge.from, 0, message)
    })
}

fn is_our_arrow(edge: &Edge<'_>) -> bool {
    // The binary's tests and benches start whole servers, forge tokens and speak TLS by hand; the
    // store's are held against a real database.
    let tests = edge.dev && edge.from == "ems"
        || edge.dev && edge.from == "ems-store" && edge.to == "ems-testkit";
    // No part of the product.
    let fuzz = edge.to == "ems-fuzz" && (edge.dev || edge.optional);
    tests
        || fuzz
        || ARROWS
            .iter()
            .any(|(from, to)| *from == edge.from && to.contains(&edge.to))
}

fn is_at_home(edge: &Edge<'_>) -> bool {
    let baseline = edge.dev && edge.from == "ems" && BASELINE.contains(&edge.to);
    baseline
        || OUTSIDE
            .iter()
            .filter(|(names, _)| names.contains(&edge.to))
            .all(|(_, homes)| homes.contains(&edge.from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(from: &str, to: &str, dev: bool) -> bool {
        let optional = false;
        judge(&Edge {
            from,
            to,
            dev,
            optional,
        })
        .is_none()
    }

    #[test]
    fn an_arrow_against_the_map_is_named() {
        assert!(allowed("ems-store", "ems-core", false));
        assert!(allowed("ems-server", "ems-guard", false));
        assert!(!allowed("ems-core", "ems-crypto", false));
        assert!(!allowed("ems-guard", "ems-server", false));
        assert!(!allowed("ems", "ems-store", false));
        assert!(!allowed("xtask", "ems-core", false));
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_may_use_none_of_ours() {
        assert!(!allowed("ems-new", "ems-core", false));
    }

    #[test]
    fn the_test_kit_is_for_the_tests_of_the_binary_and_the_store() {
        assert!(allowed("ems-store", "ems-testkit", true));
        assert!(!allowed("ems-store", "ems-testkit", false));
        assert!(allowed("ems", "ems-testkit", true));
        assert!(!allowed("ems", "ems-testkit", false));
        assert!(!allowed("ems-server", "ems-testkit", true));
    }

    #[test]
    fn what_targets_of_the_fuzzer_share_is_no_part_of_the_product() {
        let optional = Edge {
            from: "ems-guard",
            to: "ems-fuzz",
            dev: false,
            optional: true,
        };
        assert!(judge(&optional).is_none());
        assert!(allowed("ems-guard", "ems-fuzz", true));
        assert!(!allowed("ems-guard", "ems-fuzz", false));
    }

    #[test]
    fn what_comes_from_outside_stays_at_home() {
        assert!(allowed("ems-crypto", "aws-lc-rs", false));
        assert!(!allowed("ems-guard", "aws-lc-rs", false));
        assert!(!allowed("ems-server", "redb", true));
        assert!(!allowed("ems-server", "mongodb", false));
        assert!(allowed("ems-testkit", "mongodb", false));
        assert!(allowed("ems", "serde", false));
    }

    #[test]
    fn the_baseline_alone_may_be_bare() {
        assert!(allowed("ems", "hyper", true));
        assert!(!allowed("ems", "hyper", false));
        assert!(!allowed("ems", "axum", true));
    }
}
