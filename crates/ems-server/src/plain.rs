//! Small local listeners beside the main one: few connections, HTTP/1.1, no TLS.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections at once.
const CONNECTIONS: usize = 64;
/// Time for a request's head.
const HEAD: Duration = Duration::from_secs(10);
/// The pause after a connection could not be accepted, such as for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Gives connections and what serves each.
pub(crate) trait Accept {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one; `None` for one that is not to be served.
    fn accept(&self) -> impl Future<Output = io::Result<Option<(Self::Io, Router)>>> + Send;
}

/// Serves what comes until told to stop, then lets requests in flight finish.
pub(crate) async fn serve(from: &impl Accept, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = TaskTracker::new();
    let next = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            match from.accept().await {
                Ok(Some((io, service))) => {
                    let stop = stop.clone();
                    connections.spawn(async move {
                        connection(io, service, stop).await;
                        drop(place);
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a local connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(next).await;
    connections.close();
    connections.wait().await;
}

async fn connection<IO>(io: IO, service: Router, stop: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    // How a connection ends, well or not, is the client's affair.
    if stop.run_until_cancelled(serving.as_mut()).await.is_none() {
        serving.as_mut().graceful_shutdown();
        let _ = serving.await;
    }
}
