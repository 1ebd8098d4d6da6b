//! What the members share on disk: the server, their certificate, and the secret by which they know
//! one another.

use std::{
    env, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use ems_crypto::{certificate, random};

use crate::{clock::today, secret_file};

/// Where `cargo xtask setup` puts the server, below the directory of the build.
const SERVER: &str = "tools/mongodb/fiftyone/db/bin/mongod";

/// The files of a replica set.
#[derive(Debug)]
pub(super) struct Files {
    server: PathBuf,
    ca: PathBuf,
    certificate: PathBuf,
    cluster_key: PathBuf,
    /// Whether the members also take connections in clear.
    in_clear: bool,
}

impl Files {
    /// Writes those of a new one, for the loopback interface and `addresses`.
    pub(super) fn write(dir: &Path, addresses: &[Ipv4Addr]) -> Result<Self> {
        let server = server()?;
        let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let made = certificate::generate(&names, today())?;
        let ca = dir.join("ca.pem");
        fs::write(&ca, &made.ca_certificate)?;
        // The server takes its certificate and key from one file.
        let both = format!("{}{}", made.certificate, *made.key);
        Ok(Self {
            server,
            ca,
            certificate: secret_file(&dir.join("server.pem"), &both)?,
            cluster_key: secret_file(&dir.join("cluster.key"), &random::base62(128))?,
            in_clear: false,
        })
    }

    /// Lets the members take connections in clear as well.
    pub(super) fn let_in_clear(&mut self) {
        self.in_clear = true;
    }

    /// How the members take connections.
    pub(super) fn tls_mode(&self) -> &'static str {
        if self.in_clear {
            "preferTLS"
        } else {
            "requireTLS"
        }
    }

    /// The program.
    pub(super) fn server(&self) -> &Path {
        &self.server
    }

    /// The authority that clients trust.
    pub(super) fn ca(&self) -> &Path {
        &self.ca
    }

    /// The members' certificate and its key.
    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The members' secret.
    pub(super) fn cluster_key(&self) -> &Path {
        &self.cluster_key
    }
}

/// The build's directory is some way above the test's own program.
pub(super) fn server() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let mut places = own.ancestors().map(|above| above.join(SERVER));
    places
        .find(|place| place.exists())
        .context("there is no MongoDB server; run cargo xtask setup")
}
