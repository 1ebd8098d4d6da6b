//! One connection to Redis, shared by all asks: what is asked while an answer is under way goes out
//! with it. It is only handed out once it has shown that it does all that will be asked of it.

use std::{io, time::Duration};

use redis::{AsyncConnectionConfig, ErrorKind, RedisError, Value, aio::MultiplexedConnection};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
    time::timeout,
};

use super::{
    address::Address,
    ask::{Ask, Names, Reply},
};
use crate::shared::{Answer, Key, Step, Window};

/// The script that does everything.
const SCRIPT: &str = include_str!("script.lua");
/// The oldest version that is known to do it.
const OLDEST: (u32, u32) = (6, 2);
/// Asks that wait to be written at most; those behind wait for those in front.
const WAITING: usize = 4096;
/// How long the server may take to agree on TLS; one that knows none says nothing.
const HANDSHAKE: Duration = Duration::from_secs(1);
/// What is said where the script does what its caller may not.
const DENIED: [&str; 2] = ["executing the script can't", "ACL failure in script"];
/// How often in a row it has to answer in time before it is taken into use.
const PROBES: u32 = 3;

/// A connection that is logged in and has the script.
pub(super) struct Link {
    connection: MultiplexedConnection,
    digest: String,
    driver: AbortHandle,
}

/// Why Redis cannot be used. No text of it holds a name or a password.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("no TLS with it: {0}")]
    Tls(io::Error),
    #[error("refuses the user or the password")]
    Login,
    #[error("is version {0}; 6.2 is the oldest that will do")]
    Old(String),
    #[error("does not let this user do what is needed; deploy/redis/users.acl has the rules")]
    Denied,
    #[error("closes the connection; does it ask for TLS (rediss://)?")]
    Closed,
    #[error("did not answer in time")]
    Late,
    #[error("answered something else than was asked")]
    Form,
    #[error("answers {0}")]
    Other(String),
}

impl Fault {
    /// Whether it may be over in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Late => true,
            Self::Other(code) => ["LOADING", "BUSY", "MASTERDOWN"].contains(&code.as_str()),
            _ => false,
        }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        let said = error.detail().unwrap_or_default();
        match error.code() {
            Some("NOPERM") => return Self::Denied,
            Some(_) if DENIED.iter().any(|denied| said.contains(denied)) => return Self::Denied,
            Some("WRONGPASS" | "NOAUTH") => return Self::Login,
            Some(code) => return Self::Other(code.to_owned()),
            None => {}
        }
        if error.kind() == ErrorKind::AuthenticationFailed {
            Self::Login
        } else if error.is_connection_dropped() || error.is_io_error() {
            Self::Closed
        } else {
            Self::Form
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Link {
    /// Connects, logs in, and tries everything. On the runtime of the caller, which has to go on.
    pub(super) async fn open(
        address: &Address,
        names: &Names,
        run: &str,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let stream = stream(address).await?;
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING);
        let made = MultiplexedConnection::new_with_config(&address.login, stream, config).await;
        let (mut connection, driver) = made?;
        let driver = tokio::spawn(driver).abort_handle();
        let mut link = Self {
            connection: connection.clone(),
            digest: String::new(),
            driver,
        };
        expect_version(&mut connection).await?;
        link.digest = load(&mut connection).await?;
        for _ in 0..PROBES {
            let probe = link.probe(names, run);
            timeout(patience, probe).await.map_err(|_| Fault::Late)??;
        }
        Ok(link)
    }

    /// Does what is asked, in one round trip; in three where the server lost the script.
    pub(super) async fn run(&self, ask: &Ask, new_run: &str) -> Result<Reply, Fault> {
        let mut connection = self.connection.clone();
        let call = ask.command("EVALSHA", &self.digest, new_run);
        let value = match call.query_async(&mut connection).await {
            Err(error) if is_forgotten(&error) => {
                load(&mut connection).await?;
                call.query_async(&mut connection).await?
            }
            other => other?,
        };
        Reply::read(value).ok_or(Fault::Form)
    }

    /// Does everything that the script can do, on a key of nobody.
    async fn probe(&self, names: &Names, run: &str) -> Result<(), Fault> {
        let key = Key::of_stranger(format!("probe:{run}"));
        let window = Window {
            key: key.clone(),
            limit: 2,
            length_micros: 1_000_000,
        };
        let take = Step::take(window, 1);
        let mark = Step::Mark {
            key: key.clone(),
            for_micros: 1_000_000,
        };
        let look = Step::Look {
            key: key.clone(),
            stop: false,
        };
        let steps = [
            take.clone(),
            take.clone(),
            take,
            mark,
            look,
            Step::Clear { key },
        ];
        let reply = self.run(&Ask::new(names, &steps), run).await?;
        let answers = reply.answers(&steps).ok_or(Fault::Form)?;
        let allowed = |answer: &Answer| matches!(answer, Answer::Taken(taken) if taken.allowed);
        let marked = |answer: &Answer| matches!(answer, Answer::Marked(Some(_)));
        let good = answers.iter().filter(|answer| allowed(answer)).count() == 2
            && answers.iter().any(marked);
        good.then_some(()).ok_or(Fault::Form)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn stream(address: &Address) -> Result<Box<dyn Stream>, Fault> {
    let place = (address.host.as_str(), address.port);
    let stream = TcpStream::connect(place)
        .await
        .map_err(Fault::Unreachable)?;
    stream.set_nodelay(true).map_err(Fault::Unreachable)?;
    let Some(tls) = &address.tls else {
        return Ok(Box::new(stream));
    };
    let name = address.host.clone().try_into();
    let name = name.map_err(|_| Fault::Tls(io::ErrorKind::InvalidInput.into()))?;
    let agreed = timeout(HANDSHAKE, tls.connect(name, stream)).await;
    let agreed = agreed.map_err(|_| Fault::Tls(io::ErrorKind::TimedOut.into()))?;
    let stream = agreed.map_err(Fault::Tls)?;
    Ok(Box::new(stream))
}

fn is_forgotten(error: &RedisError) -> bool {
    error.code() == Some("NOSCRIPT")
}

/// Puts the script there; the digest by which it is called.
async fn load(connection: &mut MultiplexedConnection) -> Result<String, Fault> {
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg(SCRIPT);
    Ok(load.query_async(connection).await?)
}

/// Every user may ask it: `HELLO` is part of logging in.
async fn expect_version(connection: &mut MultiplexedConnection) -> Result<(), Fault> {
    let hello = redis::cmd("HELLO").query_async(connection).await;
    let Value::Array(said) = hello.map_err(|error: RedisError| match error.code() {
        // Before version 6 there was none.
        Some("ERR") => Fault::Old("5 or before".into()),
        _ => error.into(),
    })?
    else {
        return Err(Fault::Form);
    };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let texts: Vec<String> = said.iter().map(text).collect();
    let version = texts.iter().skip_while(|text| *text != "version").nth(1);
    let version = version.ok_or(Fault::Form)?;
    if is_old(version) {
        return Err(Fault::Old(version.clone()));
    }
    Ok(())
}

fn is_old(version: &str) -> bool {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < OLDEST
}
