//! A real Redis on a free port of the loopback interface, set up as `deploy/redis` tells operators to or
//! plainly, that a test can kill, pause, empty, fill and reach through a [proxy](Proxy) that is slow or
//! broken.
//!
//! The server is Debian's. The kit speaks to it through its Unix socket, past every proxy. Whatever
//! fails here fails the test, so the methods panic.

mod monitor;
mod process;
mod proxy;
#[cfg(test)]
mod tests;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisError, Value,
};
use anyhow::{Context as _, Result, bail};
use data_encoding::HEXLOWER;
use ems_crypto::{certificate, hash::sha256, random};
use tempfile::TempDir;

pub use monitor::Monitor;
use process::Process;
pub use proxy::Proxy;

use crate::{
    attempt::{or_panic, until},
    clock::today,
    port::free_port,
    secret_file,
};

/// How long it may take to answer.
const LONGEST: Duration = Duration::from_mins(1);
/// What operators are given.
const CONF: &str = include_str!("../../../deploy/redis/redis.conf");
const USERS: &str = include_str!("../../../deploy/redis/users.acl");

/// A server that runs until it is killed or dropped.
#[derive(Debug)]
pub struct Redis {
    /// First: it ends before its directory goes.
    process: Process,
    port: u16,
    /// Passwords of `ems` and of `admin`; without, anybody may do anything.
    users: Option<(String, String)>,
    place: TempDir,
}

impl Redis {
    /// Starts one without TLS or users.
    ///
    /// # Panics
    /// Where that fails; without a server: `run cargo xtask setup`.
    pub async fn start() -> Self {
        or_panic(Self::try_start(false).await.context("Redis did not start"))
    }

    /// Starts one by the files of `deploy/redis`: TLS alone, and users who may do what they need.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_as_deployed() -> Self {
        or_panic(Self::try_start(true).await.context("Redis did not start"))
    }

    async fn try_start(deployed: bool) -> Result<Self> {
        let place = tempfile::tempdir()?;
        let (dir, port) = (place.path(), free_port()?);
        let users = deployed.then(|| (random::base62(24), random::base62(24)));
        let config = match &users {
            Some(users) => deployed_config(dir, port, users)?,
            None => format!("port {port}\nbind 127.0.0.1\nsave \"\"\n"),
        };
        let own = format!(
            "{config}\ndir {place}\nunixsocket {place}/socket\ndaemonize no\nlogfile {place}/log\n\
             enable-debug-command yes\n",
            place = dir.display()
        );
        let config = secret_file(&dir.join("redis.conf"), &own)?;
        let redis = Self {
            process: Process::start(&config, dir)?,
            port,
            users,
            place,
        };
        redis.listens().await?;
        Ok(redis)
    }

    /// Where the service reaches it.
    pub fn url(&self) -> String {
        self.url_at(self.address())
    }

    /// Where the service reaches it through something in between.
    pub fn url_at(&self, address: SocketAddr) -> String {
        match &self.users {
            Some((ems, _)) => format!("rediss://ems:{ems}@{address}/"),
            None => format!("redis://{address}/"),
        }
    }

    /// The password of the service, where it needs one.
    pub fn password(&self) -> &str {
        self.users.as_ref().map_or("", |(ems, _)| ems)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// The file of the authority that signed its certificate, where it was started as deployed.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.users
            .as_ref()
            .map(|_| self.place.path().join("ca.pem"))
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.place.path()
    }

    /// Puts something in between that can be slow or broken.
    pub async fn proxy(&self) -> Proxy {
        or_panic(Proxy::start(self.address()).await)
    }

    /// Ends it as a crash would: SIGKILL, paused or not.
    pub fn kill(&self) {
        or_panic(self.process.kill());
    }

    /// Starts it on its port with what it had saved, killing it first where it runs.
    pub async fn restart(&self) {
        or_panic(self.try_restart().await);
    }

    async fn try_restart(&self) -> Result<()> {
        self.process.kill()?;
        self.process.spawn()?;
        self.listens().await
    }

    /// Stops it where it stands: connections stay open and nothing answers.
    pub fn pause(&self) {
        or_panic(self.process.pause());
    }

    /// Lets it go on.
    pub fn resume(&self) {
        or_panic(self.process.resume());
    }

    /// Removes everything in it.
    pub async fn flush(&self) {
        self.run(&["FLUSHALL"]).await;
    }

    /// A section of what it says of itself.
    pub async fn info(&self, section: &str) -> String {
        self.run(&["INFO", section]).await
    }

    /// The bytes that a key takes, all told.
    pub async fn memory_usage(&self, key: &str) -> u64 {
        let usage = self.run(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).await;
        or_panic(usage.parse().with_context(|| format!("{key}: {usage}")))
    }

    /// Every key that it holds.
    pub async fn keys(&self) -> Vec<String> {
        let keys = self.run(&["KEYS", "*"]).await;
        keys.lines().map(str::to_owned).collect()
    }

    /// Sees every command that comes in, until it is dropped.
    pub async fn monitor(&self) -> Monitor {
        let login = self.users.as_ref().map(|(_, admin)| admin.as_str());
        or_panic(Monitor::start(&self.socket(), login).await)
    }

    /// What the administrator is answered, as text: a list is a line each.
    ///
    /// # Panics
    /// Where it is an error.
    pub async fn run(&self, words: &[&str]) -> String {
        let answered = self.try_run(words).await;
        or_panic(answered.with_context(|| words.join(" ")))
    }

    /// As [`Self::run`].
    ///
    /// # Errors
    /// What it answers as an error.
    pub async fn try_run(&self, words: &[&str]) -> Result<String> {
        let mut info: ConnectionInfo = "redis://localhost".into_connection_info()?;
        info = info.set_addr(ConnectionAddr::Unix(self.socket()));
        if let Some((_, admin)) = &self.users {
            let login = info.redis_settings().clone();
            info = info.set_redis_settings(login.set_username("admin").set_password(admin));
        }
        answer(Client::open(info)?, words).await
    }

    /// What the service is answered, as text.
    ///
    /// # Errors
    /// What it answers as an error.
    pub async fn try_run_as_service(&self, words: &[&str]) -> Result<String> {
        let mut info: ConnectionInfo = "redis://localhost".into_connection_info()?;
        info = info.set_addr(ConnectionAddr::Unix(self.socket()));
        if let Some((ems, _)) = &self.users {
            let login = info.redis_settings().clone();
            info = info.set_redis_settings(login.set_username("ems").set_password(ems));
        }
        answer(Client::open(info)?, words).await
    }

    /// Waits until it answers, if only that it is loading.
    async fn listens(&self) -> Result<()> {
        until("a Redis that answers", async || {
            if self.process.has_ended()? {
                bail!("it ended: {}", self.log());
            }
            let asked = self.try_run(&["PING"]).await;
            let there = match &asked {
                Ok(_) => true,
                Err(error) => code(error) == Some("LOADING"),
            };
            Ok(there.then_some(()))
        })
        .await
    }

    /// What the server logged.
    pub fn log(&self) -> String {
        let log = fs::read(self.place.path().join("log")).unwrap_or_default();
        let said = fs::read(self.place.path().join("said")).unwrap_or_default();
        String::from_utf8_lossy(&[said, log].concat()).into_owned()
    }

    fn socket(&self) -> PathBuf {
        self.place.path().join("socket")
    }
}

/// The configuration of operators, with the places of a test.
fn deployed_config(dir: &Path, port: u16, users: &(String, String)) -> Result<String> {
    let made = certificate::generate(&[], today())?;
    fs::write(dir.join("ca.pem"), &made.ca_certificate)?;
    fs::write(dir.join("server.pem"), &made.certificate)?;
    secret_file(&dir.join("server.key"), &made.key)?;
    let hash = |password: &str| HEXLOWER.encode(&sha256(password.as_bytes()));
    let acl = USERS
        .replace("SHA256_OF_THE_PASSWORD_OF_EMS", &hash(&users.0))
        .replace("SHA256_OF_THE_PASSWORD_OF_ADMIN", &hash(&users.1));
    secret_file(&dir.join("users.acl"), &acl)?;
    let place = dir.display().to_string();
    Ok(CONF
        .replace("tls-port 6379", &format!("tls-port {port}"))
        .replace("/etc/redis/tls/", &format!("{place}/"))
        .replace("/etc/redis/", &format!("{place}/"))
        .replace("/run/redis/redis.sock", &format!("{place}/socket")))
}

async fn answer(client: Client, words: &[&str]) -> Result<String> {
    let patient = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(LONGEST))
        .set_response_timeout(Some(LONGEST));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&patient)
        .await?;
    let (name, rest) = words.split_first().context("no command")?;
    let mut command = ::redis::cmd(name);
    command.arg(rest);
    let value: Value = command.query_async(&mut connection).await?;
    Ok(text(&value))
}

fn code(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<RedisError>()?.code()
}

fn text(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::Okay => "OK".into(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("\n"),
        other => format!("{other:?}"),
    }
}
