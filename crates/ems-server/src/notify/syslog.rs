//! Syslog over TLS (RFC 5425) or UDP (RFC 5426).
//!
//! Syslog acknowledges nothing. What can be known is this: a receiver that was told that no more will
//! come, and closes its side then, has read all of it. So a message counts as sent once the
//! connection was ended in that way.

use std::{
    io::{self, Error, ErrorKind},
    time::Duration,
};

use ems_crypto::tls::{TlsClient, client::TlsStream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket, lookup_host},
    time::timeout,
};

use super::{
    place::Place,
    rfc5424::{datagram, framed},
};

/// A syslog receiver.
#[derive(Debug, Clone)]
pub(crate) enum Syslog {
    /// Over TLS.
    Tls(Place, TlsClient),
    /// In datagrams.
    Udp(Place),
}

impl Syslog {
    pub(super) fn place(&self) -> &Place {
        match self {
            Self::Tls(place, _) | Self::Udp(place) => place,
        }
    }

    /// Sends one message, and waits until it is known to have been read (TLS).
    pub(super) async fn send(&self, message: &str, within: Duration) -> io::Result<()> {
        match self {
            Self::Tls(..) => {
                let mut link = Link::open(self, within).await?;
                link.write(&framed(message)).await?;
                link.confirm().await
            }
            Self::Udp(place) => {
                let mut found = lookup_host((place.host.as_str(), place.port)).await?;
                let to = found.next().ok_or(ErrorKind::NotFound)?;
                let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(to).await?;
                socket.send(datagram(message).as_bytes()).await.map(drop)
            }
        }
    }
}

/// A connection to a receiver over TLS.
pub(super) struct Link {
    stream: TlsStream<TcpStream>,
    within: Duration,
}

impl Link {
    pub(super) async fn open(to: &Syslog, within: Duration) -> io::Result<Self> {
        let Syslog::Tls(place, tls) = to else {
            return Err(ErrorKind::Unsupported.into());
        };
        let stream = place.connect(within).await?;
        let stream = timed(
            within,
            "no handshake in time",
            tls.connect(&place.host, stream),
        )
        .await?;
        Ok(Self { stream, within })
    }

    /// Writes frames. A receiver that does not read them in time is given up.
    pub(super) async fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        let writing = async {
            self.stream.write_all(frames).await?;
            self.stream.flush().await
        };
        timed(self.within, "the receiver stopped reading", writing).await
    }

    /// Waits until the receiver closes the connection, which it has no reason to do.
    pub(super) async fn broken(&mut self) -> Error {
        let mut rest = [0; 256];
        loop {
            match self.stream.read(&mut rest).await {
                // Syslog has no answers: whatever it says is nothing to us.
                Ok(1..) => {}
                Ok(0) => return Error::new(ErrorKind::ConnectionReset, "the receiver hung up"),
                Err(error) => return error,
            }
        }
    }

    /// Ends the connection in order: tells that no more will come, and waits until the receiver
    /// has read all and closes its side.
    pub(super) async fn confirm(mut self) -> io::Result<()> {
        let within = self.within;
        let ending = async {
            self.stream.shutdown().await?;
            let mut rest = [0; 256];
            loop {
                match self.stream.read(&mut rest).await {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    // Many receivers close without TLS's own word for it; a reset is another thing.
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        };
        timed(within, "the receiver did not read to the end", ending).await
    }
}

async fn timed<T>(
    within: Duration,
    why: &'static str,
    what: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(within, what)
        .await
        .map_err(|_| Error::new(ErrorKind::TimedOut, why))?
}
