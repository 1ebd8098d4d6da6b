//! Other stores of readings beside ours in the same run, where they are installed: over plain HTTP,
//! without credentials, and durable some time after they answer.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    batches::{SENDERS, told},
    body::{Form, Shape},
    client::{Target, request},
    instance::{free_address, temporary},
    load::{load, mebibytes, print},
    loads::Wanted,
    process::Process,
};

/// Where Debian's packages put their programs.
const VICTORIAMETRICS: &str = "/usr/bin/victoria-metrics";
const INFLUXDB: &str = "/usr/bin/influxd";

/// A peer that runs.
struct Peer {
    name: &'static str,
    process: Process,
    target: Target,
    /// Its data, which go when it goes.
    _dir: tempfile::TempDir,
}

/// Gives each peer the same batches.
pub async fn run(wanted: &Wanted) -> Result<()> {
    for (name, program) in [("victoriametrics", VICTORIAMETRICS), ("influxdb", INFLUXDB)] {
        if !Path::new(program).exists() {
            eprintln!("peer_{name} not_installed");
            continue;
        }
        let mut peer = Peer::start(name)?;
        peer.ready().await?;
        peer.batches(wanted).await?;
    }
    Ok(())
}

impl Peer {
    fn start(name: &'static str) -> Result<Self> {
        let (dir, address) = (temporary()?, free_address()?);
        let path = dir.path();
        let mut command = if name == "influxdb" {
            let config = influxdb(path, &address.to_string(), &free_address()?.to_string());
            std::fs::write(path.join("influxdb.conf"), config)?;
            let mut command = Command::new(INFLUXDB);
            command.arg("-config").arg(path.join("influxdb.conf"));
            command
        } else {
            let mut command = Command::new(VICTORIAMETRICS);
            command
                .arg(format!("-storageDataPath={}", path.display()))
                .arg(format!("-httpListenAddr={address}"))
                .arg("-retentionPeriod=100y");
            command
        };
        Ok(Self {
            name,
            process: Process::quiet(&mut command)?,
            target: Target { address, ca: None },
            _dir: dir,
        })
    }

    /// Waits until it answers, and makes the database that needs making.
    async fn ready(&mut self) -> Result<()> {
        let make = request(
            "POST",
            "/query?q=CREATE+DATABASE+bench",
            "",
            ("text/plain", b""),
        );
        let health = request("GET", "/ping", "", ("text/plain", b""));
        let ask = if self.name == "influxdb" {
            make
        } else {
            health
        };
        let start = Instant::now();
        loop {
            if let Ok(mut connection) = self.target.connect().await
                && let Ok(answer) = connection.exchange(&ask).await
                && answer.status < 300
            {
                return Ok(());
            }
            if self.process.has_ended()? || start.elapsed() > Duration::from_mins(1) {
                bail!("{} does not answer", self.name);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn batches(&self, wanted: &Wanted) -> Result<()> {
        for (form, what) in [(Form::Line, ""), (Form::LineOfEnergy, "_energy_only")] {
            for meters in [100, 10_000] {
                let shape = Shape {
                    form,
                    prefix: format!("m{meters}{what}-"),
                    meters,
                    all: meters,
                };
                let source = shape.source("", 0)?;
                let before = self.process.cpu()?;
                let done = load(&self.target, SENDERS, wanted.until(), &source).await?;
                let name = format!("peer_{}_batch_{meters}_meters{what}", self.name);
                told(&name, &done, self.process.cpu_since(before)?);
            }
        }
        let memory = mebibytes(self.process.peak_memory()?);
        print(&format!("peer_{}_memory", self.name), memory, "MiB");
        Ok(())
    }
}

/// A configuration that differs from the packaged one in places, ports and a bound on bodies alone.
fn influxdb(dir: &Path, http: &str, rpc: &str) -> String {
    let dir = dir.display();
    format!(
        r#"reporting-disabled = true
bind-address = "{rpc}"
[meta]
  dir = "{dir}/meta"
[data]
  dir = "{dir}/data"
  wal-dir = "{dir}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "{http}"
  log-enabled = false
"#
    )
}
