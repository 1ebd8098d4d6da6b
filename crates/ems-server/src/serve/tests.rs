//! A whole server: bound, asked over its sockets, stopped.

use std::{os::unix::fs::PermissionsExt, path::Path};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use super::*;
use crate::{app::SystemClock, testing::Files};

async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn socket_of(files: &Files) -> std::path::PathBuf {
    files.path("run/admin.sock")
}

fn bind(files: &Files, role: Role) -> Result<Server> {
    let settings = [
        ("server.listen", "127.0.0.1:0"),
        ("server.metrics_listen", "127.0.0.1:0"),
    ];
    Server::bind(files.load(&settings), role, Arc::new(SystemClock))
}

#[tokio::test]
async fn serves_its_three_sockets_and_leaves_nothing_behind() {
    let files = Files::new();
    let server = bind(&files, Role::All).unwrap();
    let (api, metrics) = (server.local_addr().unwrap(), server.metrics_addr().unwrap());
    let socket = socket_of(&files);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&socket), mode(socket.parent().unwrap())),
        (0o600, 0o700)
    );
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(server.run(shutdown.clone(), None));
    let health = ask(TcpStream::connect(api).await.unwrap(), "/health").await;
    assert!(health.ends_with("{\"status\":\"healthy\"}"), "{health}");
    let me = ask(
        UnixStream::connect(&socket).await.unwrap(),
        "/api/v1/auth/me",
    )
    .await;
    assert!(me.contains("\"name\":\"local:"), "{me}");
    let page = ask(TcpStream::connect(metrics).await.unwrap(), "/metrics").await;
    assert!(
        page.contains("ems_http_requests_total{route=\"/health\",method=\"GET\",status=\"2xx\"} 1"),
        "{page}"
    );
    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert!(!socket.exists());
    let log = std::fs::read_to_string(files.path("log/security.log")).unwrap();
    assert!(log.contains("\"endpoint\":\"/health\""), "{log}");
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_refused() {
    let files = Files::new();
    let _first = bind(&files, Role::All).unwrap();
    let refused = bind(&files, Role::All).err().unwrap().to_string();
    assert!(refused.contains("in use"), "{refused}");
}

#[tokio::test]
async fn a_role_without_a_shared_store_is_refused() {
    let files = Files::new();
    assert!(matches!(bind(&files, Role::Gateway), Err(Error::Usage(_))));
}
