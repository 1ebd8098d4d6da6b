//! What any server would have to do: TLS, HTTP, the body read, an answer of a given size.

use std::{convert::Infallible, path::Path};

use anyhow::Result;
use ems_crypto::tls::{ServerIdentity, TlsServer};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves until it is ended; prints its address first.
pub async fn serve(certificate: &Path, key: &Path, size: usize) -> Result<()> {
    let acceptor = TlsServer::new(ServerIdentity::load(certificate, key)?)?.acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let answer = Bytes::from(vec![b'x'; size]);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let handler = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let _body = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::new(answer)))
                }
            });
            // A client that leaves in the middle is no fault of the baseline.
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), handler)
                .await
                .ok();
        });
    }
}
