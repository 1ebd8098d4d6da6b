//! An instance of the release binary in a directory of its own, for the steps that run the product.
//!
//! Everything goes through the command line, as a user would do it, and the server is ended by its
//! own process id whatever happens to the step.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::shell;

/// Name of the instance's administrator.
pub(crate) const ADMIN: &str = "admin";

/// Longest wait for a server to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// The release binary with these arguments; [`Instance::init`] builds it.
pub(crate) fn ems(args: &[&str]) -> Command {
    shell::command(shell::release_binary(), args)
}

/// A fresh instance; its directory is removed with it.
pub(crate) struct Instance {
    dir: TempDir,
    password: String,
}

impl Instance {
    /// Builds the release binary and makes a fresh instance with it.
    pub(crate) fn init() -> Result<Self> {
        shell::cargo(&["build", "--release", "--locked", "-p", "ems"])?;
        let dir = TempDir::new().context("cannot make a temporary directory")?;
        let instance = Self {
            password: random_password()?,
            dir,
        };
        let file = instance.secret("admin-password", &instance.password)?;
        let mut init = ems(&["init", "--admin", ADMIN]);
        init.arg("--dir").arg(instance.home());
        shell::run(init.arg("--admin-password-file").arg(file))?;
        Ok(instance)
    }

    /// A directory for the step's own files.
    pub(crate) fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// The settings file.
    pub(crate) fn config(&self) -> PathBuf {
        self.home().join("ems.toml")
    }

    /// The certificate authority to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.home().join("tls").join("ca.pem")
    }

    /// The administrator's password.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// Writes a secret to a file that only we may read.
    pub(crate) fn secret(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.scratch().join(name);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        file.write_all(text.as_bytes())?;
        Ok(path)
    }

    /// Starts the server on a free port of loopback, with `settings` as environment variables, and
    /// returns once it takes connections.
    pub(crate) fn serve(&self, settings: &[(&str, &str)]) -> Result<Server> {
        let address = free_address()?;
        let mut serve = ems(&["serve", "--config"]);
        serve
            .arg(self.config())
            .args(["--listen", &address.to_string()]);
        serve.env("EMS_SERVER__METRICS_LISTEN", "");
        let child = serve
            .envs(settings.iter().copied())
            .spawn()
            .context("the server could not be started")?;
        let mut server = Server { child, address };
        server.wait_until_it_answers()?;
        Ok(server)
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("instance")
    }
}

/// A running server; dropping it ends the process.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Where it answers.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Sends SIGTERM and waits for the end; fails if it takes too long or is not exit code 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.context("the server has no process id")?;
        kill_process(pid, Signal::TERM).context("SIGTERM could not be sent")?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended with {status} after SIGTERM"),
                None => std::thread::sleep(PAUSE),
            }
        }
        bail!("the server still ran {PATIENCE:?} after SIGTERM")
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                bail!("the server ended with {status} before it took a connection");
            }
            if TcpStream::connect_timeout(&self.address, PAUSE).is_ok() {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        bail!("the server took no connection within {PATIENCE:?}")
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("the server is lost")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended after `stop`, and then neither call does anything.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}

/// 128 bits from the kernel, in hexadecimal.
fn random_password() -> Result<String> {
    let mut bytes = [0_u8; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// Writes a file that holds no secret.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
