//! Receivers of alerts and logs, over TLS on a port of their own, that fail as a test asks: they
//! reset, stop reading, answer with an error, go away and come back.
//!
//! They are strict, and read by the standards' words alone, not by the code that writes.

mod http;
mod mail;
mod syslog;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
use ems_crypto::{
    certificate,
    tls::{ServerIdentity, TlsServer},
};
use tokio::{net::TcpListener, sync::watch, time::timeout};

pub use self::{
    http::{Answered, HttpReceiver, Received},
    mail::MailServer,
    syslog::{Behaviour, SyslogMessage, SyslogReceiver},
};
use crate::{clock::today, secret_file};

/// How long a test waits for what is to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// A receiver's certificate, its key, and the authority that its clients trust.
#[derive(Debug, Clone)]
pub struct Identity {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl Identity {
    /// One for `localhost` and the loopback addresses, in files of a directory.
    ///
    /// # Errors
    /// Where they cannot be made or written.
    pub fn new(dir: &Path) -> Result<Self> {
        let made = certificate::generate(&[], today())?;
        let identity = Self {
            ca: dir.join("receiver.ca.pem"),
            certificate: dir.join("receiver.cert.pem"),
            key: secret_file(&dir.join("receiver.key.pem"), &made.key)?,
        };
        fs::write(&identity.ca, &made.ca_certificate)?;
        fs::write(&identity.certificate, &made.certificate)?;
        Ok(identity)
    }

    /// The authority, PEM.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// The certificate, PEM.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// The key, PEM.
    pub fn key(&self) -> &Path {
        &self.key
    }

    fn server(&self) -> Result<TlsServer> {
        let identity = ServerIdentity::load(&self.certificate, &self.key)?;
        Ok(TlsServer::speaking(identity, &["http/1.1"])?)
    }
}

async fn listen(at: Option<SocketAddr>) -> Result<(TcpListener, SocketAddr)> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(at.unwrap_or(any)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Waits until a count has come to `least`.
async fn come(count: &watch::Sender<usize>, least: usize) -> bool {
    let mut count = count.subscribe();
    let coming = count.wait_for(|count| *count >= least);
    matches!(timeout(PATIENCE, coming).await, Ok(Ok(_)))
}
