//! A syslog receiver over TLS, by the words of RFC 5425 and RFC 5424: whatever is out of place ends
//! the connection, and is kept as a fault.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{Identity, come, http::Resets as _, listen};

/// What it does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Reads, and closes its side once the sender has closed its own.
    Reads,
    /// Resets after so many messages.
    ResetsAfter(usize),
    /// Reads no more after so many messages, and keeps the connection.
    StopsAfter(usize),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogMessage {
    /// Facility times eight, plus the severity.
    pub priority: u8,
    /// The sender's name.
    pub host: String,
    /// `MSGID`.
    pub kind: String,
    /// The parameters of the one element of structured data.
    pub fields: HashMap<String, String>,
    /// The text.
    pub text: String,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    messages: Mutex<Vec<SyslogMessage>>,
    faults: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
    connections: watch::Sender<usize>,
}

/// The receiver; gone when dropped, with all connections reset.
pub struct SyslogReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl SyslogReceiver {
    /// One that reads.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start(identity: &Identity, at: Option<SocketAddr>) -> Result<Self> {
        let (listener, address) = listen(at).await?;
        let acceptor = identity.server()?.acceptor();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour::Reads),
            messages: Mutex::default(),
            faults: Mutex::default(),
            count: watch::Sender::new(0),
            connections: watch::Sender::new(0),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&serving));
                shared.connections.send_modify(|count| *count += 1);
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await
                        && let Err(fault) = read(stream, &shared).await
                    {
                        shared.faults.lock().push(format!("{fault:#}"));
                    }
                });
            }
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Treats connections so from now on; a behaviour other than reading is for one connection.
    pub fn will(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock() = behaviour;
    }

    /// What came until now, in the order of its coming; the same one may have come twice.
    pub fn messages(&self) -> Vec<SyslogMessage> {
        self.shared.messages.lock().clone()
    }

    /// What was against the standards.
    pub fn faults(&self) -> Vec<String> {
        self.shared.faults.lock().clone()
    }

    /// What came once it was so many messages.
    ///
    /// # Panics
    /// Where they do not come.
    pub async fn wait_for(&self, least: usize) -> Vec<SyslogMessage> {
        let come = come(&self.shared.count, least).await;
        let messages = self.messages();
        let faults = self.faults();
        assert!(
            come,
            "{} of {least} messages came: {faults:?}",
            messages.len()
        );
        messages
    }

    /// Waits until it was connected to so many times.
    ///
    /// # Panics
    /// Where it is not.
    pub async fn connected(&self, times: usize) {
        assert!(come(&self.shared.connections, times).await, "no connection");
    }
}

impl Drop for SyslogReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for SyslogReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SyslogReceiver({})", self.address)
    }
}

async fn read(mut stream: ems_crypto::tls::TlsStream<TcpStream>, shared: &Shared) -> Result<()> {
    let behaviour = std::mem::replace(&mut *shared.behaviour.lock(), Behaviour::Reads);
    let mut rest = Vec::new();
    let mut count = 0;
    loop {
        while let Some(frame) = frame(&mut rest)? {
            let message = parse(&frame).with_context(|| frame.clone())?;
            shared.messages.lock().push(message);
            shared.count.send_modify(|count| *count += 1);
            count += 1;
            match behaviour {
                Behaviour::ResetsAfter(most) if count >= most => {
                    stream.reset();
                    return Ok(());
                }
                Behaviour::StopsAfter(most) if count >= most => {
                    std::future::pending::<()>().await;
                }
                _ => {}
            }
        }
        match stream.read_buf(&mut rest).await {
            Ok(0) => {
                ensure!(rest.is_empty(), "a frame that is cut short");
                // The sender's side is closed in order; so is this one.
                return Ok(stream.shutdown().await?);
            }
            Ok(_) => {}
            // The sender went away: nothing of it was promised.
            Err(_) => return Ok(()),
        }
    }
}

/// The next frame (RFC 5425, 4.3): a length without a leading zero, a space, so many bytes.
fn frame(rest: &mut Vec<u8>) -> Result<Option<String>> {
    let Some(space) = rest.iter().take(10).position(|byte| *byte == b' ') else {
        ensure!(rest.len() < 10, "a frame without a length");
        return Ok(None);
    };
    let digits = std::str::from_utf8(rest.get(..space).unwrap_or_default())?;
    ensure!(!digits.starts_with('0'), "a length that begins with zero");
    let length: usize = digits
        .parse()
        .with_context(|| format!("a length: {digits:?}"))?;
    let end = space + 1 + length;
    if rest.len() < end {
        return Ok(None);
    }
    let frame: Vec<u8> = rest.drain(..end).skip(space + 1).collect();
    Ok(Some(String::from_utf8(frame)?))
}

/// A message (RFC 5424, 6).
fn parse(text: &str) -> Result<SyslogMessage> {
    ensure!(!text.chars().any(char::is_control), "a control character");
    let rest = text.strip_prefix('<').context("a priority")?;
    let (priority, rest) = rest.split_once('>').context("a priority")?;
    let rest = rest.strip_prefix("1 ").context("version 1")?;
    let mut parts = rest.splitn(6, ' ');
    let mut next = |what: &'static str| parts.next().filter(|it| !it.is_empty()).context(what);
    ems_core::time::Timestamp::parse(next("a timestamp")?)
        .map_err(|fault| anyhow::anyhow!(fault.detail))?;
    let host = next("a host")?.to_owned();
    let (_app, _process) = (next("an app")?, next("a process")?);
    let kind = next("a kind")?.to_owned();
    let (fields, text) = element(next("structured data")?)?;
    let priority: u8 = priority.parse()?;
    ensure!(priority <= 191, "a priority of at most 191");
    Ok(SyslogMessage {
        priority,
        host,
        kind,
        fields,
        text,
    })
}

/// One element of structured data, and the text behind it.
fn element(data: &str) -> Result<(HashMap<String, String>, String)> {
    let inner = data.strip_prefix('[').context("an element")?;
    let (_, mut rest) = inner.split_once(' ').context("an id and parameters")?;
    let mut fields = HashMap::new();
    loop {
        let (name, value) = rest.split_once("=\"").context("a parameter")?;
        let mut read = String::new();
        let mut characters = value.chars();
        loop {
            match characters.next().context("a value's end")? {
                '"' => break,
                '\\' => read.push(characters.next().context("what is escaped")?),
                ']' => bail!("a bracket within a value"),
                other => read.push(other),
            }
        }
        ensure!(
            fields.insert(name.to_owned(), read).is_none(),
            "{name} twice"
        );
        rest = characters.as_str();
        if let Some(text) = rest.strip_prefix("] ") {
            return Ok((fields, text.to_owned()));
        }
        rest = rest
            .strip_prefix(' ')
            .context("a space between parameters")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_standard_says_and_nothing_else() {
        let message =
            parse(r#"<83>1 2026-01-01T00:00:00Z h ems 7 alert [a@1 x="q\"\]\\" y=""] te xt"#)
                .unwrap();
        assert_eq!(
            (message.priority, &*message.kind, &*message.text),
            (83, "alert", "te xt")
        );
        assert_eq!(message.fields["x"], "q\"]\\");
        for text in [
            "<83>2 2026-01-01T00:00:00Z h ems 7 alert [a@1 x=\"\"] t",
            "<83>1 yesterday h ems 7 alert [a@1 x=\"\"] t",
            "<83>1 2026-01-01T00:00:00Z h ems 7 alert [a@1 x=\"]\"] t",
            "<83>1 2026-01-01T00:00:00Z h ems 7 alert [a@1 x=\"\" x=\"\"] t",
            "<83>1 2026-01-01T00:00:00Z h ems 7 alert [a@1 x=\"\"] t\nu",
            "<999>1 2026-01-01T00:00:00Z h ems 7 alert [a@1 x=\"\"] t",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let mut rest = b"3 abc5 de".to_vec();
        assert_eq!(frame(&mut rest).unwrap(), Some("abc".to_owned()));
        assert_eq!(frame(&mut rest).unwrap(), None);
        assert!(frame(&mut b"03 abc".to_vec()).is_err());
        assert!(frame(&mut b"<13>1 2026-01".to_vec()).is_err());
    }
}
