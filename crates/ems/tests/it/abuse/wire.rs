//! A client that writes bytes by hand, and one who only wants an answer.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use ems_crypto::tls::TlsClient;
use ems_testkit::TestServer;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpSocket,
    time::timeout,
};

/// Longer than anything here takes; a test that waits so long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Within which others are answered while somebody attacks, on a machine that does much else.
const SOON: Duration = Duration::from_secs(3);

/// Reads and writes.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection with TLS, below HTTP.
pub(super) struct Wire(pub(super) Box<dyn Duplex>);

impl Wire {
    pub(super) async fn open(server: &TestServer) -> Self {
        Self::from(server, 1).await.unwrap()
    }

    /// From 127.0.0.`host`; `None` where the server closes it at once.
    pub(super) async fn from(server: &TestServer, host: u8) -> Option<Self> {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind((Ipv4Addr::new(127, 0, 0, host), 0).into())
            .unwrap();
        let stream = socket.connect(server.address()).await.ok()?;
        let tls = TlsClient::new(Some(&server.dir().join("tls/ca.pem"))).unwrap();
        let opened = timeout(PATIENCE, tls.connect("localhost", stream)).await;
        Some(Self(Box::new(opened.unwrap().ok()?)))
    }

    /// Whether the server still takes it.
    pub(super) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let said = async {
            self.0.write_all(bytes.as_ref()).await?;
            self.0.flush().await
        };
        timeout(PATIENCE, said).await.unwrap().is_ok()
    }

    /// What comes until the server closes.
    pub(super) async fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset after the last byte is a close, too.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut bytes))
            .await
            .unwrap();
        bytes
    }

    /// All answers to what is said, until the server closes.
    pub(super) async fn answers(mut self, bytes: impl AsRef<[u8]>) -> String {
        // It may be answered, and closed, before all is sent.
        self.say(bytes).await;
        String::from_utf8(self.rest().await).unwrap()
    }
}

/// Attacks, while somebody else asks again and again and is answered soon each time, on a connection
/// that he has and, in the end, on a new one.
pub(super) async fn meanwhile<T>(server: &TestServer, attack: impl Future<Output = T>) -> T {
    let (nobody, over) = (server.nobody(), AtomicBool::new(false));
    let attack = async {
        let came_to = attack.await;
        over.store(true, Ordering::Relaxed);
        came_to
    };
    let bystander = async {
        loop {
            let answer = timeout(SOON, nobody.get("/health")).await.unwrap();
            assert_eq!(answer.status, 200);
            if over.load(Ordering::Relaxed) {
                break;
            }
        }
    };
    let (came_to, ()) = tokio::join!(attack, bystander);
    let fresh = async {
        let wire = Wire::from(server, 2).await.unwrap();
        let ask = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        wire.answers(ask).await
    };
    let answer = timeout(SOON, fresh).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    came_to
}
