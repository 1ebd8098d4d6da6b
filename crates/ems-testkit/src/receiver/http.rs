//! An HTTP/1.1 receiver over TLS: keeps each request, and answers as it was told.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{Identity, come, listen};

/// What a request is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// A status.
    Status(u16),
    /// A status and a header field.
    With(u16, &'static str, String),
    /// A status and a JSON body.
    Json(u16, String),
    /// Nothing: the connection is reset.
    Reset,
}

impl Answered {
    fn status(&self) -> u16 {
        match self {
            Self::Status(status) | Self::With(status, ..) | Self::Json(status, _) => *status,
            Self::Reset => 0,
        }
    }
}

/// A request, and the status it was answered with (0 for a reset).
#[derive(Debug, Clone)]
pub struct Received {
    /// The path.
    pub path: String,
    /// The header fields, their names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// What it was answered with.
    pub status: u16,
}

impl Received {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Decides on an answer.
type Judge = dyn Fn(&Received) -> Option<Answered> + Send + Sync;

struct Shared {
    plan: Mutex<VecDeque<Answered>>,
    judge: Box<Judge>,
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
}

/// The receiver; gone when dropped.
pub struct HttpReceiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl HttpReceiver {
    /// One that answers 200, except for what `judge` has another answer to.
    ///
    /// # Errors
    /// Where it cannot listen.
    pub async fn start(
        identity: &Identity,
        at: Option<SocketAddr>,
        judge: impl Fn(&Received) -> Option<Answered> + Send + Sync + 'static,
    ) -> Result<Self> {
        let (listener, address) = listen(at).await?;
        let acceptor = identity.server()?.acceptor();
        let shared = Arc::new(Shared {
            plan: Mutex::default(),
            judge: Box::new(judge),
            received: Mutex::default(),
            count: watch::Sender::new(0),
        });
        let serving = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&serving));
                connections.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    if let Ok(stream) = acceptor.accept(stream).await {
                        // A client that goes away is nothing to tell of.
                        let _ = serve(stream, &shared).await;
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

    /// Answers the next requests so, one each.
    pub fn will(&self, answers: impl IntoIterator<Item = Answered>) {
        self.shared.plan.lock().extend(answers);
    }

    /// What came until now.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    /// What came once it was so many requests.
    ///
    /// # Panics
    /// Where they do not come.
    pub async fn wait_for(&self, least: usize) -> Vec<Received> {
        let come = come(&self.shared.count, least).await;
        let received = self.received();
        assert!(come, "{} of {least} requests came", received.len());
        received
    }

    /// Goes away; what came until now.
    pub fn stop(self) -> Vec<Received> {
        self.received()
    }
}

impl Drop for HttpReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Debug for HttpReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpReceiver({})", self.address)
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Resets>(
    mut stream: S,
    shared: &Shared,
) -> Result<()> {
    let mut rest = Vec::new();
    loop {
        let Some(mut request) = read(&mut stream, &mut rest).await? else {
            return Ok(());
        };
        let planned = shared.plan.lock().pop_front();
        let answer = planned
            .or_else(|| (shared.judge)(&request))
            .unwrap_or(Answered::Status(200));
        request.status = answer.status();
        shared.received.lock().push(request);
        let said = match &answer {
            Answered::Reset => {
                stream.reset();
                return Ok(());
            }
            Answered::Status(status) => format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\n\r\n"),
            Answered::With(status, name, value) => {
                format!("HTTP/1.1 {status} -\r\ncontent-length: 0\r\n{name}: {value}\r\n\r\n")
            }
            Answered::Json(status, body) => format!(
                "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            ),
        };
        stream.write_all(said.as_bytes()).await?;
        stream.flush().await?;
        shared.count.send_modify(|count| *count += 1);
    }
}

/// The next request; nothing at the end of the connection.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    rest: &mut Vec<u8>,
) -> Result<Option<Received>> {
    let end = loop {
        if let Some(at) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(rest).await? == 0 {
            return Ok(None);
        }
    };
    let head: Vec<u8> = rest.drain(..end).collect();
    let head = String::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1));
    let path = path.context("a request line")?.to_owned();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<String, String> = fields
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").context("a length")?.parse()?;
    while rest.len() < length {
        anyhow::ensure!(stream.read_buf(rest).await? > 0, "cut short");
    }
    Ok(Some(Received {
        path,
        headers,
        body: rest.drain(..length).collect(),
        status: 0,
    }))
}

/// A connection that can be reset.
pub(super) trait Resets {
    fn reset(&self);
}

impl Resets for ems_crypto::tls::TlsStream<TcpStream> {
    fn reset(&self) {
        // What is dropped then is a reset instead of an end.
        let _ = self.get_ref().0.set_zero_linger();
    }
}
