//! Taking connections: never more than there are places, never spinning on an error, never dying.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::sleep,
};

use super::{GivenUp, HttpService, addresses::Addresses, connection};
use crate::{config, forwarded::is_trusted};

/// The first pause when the machine is out of file descriptors or memory; doubles to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts until told to stop. The socket is closed when it returns.
pub(super) async fn run<S: HttpService>(
    listener: TcpListener,
    settings: &config::Server,
    server: Arc<connection::Server<S>>,
) {
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let addresses = Addresses::new(settings.max_connections_per_address);
    loop {
        let next = async {
            // The place first: a client that cannot be served waits in the kernel, not in memory.
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, accept(&listener).await))
        };
        let accepted = tokio::select! {
            biased;
            () = server.drain.stopping() => None,
            accepted = next => accepted,
        };
        let Some((place, (stream, socket))) = accepted else {
            return;
        };
        if server.gate.is_shut(socket.ip()) {
            tracing::debug!(client = %socket.ip(), "connection closed: its address is banned");
            continue;
        }
        // A proxy stands for many; its clients are counted once it has named them.
        let slot = if is_trusted(socket.ip(), &settings.trusted_proxies) {
            None
        } else {
            let Some(slot) = addresses.enter(socket.ip()) else {
                Arc::clone(&server.gate).gave_up(socket.ip().to_canonical(), GivenUp::Crowded);
                continue;
            };
            Some(slot)
        };
        let task = Arc::clone(&server).serve(stream, socket, Arc::clone(&addresses));
        server.drain.spawn(async move {
            let _held = (place, slot);
            task.await;
        });
    }
}

/// The next connection, however long errors of the machine last.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Whether an error is of the one connection, which is gone; the next may be fine.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
