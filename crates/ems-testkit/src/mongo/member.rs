//! One member: a process of its own, in a directory of its own.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddrV4},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{net::TcpStream, time::timeout};

use super::{NAME, disk, files::Files, network::Network, stutter::Stutter, tool};
use crate::{
    attempt::{SOON, until},
    port::free_port,
};

/// A member of a replica set; killed when dropped.
#[derive(Debug)]
pub(super) struct Member {
    place: Place,
    data: PathBuf,
    /// Whether it is one of a set.
    in_set: bool,
    process: Arc<Mutex<Option<Process>>>,
    stutter: Mutex<Option<Stutter>>,
}

/// The port of a member that has an address of its own.
const PORT: u16 = 27_017;

/// Where a member is.
#[derive(Debug)]
pub(super) struct Place {
    dir: PathBuf,
    address: SocketAddrV4,
    namespace: Option<String>,
}

impl Place {
    /// On a free port of the loopback interface, or in its part of a network.
    pub(super) fn new(dir: &Path, index: usize, network: Option<&Network>) -> Result<Self> {
        let address = match network {
            Some(network) => SocketAddrV4::new(network.address(index)?, PORT),
            None => SocketAddrV4::new(Ipv4Addr::LOCALHOST, free_port()?),
        };
        Ok(Self {
            dir: dir.join(index.to_string()),
            address,
            namespace: network.map(|network| network.namespace(index)),
        })
    }
}

/// The process of a member.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    paused: bool,
}

impl Process {
    /// Sends it a signal, unless the test has it paused.
    pub(super) fn signal(&mut self, signal: Signal) -> Result<()> {
        // What has ended may have left its id to another.
        if self.paused || self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let id = i32::try_from(self.child.id())?;
        kill_process(Pid::from_raw(id).context("its process id")?, signal)?;
        Ok(())
    }
}

impl Member {
    /// Starts one on a new disk.
    pub(super) fn start(place: Place, files: &Files) -> Result<Self> {
        Self::start_as(place, files, true)
    }

    /// Starts a server that is no member of anything.
    pub(super) fn start_alone(place: Place, files: &Files) -> Result<Self> {
        Self::start_as(place, files, false)
    }

    fn start_as(place: Place, files: &Files, in_set: bool) -> Result<Self> {
        let data = disk::of(&place.dir).join("data");
        fs::create_dir_all(&data)?;
        let member = Self {
            place,
            data,
            in_set,
            process: Arc::default(),
            stutter: Mutex::new(None),
        };
        member.spawn(files)?;
        Ok(member)
    }

    /// Starts its process, on the data that is there.
    pub(super) fn spawn(&self, files: &Files) -> Result<()> {
        let said = File::create(self.place.dir.join("said"))?;
        let mut command = self.command(files.server());
        command
            .arg(format!("--bind_ip=127.0.0.1,{}", self.place.address.ip()))
            .args(["--nounixsocket", "--port"])
            .arg(self.place.address.port().to_string())
            .args(["--noscripting", "--auth"])
            .args(["--wiredTigerCacheSizeGB", "0.25", "--dbpath"])
            .arg(&self.data)
            .args(["--logappend", "--logpath"])
            .arg(self.log_file())
            .arg("--keyFile")
            .arg(files.cluster_key())
            .args(["--tlsMode", files.tls_mode(), "--tlsCAFile"])
            .arg(files.ca())
            .args(["--tlsAllowConnectionsWithoutCertificates"])
            .arg("--tlsCertificateKeyFile")
            .arg(files.certificate());
        if self.in_set {
            command.args(["--replSet", NAME]);
        }
        for parameter in [
            "authenticationMechanisms=SCRAM-SHA-256",
            "diagnosticDataCollectionEnabled=false",
            // Nobody reads what was there minutes ago, and as long as somebody could, what is removed
            // takes its room.
            "minSnapshotHistoryWindowInSeconds=5",
            "transactionLifetimeLimitSeconds=10",
            // The certificate is for servers alone; members know one another by the shared key.
            "tlsWithholdClientCertificate=true",
        ] {
            command.args(["--setParameter", parameter]);
        }
        // Where it aborts, its core is left among its files.
        command.current_dir(&self.place.dir).stdin(Stdio::null());
        command.stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().context("MongoDB cannot be run")?;
        *self.process.lock() = Some(Process {
            child,
            paused: false,
        });
        Ok(())
    }

    /// A program that sees none of the environment that the tests run in.
    fn command(&self, program: &Path) -> Command {
        let Some(namespace) = &self.place.namespace else {
            let mut command = Command::new(program);
            command.env_clear();
            return command;
        };
        let mut command = tool::command("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }

    /// Waits until it takes connections.
    pub(super) async fn listens(&self) -> Result<()> {
        until("a member that listens", async || {
            if self.has_ended()? {
                bail!("MongoDB ended: {}{}", self.said(), self.log()?);
            }
            let connected = timeout(SOON, TcpStream::connect(self.place.address)).await;
            Ok(connected.ok().and_then(Result::ok).map(drop))
        })
        .await
    }

    /// Whether its process is no more.
    pub(super) fn has_ended(&self) -> Result<bool> {
        match self.process.lock().as_mut() {
            Some(process) => Ok(process.child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// Whether it is there and not paused.
    pub(super) fn runs(&self) -> Result<bool> {
        let paused = self.process.lock().as_ref().map(|process| process.paused);
        Ok(paused == Some(false) && !self.has_ended()?)
    }

    /// SIGKILL, and waits for its end.
    pub(super) fn kill(&self) -> Result<()> {
        let Some(mut process) = self.process.lock().take() else {
            return Ok(());
        };
        process.child.kill()?;
        process.child.wait()?;
        Ok(())
    }

    /// SIGSTOP.
    pub(super) fn pause(&self) -> Result<()> {
        let mut process = self.process.lock();
        let process = process.as_mut().context("the member was killed")?;
        process.signal(Signal::STOP)?;
        process.paused = true;
        Ok(())
    }

    /// SIGCONT.
    pub(super) fn resume(&self) -> Result<()> {
        let mut process = self.process.lock();
        let process = process.as_mut().context("the member was killed")?;
        process.paused = false;
        process.signal(Signal::CONT)
    }

    /// Has it, and whatever is started in its place, stand still for some time again and again.
    pub(super) fn stutter(&self, still: Duration) {
        let process = Arc::clone(&self.process);
        *self.stutter.lock() = Some(Stutter::start(process, still));
    }

    /// Has it run without a break again.
    pub(super) fn run_smoothly(&self) {
        *self.stutter.lock() = None;
    }

    /// What the server logged.
    pub(super) fn log(&self) -> Result<String> {
        match fs::read(self.log_file()) {
            Ok(log) => Ok(String::from_utf8_lossy(&log).into_owned()),
            Err(error) => Err(error).context("the server logged nothing"),
        }
    }

    fn log_file(&self) -> PathBuf {
        self.place.dir.join("log")
    }

    /// What it printed before it had a log.
    fn said(&self) -> String {
        fs::read_to_string(self.place.dir.join("said")).unwrap_or_default()
    }

    /// Where its data is.
    pub(super) fn data_dir(&self) -> &Path {
        &self.data
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddrV4 {
        self.place.address
    }

    /// Its name in the set.
    pub(super) fn host(&self) -> String {
        self.place.address.to_string()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Nothing is lost: it is to end, and its directory goes with it.
        let _ = self.kill();
    }
}
