//! The listener: our own on hyper, since `axum::serve` sets no deadline, and connections that send
//! nothing would stay for ever.
//!
//! A connection passes: a free place (`accept`), its address's share (`addresses`), the PROXY header
//! (`proxy_protocol`) and the TLS handshake in one deadline, then HTTP/1.1 or HTTP/2 (`connection`)
//! of which abuse is held back (`sieve`), under deadlines for heads, idleness and slow readers
//! (`watch`) and for bodies (`deadline`). When told to stop it lets requests in flight finish
//! (`drain`).

mod accept;
mod activity;
mod addresses;
mod bare;
mod connection;
mod deadline;
mod drain;
mod exchange;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod gate;
mod head;
mod proxy_protocol;
mod sieve;
mod watch;

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use ems_crypto::tls::TlsServer;
use http::{Request, Response};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::Service;

pub use deadline::{BodyError, PacedBody};
pub use drain::Drained;
pub use gate::{Gate, GivenUp};
pub use head::{HeadFault, HeadLimits};

use crate::config::Server;

/// Connections the kernel holds for us while all places are taken.
const BACKLOG: i32 = 1024;
/// Silence after which the kernel asks whether a client's machine is still there.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// The body of a request, under deadlines.
pub type RequestBody = PacedBody<Either<Incoming, Empty<Bytes>>>;

/// What answers requests: a tower service that never fails, as an `axum::Router` is.
pub trait HttpService:
    Service<
        Request<RequestBody>,
        Response = Response<Body>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<
            Request<RequestBody>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// Who is at the other end of a connection. An extension of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the socket: the client, or a proxy.
    pub socket: SocketAddr,
    /// The client as the PROXY header has it; the socket's address without one. Never IPv4 in IPv6.
    pub client: IpAddr,
    /// Whether `client` comes from a PROXY header.
    pub via_proxy: bool,
    /// Whether TLS ends here.
    pub tls: bool,
}

/// A bound socket that does not answer yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    settings: Server,
}

impl Listener {
    /// Binds `server.listen`. Connections queue in the kernel until [`Listener::run`].
    pub fn bind(settings: &Server) -> io::Result<Self> {
        let address = settings.listen;
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it.
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            socket: TcpListener::from_std(socket.into())?,
            settings: settings.clone(),
        })
    }

    /// The address that was bound; tells the port where the settings say 0.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `shutdown` is cancelled, then drains: no new connections, requests in flight
    /// get `server.drain_timeout` to finish, what is left is cut.
    ///
    /// Without `tls` it speaks plain HTTP. The gate says whose connections are closed at once, and
    /// hears why others were given up.
    pub async fn run<S: HttpService>(
        self,
        (tls, gate): (Option<TlsServer>, Arc<dyn Gate>),
        service: S,
        shutdown: CancellationToken,
    ) -> Drained {
        let drain = drain::Drain::new(shutdown);
        let server = Arc::new(connection::Server::new(
            &self.settings,
            (tls, gate),
            service,
            drain.clone(),
        ));
        accept::run(self.socket, &self.settings, server).await;
        drain.finish(self.settings.drain_timeout.get()).await
    }
}

#[cfg(test)]
mod tests;
