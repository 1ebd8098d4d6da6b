//! Who may name what: cryptography, the database engine, the web framework, the environment, and
//! everything impure each have one home, so that a reader knows where to look.

use super::Finding;
use super::source::Source;
use super::words::has_word;

/// Names that only the files under some paths may use.
struct Home {
    names: &'static [&'static str],
    paths: &'static [&'static str],
    /// Whether tests may use them elsewhere.
    free_in_tests: bool,
    message: &'static str,
}

const HOMES: [Home; 7] = [
    Home {
        names: &[
            "aws_lc_rs",
            "rustls",
            "tokio_rustls",
            "rustls_native_certs",
            "jsonwebtoken",
            "argon2",
            "bcrypt",
            "rcgen",
        ],
        paths: &["crates/ems-crypto/"],
        free_in_tests: false,
        message: "only ems-crypto names cryptography",
    },
    Home {
        names: &["redb"],
        paths: &["crates/ems-store/"],
        free_in_tests: false,
        message: "only ems-store names a database",
    },
    Home {
        names: &["mongodb", "bson"],
        // The test kit starts the real server and looks into it.
        paths: &["crates/ems-store/", "crates/ems-testkit/"],
        free_in_tests: false,
        message: "only ems-store names a database",
    },
    Home {
        names: &["redis"],
        // The test kit starts the real server and looks into it.
        paths: &["crates/ems-store/", "crates/ems-testkit/"],
        free_in_tests: false,
        message: "only ems-store names a database",
    },
    Home {
        names: &["axum", "hyper", "hyper_util"],
        // The bench's bare baseline is what the server is measured against.
        paths: &["crates/ems-server/", "crates/ems/benches/"],
        free_in_tests: false,
        message: "only ems-server names the web framework",
    },
    Home {
        names: &["openidconnect"],
        // The test kit's provider signs by it, since the product does not verify by it.
        paths: &["crates/ems-server/src/sso", "crates/ems-testkit/"],
        free_in_tests: false,
        message: "only the server's sso names the library of single sign-on",
    },
    Home {
        names: &["env::var", "env::var_os", "env::vars", "env::vars_os"],
        // Developer commands and fuzz targets are configured by their caller, and are no part of the
        // product.
        paths: &["crates/ems-server/src/config", "crates/ems-fuzz/", "xtask/"],
        free_in_tests: true,
        message: "only the server's config reads the environment",
    },
];

/// What ems-core must be free of; `async` and `tokio` would bring a runtime, the rest is IO or a
/// clock.
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::net",
    "std::process",
    "SystemTime",
    "time::Instant",
    "Instant::now",
    "tokio",
    "async",
];

/// The places where a name is used outside its home.
pub(super) fn findings(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut name = |(line, code), names: &[&str], uses: fn(&str, &str) -> bool, why| {
        for name in names.iter().filter(|name| uses(code, name)) {
            findings.push(Finding::new(&source.path, line, format!("`{name}`: {why}")));
        }
    };
    for home in &HOMES {
        if home.paths.iter().any(|path| source.path.starts_with(path)) {
            continue;
        }
        for line in source.product() {
            name(line, home.names, uses, home.message);
        }
        if !home.free_in_tests {
            for line in source.tests() {
                name(line, home.names, uses, home.message);
            }
        }
    }
    if source.path.starts_with("crates/ems-core/src/") {
        for line in source.product() {
            let why = "ems-core is pure: no IO, no async, no clock";
            name(line, &IMPURE, has_word, why);
        }
    }
    findings
}

/// Whether the code uses a crate or function of this name: a path through it, or a bare import.
fn uses(code: &str, name: &str) -> bool {
    if name.contains("::") {
        return has_word(code, name);
    }
    let imported = code
        .trim_start()
        .trim_start_matches("pub ")
        .strip_prefix("use ")
        .is_some_and(|what| has_word(what.split("::").next().unwrap_or_default(), name));
    imported || has_word(code, &format!("{name}::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        findings(&Source::new(path, text.to_owned())).len()
    }

    #[test]
    fn cryptography_is_named_by_its_crate_alone() {
        for line in [
            "use aws_lc_rs::aead;",
            "use rustls;",
            "pub use rcgen as certificates;",
            "let x = argon2::Params::new();",
        ] {
            assert_eq!(found("crates/ems-guard/src/a.rs", line), 1, "{line}");
            assert_eq!(found("crates/ems-crypto/src/a.rs", line), 0, "{line}");
        }
        for line in ["verify_bcrypt(key)", "// bcrypt::hash", "let bcrypt = 1;"] {
            assert_eq!(found("crates/ems-guard/src/a.rs", line), 0, "{line}");
        }
    }

    #[test]
    fn the_engine_and_the_framework_have_one_home_each() {
        assert_eq!(
            found("crates/ems-server/src/a.rs", "use redb::Database;"),
            1
        );
        assert_eq!(found("crates/ems-store/src/a.rs", "use redb::Database;"), 0);
        let driver = "let client = mongodb::Client::with_uri_str(uri);";
        assert_eq!(found("crates/ems-server/src/a.rs", driver), 1);
        assert_eq!(found("crates/ems/tests/it/a.rs", driver), 1);
        assert_eq!(found("crates/ems-store/src/a.rs", driver), 0);
        assert_eq!(found("crates/ems-testkit/src/a.rs", driver), 0);
        assert_eq!(found("crates/ems-server/src/a.rs", "use redis::Client;"), 1);
        assert_eq!(found("crates/ems-store/src/a.rs", "redis::cmd(name)"), 0);
        assert_eq!(found("crates/ems-guard/src/a.rs", "use axum::Router;"), 1);
        assert_eq!(found("crates/ems/src/main.rs", "hyper_util::rt::x()"), 1);
        assert_eq!(
            found("crates/ems/benches/load.rs", "hyper_util::rt::x()"),
            0
        );
    }

    #[test]
    fn the_environment_is_read_by_the_config_alone() {
        let line = "let x = std::env::var(name);\n";
        assert_eq!(found("crates/ems/src/main.rs", line), 1);
        assert_eq!(
            found("crates/ems-server/src/config/environment.rs", line),
            0
        );
        let tested = format!("#[cfg(test)]\n{line}");
        assert_eq!(found("crates/ems/src/main.rs", &tested), 0);
    }

    #[test]
    fn the_core_is_pure() {
        for line in [
            "use std::fs;",
            "async fn f() {}",
            "std::net::IpAddr::V4(a)",
            "SystemTime::now()",
        ] {
            assert_eq!(found("crates/ems-core/src/a.rs", line), 1, "{line}");
            assert_eq!(found("crates/ems-store/src/a.rs", line), 0, "{line}");
        }
        assert_eq!(found("crates/ems-core/src/a.rs", "//! No async here."), 0);
    }
}
