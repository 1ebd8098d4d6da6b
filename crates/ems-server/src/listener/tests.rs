//! The listener on port 0: every deadline and every limit, with small settings and real sockets.

mod deadlines;
mod limits;

use std::time::Duration;

use axum::{
    Router,
    extract::{Extension, Request},
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use bytes::Bytes;
use ems_crypto::tls::ServerIdentity;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use super::*;
use crate::config::{Environment, Settings};

/// Longer than anything here takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server on port 0, and what its handlers tell.
struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    ended: JoinHandle<Drained>,
    /// Says a word when `/wait` begins and when `/endless` is given up.
    told: mpsc::UnboundedReceiver<&'static str>,
    /// Why connections were given up.
    given_up: mpsc::UnboundedReceiver<GivenUp>,
    /// Lets `/wait` go on.
    go_on: Arc<tokio::sync::Notify>,
    /// Authority and files of a server with TLS.
    tls: Option<(tempfile::TempDir, String)>,
}

/// A gate that stands open, and tells.
struct Open(mpsc::UnboundedSender<GivenUp>);

impl Gate for Open {
    fn is_shut(&self, _: IpAddr) -> bool {
        false
    }

    fn gave_up(self: Arc<Self>, _: IpAddr, why: GivenUp) {
        let _ = self.0.send(why);
    }
}

/// Says a word when dropped.
struct Parting(mpsc::UnboundedSender<&'static str>);

impl Drop for Parting {
    fn drop(&mut self) {
        let _ = self.0.send("endless ended");
    }
}

impl Running {
    fn start(settings: &[(&str, &str)]) -> Self {
        Self::with(settings, None)
    }

    fn start_tls(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let made = ems_crypto::certificate::generate(&[], (2026, 1, 1)).unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, &made.certificate).unwrap();
        std::fs::write(&key, made.key.as_bytes()).unwrap();
        std::fs::write(dir.path().join("ca.pem"), &made.ca_certificate).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, private).unwrap();
        let identity = ServerIdentity::load(&cert, &key).unwrap();
        let server = TlsServer::new(identity).unwrap();
        let mut running = Self::with(settings, Some(server));
        running.tls = Some((dir, made.ca_certificate));
        running
    }

    fn with(settings: &[(&str, &str)], tls: Option<TlsServer>) -> Self {
        let mut flags = vec![
            ("server.listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("server.tls".to_owned(), "off".to_owned()),
        ];
        flags.extend(
            settings
                .iter()
                .map(|(key, value)| (format!("server.{key}"), (*value).to_owned())),
        );
        let settings = Settings::read(None, &Environment::default(), &flags).unwrap();
        let listener = Listener::bind(&settings.server).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (tell, told) = mpsc::unbounded_channel();
        let (gave_up, given_up) = mpsc::unbounded_channel();
        let go_on = Arc::new(tokio::sync::Notify::new());
        let service = service(tell, Arc::clone(&go_on));
        Self {
            address,
            ended: tokio::spawn(listener.run(
                (tls, Arc::new(Open(gave_up))),
                service,
                shutdown.clone(),
            )),
            shutdown,
            told,
            given_up,
            go_on,
            tls: None,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection on which a text has been sent.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    /// The answer to one GET on a connection of its own.
    async fn get(&self, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        read_to_end(self.send(&request).await).await
    }

    async fn hear(&mut self) -> &'static str {
        timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap()
    }

    /// Why the next connection was given up.
    async fn why(&mut self) -> GivenUp {
        timeout(PATIENCE, self.given_up.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn stop(self) -> Drained {
        self.shutdown.cancel();
        timeout(PATIENCE, self.ended).await.unwrap().unwrap()
    }
}

/// Says what is wrong with a head that never became a request.
async fn tell_fault(request: Request, next: Next) -> Response {
    match request.extensions().get::<HeadFault>() {
        Some(fault) => (StatusCode::IM_A_TEAPOT, format!("{fault:?}")).into_response(),
        None => next.run(request).await,
    }
}

/// `/` greets, `/peer` says who asks, `/body` reads the body, `/wait` waits for the test, `/long`
/// takes its time, `/endless` never ends.
fn service(tell: mpsc::UnboundedSender<&'static str>, go_on: Arc<tokio::sync::Notify>) -> Router {
    let told = tell.clone();
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route(
            "/peer",
            get(|Extension(peer): Extension<Peer>| async move { format!("{peer:?}") }),
        )
        .route(
            "/body",
            any(|request: Request| async move {
                match request.into_body().collect().await {
                    Ok(body) => (StatusCode::OK, body.to_bytes().len().to_string()),
                    Err(error) if BodyError::is_deadline(&error) => {
                        (StatusCode::REQUEST_TIMEOUT, error.to_string())
                    }
                    Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
                }
            }),
        )
        .route(
            "/wait",
            get(move || async move {
                tell.send("wait began").unwrap();
                go_on.notified().await;
                "waited"
            }),
        )
        .route(
            "/long",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(600)).await;
                "long"
            }),
        )
        .route(
            "/endless",
            get(move || async move {
                let parting = Parting(told);
                Body::from_stream(futures_util::stream::repeat_with(move || {
                    let _held = &parting;
                    Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 16_384]))
                }))
            }),
        )
        .layer(from_fn(tell_fault))
}

/// What comes until the server closes.
async fn read_to_end(mut stream: impl AsyncReadExt + Unpin) -> String {
    let mut bytes = Vec::new();
    // A reset after the last byte is a close, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

/// One answer of a known short body on a connection that stays open.
async fn read_answer(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let mut byte = [0];
        timeout(PATIENCE, stream.read_exact(&mut byte))
            .await
            .unwrap()
            .unwrap();
        text.push(char::from(byte[0]));
    }
    text
}

/// A client of one protocol that trusts the server's authority.
fn client(server: &Running, http2: bool) -> reqwest::Client {
    let mut builder = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    if let Some((_, authority)) = &server.tls {
        let authority = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        builder = builder.tls_certs_only([authority]);
        if !http2 {
            builder = builder.http1_only();
        }
    } else if http2 {
        builder = builder.http2_prior_knowledge();
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn answers_both_protocols_over_tls() {
    let server = Running::start_tls(&[]);
    let url = format!("https://localhost:{}/", server.address.port());
    for (http2, version) in [
        (false, http::Version::HTTP_11),
        (true, http::Version::HTTP_2),
    ] {
        let client = client(&server, http2);
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(answer.version(), version);
        assert_eq!(answer.text().await.unwrap(), "hello");
        let body = vec![b'x'; 1_000_000];
        let answer = client
            .post(format!("{url}body"))
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.text().await.unwrap(), "1000000");
        let peer = client
            .get(format!("{url}peer"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(
            peer.contains("client: 127.0.0.1") && peer.contains("tls: true"),
            "{peer}"
        );
    }
}

#[tokio::test]
async fn answers_both_protocols_in_plain() {
    let server = Running::start(&[]);
    let url = format!("http://{}/", server.address);
    for (http2, version) in [
        (false, http::Version::HTTP_11),
        (true, http::Version::HTTP_2),
    ] {
        let answer = client(&server, http2).get(&url).send().await.unwrap();
        assert_eq!(answer.version(), version);
        assert_eq!(answer.text().await.unwrap(), "hello");
    }
}

#[tokio::test]
async fn a_drain_lets_a_request_in_flight_finish_and_closes_the_idle() {
    let mut server = Running::start(&[]);
    let mut idle = server.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    read_answer(&mut idle, "hello").await;
    let busy = server.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(server.hear().await, "wait began");
    server.shutdown.cancel();
    assert_eq!(read_to_end(idle).await, "");
    server.go_on.notify_one();
    assert!(read_to_end(busy).await.ends_with("waited"));
    let address = server.address;
    assert_eq!(server.stop().await, Drained { cut: 0 });
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_drain_lets_an_http2_request_in_flight_finish() {
    let mut server = Running::start_tls(&[]);
    let client = client(&server, true);
    let url = format!("https://localhost:{}/wait", server.address.port());
    let asked = tokio::spawn(client.get(url).send());
    assert_eq!(server.hear().await, "wait began");
    server.shutdown.cancel();
    server.go_on.notify_one();
    assert_eq!(
        asked.await.unwrap().unwrap().text().await.unwrap(),
        "waited"
    );
    drop(client);
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_drain_cuts_what_is_left_at_its_deadline_and_counts_it() {
    let mut server = Running::start(&[("drain_timeout", "200ms")]);
    let hung = server.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(server.hear().await, "wait began");
    assert_eq!(server.stop().await, Drained { cut: 1 });
    assert_eq!(read_to_end(hung).await, "");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_an_http2_client_that_answers_nothing() {
    let mut server = Running::start(&[]);
    // The preface and an empty SETTINGS frame (RFC 9113 §3.4), and from then on silence.
    let mut silent = server.connect().await;
    silent
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    // What the server sends first is its own SETTINGS frame: it speaks HTTP/2 by now.
    let mut first = [0; 9];
    silent.read_exact(&mut first).await.unwrap();
    assert_eq!(first[3], 4);
    let busy = server.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(server.hear().await, "wait began");
    server.shutdown.cancel();
    let mut rest = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
    server.go_on.notify_one();
    assert!(read_to_end(busy).await.ends_with("waited"));
    assert_eq!(server.stop().await, Drained { cut: 0 });
}

#[tokio::test]
async fn a_drain_closes_an_idle_http2_client_at_once() {
    let server = Running::start_tls(&[]);
    let client = client(&server, true);
    let url = format!("https://localhost:{}/", server.address.port());
    assert_eq!(
        client.get(url).send().await.unwrap().text().await.unwrap(),
        "hello"
    );
    let began = tokio::time::Instant::now();
    assert_eq!(server.stop().await, Drained { cut: 0 });
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    drop(client);
}
