//! The real binary on a fresh instance, and the bare handler beside it.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    client::{Target, get},
    process::Process,
};

const PASSWORD: &str = "a password of the bench";
/// How long a start, or work in the background, may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Variables of a server beside those that all have.
pub type Settings = Vec<(&'static str, String)>;

/// An instance with its server running.
pub struct Instance {
    dir: tempfile::TempDir,
    settings: Settings,
    pub server: Process,
    pub target: Target,
}

fn ems() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ems"));
    for name in ["KEY", "ADDRESS", "USER"] {
        command.env(format!("EMS_LIMITS__{name}_PER_HOUR"), "0");
    }
    command
        .env("EMS_READINGS__NEW_METERS_PER_HOUR", "0")
        .env("EMS_AUTH__ACCESS_TTL", "12h")
        .env("EMS_SERVER__METRICS_LISTEN", "")
        .stdin(Stdio::null());
    command
}

impl Instance {
    /// Makes an instance on the embedded store and starts its server.
    pub async fn start() -> Result<Self> {
        Self::start_on(&[]).await
    }

    /// As [`Self::start`], with other settings.
    pub async fn start_with(settings: Settings) -> Result<Self> {
        Self::made(&[], settings).await
    }

    /// Makes an instance, told where its store is to be, and starts its server.
    pub async fn start_on(store: &[&std::ffi::OsStr]) -> Result<Self> {
        Self::made(store, Settings::new()).await
    }

    async fn made(store: &[&std::ffi::OsStr], settings: Settings) -> Result<Self> {
        let dir = temporary()?;
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
            .arg(&home)
            .args(store);
        if !init.stdout(Stdio::null()).status()?.success() {
            bail!("ems init failed");
        }
        let target = Target {
            address: free_address()?,
            ca: Some(home.join("tls/ca.pem")),
        };
        let instance = Self {
            dir,
            server: serve(&home, target.address, &settings)?,
            settings,
            target,
        };
        instance.ready().await?;
        Ok(instance)
    }

    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Waits until it is ready; returns how long that took.
    async fn ready(&self) -> Result<Duration> {
        let start = Instant::now();
        loop {
            if let Ok(mut connection) = self.target.connect().await
                && let Ok(answer) = connection.exchange(&get("/ready", "")).await
                && answer.status == 200
            {
                return Ok(start.elapsed());
            }
            if start.elapsed() > PATIENCE {
                bail!("the server does not answer");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// An access token.
    pub async fn token(&self) -> Result<Arc<str>> {
        let body = format!(r#"{{"username":"bench","password":"{PASSWORD}"}}"#);
        let mut connection = self.target.connect().await?;
        let head = format!(
            "POST /api/v1/auth/token HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = connection.exchange(head.as_bytes()).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.body)?;
        Ok(answer["access_token"].as_str().context("no token")?.into())
    }

    /// Kills the server without warning and starts it again; returns how long it took to be ready.
    pub async fn kill_and_restart(&mut self) -> Result<Duration> {
        self.server.kill()?;
        self.serve().await
    }

    /// Ends the server in order, so that everything is folded, and starts it again.
    pub async fn restart(&mut self) -> Result<Duration> {
        self.server.terminate()?;
        self.serve().await
    }

    async fn serve(&mut self) -> Result<Duration> {
        self.server = serve(&self.home(), self.target.address, &self.settings)?;
        self.ready().await
    }

    /// Waits until the server has no work left in the background.
    pub async fn settle(&self) -> Result<()> {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut before = self.server.cpu()?;
        while start.elapsed() < PATIENCE {
            tokio::time::sleep(second).await;
            let now = self.server.cpu()?;
            if now.saturating_sub(before) < second / 20 {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Runs `ems verify` on the stopped store; returns its report and how long it took.
    pub fn verify(&self) -> Result<(serde_json::Value, Duration)> {
        let mut command = ems();
        command.args(["verify", "--json", "--config"]);
        let begin = Instant::now();
        let output = command.arg(self.home().join("ems.toml")).output()?;
        if !output.status.success() {
            bail!("verify: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok((serde_json::from_slice(&output.stdout)?, begin.elapsed()))
    }

    /// Allocated bytes of a folder of the instance.
    pub fn allocated(&self, folder: &str) -> Result<u64> {
        use std::os::unix::fs::MetadataExt as _;
        let files = std::fs::read_dir(self.home().join(folder))?;
        files.map(|file| Ok(file?.metadata()?.blocks() * 512)).sum()
    }
}

/// A bare handler in a process of its own.
pub struct Baseline {
    pub process: Process,
    pub target: Target,
}

impl Baseline {
    /// Starts one that answers with `size` bytes, under the certificate of an instance.
    pub fn start(home: &Path, size: usize) -> Result<Self> {
        let tls = home.join("tls");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("baseline")
            .arg(tls.join("server.pem"))
            .arg(tls.join("server.key"))
            .arg(size.to_string())
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let mut line = String::new();
        BufReader::new(process.stdout()?).read_line(&mut line)?;
        let target = Target {
            address: line.trim().parse()?,
            ca: Some(tls.join("ca.pem")),
        };
        Ok(Self { process, target })
    }
}

fn serve(home: &Path, address: SocketAddr, settings: &Settings) -> Result<Process> {
    let mut command = ems();
    command.envs(settings.iter().cloned());
    command
        .arg("serve")
        .arg("--config")
        .arg(home.join("ems.toml"))
        .args(["--listen", &address.to_string()]);
    Process::quiet(&mut command)
}

/// A free port on loopback.
pub fn free_address() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A folder beside the build's own output: on the same disk as the project.
pub fn temporary() -> Result<tempfile::TempDir> {
    let binary = Path::new(env!("CARGO_BIN_EXE_ems"));
    let beside = binary
        .parent()
        .map_or_else(std::env::temp_dir, Path::to_owned);
    Ok(tempfile::Builder::new()
        .prefix("ems-bench")
        .tempdir_in(beside)?)
}
