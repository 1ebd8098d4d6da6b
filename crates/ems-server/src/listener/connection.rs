//! One connection, from its first byte to its last.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use ems_crypto::tls::{TlsAcceptor, TlsServer};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{
    Gate, GivenUp, HttpService, Peer,
    activity::Activity,
    addresses::{Addresses, Slot},
    bare::Dressed,
    deadline::Pace,
    drain::Drain,
    exchange::Exchange,
    proxy_protocol,
    sieve::Sieve,
    watch::{Deadlines, Watched},
};
use crate::{config, forwarded::is_trusted};

/// The least read buffer that hyper takes.
const LEAST_BUFFER: usize = 8 * 1024;
/// The bound on header fields that hyper has unless told, with its table of them on the stack;
/// with any other every request allocates.
const FIELDS_ON_STACK: usize = 100;
/// What a client may send ahead of our reading, on one HTTP/2 stream and on all of a connection.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What we hold of a response that an HTTP/2 client does not take.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams reset at once before an HTTP/2 connection is given up (CVE-2023-44487 and its kin).
const RESET_STREAMS: usize = 64;
/// Streams that we reset, in the whole life of an HTTP/2 connection, before it is given up. A client
/// whose upload is refused early goes on sending for a moment, and each such stream counts: behind a
/// proxy one client's must not end the others' connection.
const RESET_BY_US: usize = 1024;
/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long, once we stop, a connection that owes nothing may stay: an HTTP/2 client has to answer
/// before hyper lets go of it, and one that does not would hold up the end.
const PARTING: Duration = Duration::from_secs(2);

/// What all connections share.
pub(super) struct Server<S> {
    pub(super) drain: Drain,
    service: S,
    pub(super) gate: Arc<dyn Gate>,
    tls: Option<TlsAcceptor>,
    protocol: auto::Builder<TokioExecutor>,
    handshake: Duration,
    deadlines: Deadlines,
    pace: Pace,
    /// Proxies whose PROXY header is asked for; `None` where the protocol is off.
    proxies: Option<Vec<IpNet>>,
}

impl<S: HttpService> Server<S> {
    pub(super) fn new(
        settings: &config::Server,
        (tls, gate): (Option<TlsServer>, Arc<dyn Gate>),
        service: S,
        drain: Drain,
    ) -> Self {
        Self {
            drain,
            service,
            gate,
            tls: tls.map(|tls| tls.acceptor()),
            protocol: protocol(settings),
            handshake: settings.handshake_timeout.get(),
            deadlines: Deadlines::new(settings),
            pace: Pace::new(settings),
            proxies: settings
                .proxy_protocol
                .then(|| settings.trusted_proxies.clone()),
        }
    }

    /// Serves a connection until it ends. `addresses` counts a client that a proxy names.
    pub(super) async fn serve(
        self: Arc<Self>,
        mut stream: TcpStream,
        socket: SocketAddr,
        addresses: Arc<Addresses>,
    ) {
        // Small answers go out at once. Without it they go out later, no more.
        let _ = stream.set_nodelay(true);
        let opened = async {
            let (peer, slot) = self.introduce(&mut stream, socket, &addresses).await?;
            let secured = match &self.tls {
                Some(tls) => Secured::Tls(tls.accept(stream).await?),
                None => Secured::Plain(stream),
            };
            io::Result::Ok((peer, slot, secured))
        };
        let opened = tokio::select! {
            () = self.drain.stopping() => return,
            opened = timeout(self.handshake, opened) => opened,
        };
        let (peer, _slot, secured) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => {
                tracing::debug!(peer = %socket, %error, "connection refused");
                return;
            }
            Err(_) => {
                tracing::debug!(peer = %socket, "connection closed: no handshake in time");
                return;
            }
        };
        match secured {
            Secured::Tls(stream) => self.speak(stream, peer).await,
            Secured::Plain(stream) => self.speak(stream, peer).await,
        }
    }

    /// Learns who the client is, from the PROXY header where one is due.
    async fn introduce(
        &self,
        stream: &mut TcpStream,
        socket: SocketAddr,
        addresses: &Arc<Addresses>,
    ) -> io::Result<(Peer, Option<Slot>)> {
        let peer = Peer {
            socket,
            client: socket.ip().to_canonical(),
            via_proxy: false,
            tls: self.tls.is_some(),
        };
        let Some(proxies) = &self.proxies else {
            return Ok((peer, None));
        };
        if !is_trusted(socket.ip(), proxies) {
            return Err(io::Error::other(
                "a PROXY header is due, from trusted proxies only",
            ));
        }
        let Some(client): Option<IpAddr> = proxy_protocol::read(stream)
            .await
            .map_err(io::Error::other)?
        else {
            return Ok((peer, None));
        };
        if self.gate.is_shut(client) {
            return Err(io::Error::other("the client's address is banned"));
        }
        let Some(slot) = addresses.enter(client) else {
            Arc::clone(&self.gate).gave_up(client, GivenUp::Crowded);
            return Err(io::Error::other("the client's address has its fill"));
        };
        let peer = Peer {
            client,
            via_proxy: true,
            ..peer
        };
        Ok((peer, Some(slot)))
    }

    /// Speaks HTTP until either side ends it, a deadline passes, or the server has drained.
    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: Peer,
    ) {
        let activity = Activity::new();
        let watched = Watched::new(stream, Arc::clone(&activity), self.deadlines);
        let exchange = Exchange {
            service: self.service.clone(),
            peer,
            pace: self.pace,
            activity: Arc::clone(&activity),
        };
        let sieve = Sieve::new(watched, Arc::clone(&activity));
        let dressed = Dressed::new(sieve, exchange.refuse());
        let mut connection = pin!(
            self.protocol
                .serve_connection(TokioIo::new(dressed), exchange)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.drain.stopping() => {
                connection.as_mut().graceful_shutdown();
                activity.touch();
                tokio::select! {
                    ended = connection => ended,
                    () = activity.at_rest(PARTING) => Ok(()),
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %peer.socket, error, "connection ended");
        }
        if let Some(why) = activity.given_up() {
            Arc::clone(&self.gate).gave_up(peer.client, why);
        }
    }
}

/// A stream with TLS or without.
enum Secured<T> {
    Tls(T),
    Plain(TcpStream),
}

/// HTTP/1.1 and HTTP/2 within bounds. Those of heads lie above the settings: see `head.rs`.
fn protocol(settings: &config::Server) -> auto::Builder<TokioExecutor> {
    let head = settings.header_bytes.in_memory().saturating_mul(2);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    let mut http1 = builder.http1();
    http1
        .timer(TokioTimer::new())
        // `watch.rs` has it, with idleness apart.
        .header_read_timeout(None)
        .max_buf_size(head.max(LEAST_BUFFER));
    if settings.header_fields >= FIELDS_ON_STACK {
        http1.max_headers(settings.header_fields.saturating_mul(2));
    }
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(RESET_BY_US)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
