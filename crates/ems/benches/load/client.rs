//! A client that costs little: HTTP/1.1 over one kept connection, requests as bytes.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use ems_crypto::tls::client_trusting;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};

/// Where a server listens.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// The authority to trust; plain HTTP without one.
    pub ca: Option<PathBuf>,
}

impl Target {
    /// Connects.
    pub async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.ca {
            Some(ca) => Box::new(
                client_trusting(ca)?
                    .connect("localhost".try_into()?, stream)
                    .await?,
            ),
            None => Box::new(stream),
        };
        Ok(Connection {
            stream,
            buffer: Vec::new(),
        })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A kept connection.
pub struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Default)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Connection {
    /// Sends a request and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head])?.to_ascii_lowercase();
        let status = text.get(9..12).context("no status")?.parse()?;
        if status == 204 {
            return Ok(Answer {
                status,
                body: Vec::new(),
            });
        }
        if let Some(length) = text.split("content-length: ").nth(1) {
            let length: usize = length.split("\r\n").next().unwrap_or_default().parse()?;
            while self.buffer.len() < head + length {
                self.fill().await?;
            }
            return Ok(Answer {
                status,
                body: self.buffer[head..head + length].to_vec(),
            });
        }
        while !self.buffer.ends_with(b"0\r\n\r\n") {
            self.fill().await?;
        }
        Ok(Answer {
            status,
            body: self.buffer[head..].to_vec(),
        })
    }

    async fn fill(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A request without a body.
pub fn get(target: &str, token: &str) -> Vec<u8> {
    request("GET", target, token, ("application/json", b""))
}

/// A request as bytes.
pub fn request(method: &str, target: &str, token: &str, (kind, body): (&str, &[u8])) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
