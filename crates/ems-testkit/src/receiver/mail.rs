//! A real mail server (aiosmtpd) in a process of its own, with STARTTLS and a login, that tells what
//! it was brought.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{Identity, PATIENCE};

/// Where `cargo xtask setup` puts the package, below the directory of the build.
const PACKAGE: &str = "tools/mail";
const PROGRAM: &str = include_str!("mail.py");

/// The server; killed when dropped.
#[derive(Debug)]
pub struct MailServer {
    child: Child,
    address: SocketAddr,
    mails: Receiver<Value>,
}

impl MailServer {
    /// A server with STARTTLS (which it demands before anything else), or one that has no TLS. The
    /// login is `ems` with `correct horse`.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(identity: &Identity, starttls: bool) -> Result<Self> {
        let own = env::current_exe()?;
        let mut places = own.ancestors().map(|above| above.join(PACKAGE));
        let package: PathBuf = places
            .find(|place| place.join("aiosmtpd").is_dir())
            .context("there is no mail server; run cargo xtask setup")?;
        let mut command = Command::new("python3");
        command.env_clear().env("PYTHONPATH", package);
        command.args(["-c", PROGRAM]);
        command.args([identity.certificate(), identity.key()]);
        let mut child = command
            .arg(if starttls { "starttls" } else { "plain" })
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("its stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let port = lines.next().context("it did not start")??;
        let (sender, mails) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Ok(mail) = serde_json::from_str(&line) {
                    let _ = sender.send(mail);
                }
            }
        });
        Ok(Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port.trim().parse()?)),
            mails,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next mail: `{from, to, tls, user, data}`.
    ///
    /// # Errors
    /// Where none comes.
    pub fn next(&self) -> Result<Value> {
        self.mails.recv_timeout(PATIENCE).context("no mail came")
    }

    /// Whether no other mail has come.
    pub fn is_empty(&self) -> bool {
        self.mails.try_recv().is_err()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
