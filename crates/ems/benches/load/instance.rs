//! The real binary on a fresh instance, and its process.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::client::{Connection, request};

const PASSWORD: &str = "a password of the bench";

/// An instance with its server running.
pub struct Instance {
    dir: tempfile::TempDir,
    child: Child,
    pub address: SocketAddr,
}

fn ems() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ems"));
    for name in ["KEY", "ADDRESS", "USER"] {
        command.env(format!("EMS_LIMITS__{name}_PER_HOUR"), "0");
    }
    command
        .env("EMS_SERVER__METRICS_LISTEN", "")
        .stdin(Stdio::null());
    command
}

impl Instance {
    /// Makes an instance and starts its server.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("ems-bench")
            .tempdir_in(target())?;
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD)?;
        std::fs::set_permissions(
            &password,
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )?;
        let home = dir.path().join("home");
        let mut init = ems();
        init.args(["init", "--admin", "bench", "--admin-password-file"])
            .arg(&password)
            .arg("--dir")
            .arg(&home);
        if !init.stdout(Stdio::null()).status()?.success() {
            bail!("ems init failed");
        }
        let address = free_address()?;
        let child = serve(&home, address)?;
        let instance = Self {
            dir,
            child,
            address,
        };
        instance.ready().await?;
        Ok(instance)
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub fn ca(&self) -> PathBuf {
        self.home().join("tls/ca.pem")
    }

    /// Waits until it answers; returns how long that took.
    pub async fn ready(&self) -> Result<Duration> {
        let start = Instant::now();
        loop {
            if let Ok(mut connection) = Connection::open(self.address, &self.ca()).await
                && let Ok(answer) = connection
                    .exchange(&request("GET", "/health", "", ("", b"")))
                    .await
                && answer.status == 200
            {
                return Ok(start.elapsed());
            }
            if start.elapsed() > Duration::from_mins(1) {
                bail!("the server does not answer");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// An access token.
    pub async fn token(&self) -> Result<String> {
        let body = format!(r#"{{"username":"bench","password":"{PASSWORD}"}}"#);
        let mut connection = Connection::open(self.address, &self.ca()).await?;
        let head = format!(
            "POST /api/v1/auth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = connection.exchange(head.as_bytes()).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        Ok(answer["access_token"]
            .as_str()
            .context("no token")?
            .to_owned())
    }

    /// Kills the server without warning and starts it again; returns how long it took to answer.
    pub async fn kill_and_restart(&mut self) -> Result<Duration> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = serve(&self.home(), self.address)?;
        self.ready().await
    }

    /// Ends the server in order.
    pub fn stop(&mut self) -> Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        if !self.child.wait()?.success() {
            bail!("the server did not end in order");
        }
        Ok(())
    }

    /// Most resident memory so far, in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .context("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    }

    /// Processor time so far, of user and kernel.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(&self.child)
    }

    /// Allocated bytes of `data/`.
    pub fn data_bytes(&self) -> Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let files = std::fs::read_dir(self.home().join("data"))?;
        files.map(|file| Ok(file?.metadata()?.blocks() * 512)).sum()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A bare handler in a process of its own.
pub struct Baseline {
    child: Child,
    pub address: SocketAddr,
}

impl Baseline {
    /// Starts one that answers with `size` bytes.
    pub fn start(home: &Path, size: usize) -> Result<Self> {
        let tls = home.join("tls");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("baseline")
            .arg(tls.join("server.pem"))
            .arg(tls.join("server.key"))
            .arg(size.to_string());
        let mut child = command
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Self {
            child,
            address: line.trim().parse()?,
        })
    }
}

impl Baseline {
    /// Processor time so far, of user and kernel.
    pub fn cpu(&self) -> Result<Duration> {
        cpu(&self.child)
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Processor time of a process: fields 14 and 15 of proc(5)'s `stat`, in hundredths of a second.
fn cpu(child: &Child) -> Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn serve(home: &Path, address: SocketAddr) -> Result<Child> {
    let mut command = ems();
    command
        .arg("serve")
        .arg("--config")
        .arg(home.join("ems.toml"))
        .args(["--listen", &address.to_string()]);
    Ok(command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The build's own folder: on the same disk as the project.
fn target() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_ems"));
    binary
        .parent()
        .map_or_else(std::env::temp_dir, Path::to_owned)
}
