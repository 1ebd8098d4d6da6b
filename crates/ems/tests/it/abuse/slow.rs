//! Clients that hold a connection and give or take next to nothing.

use ems_core::role::Role;
use ems_testkit::TestServer;

use super::wire::{Wire, meanwhile};

#[tokio::test]
async fn two_hundred_heads_that_never_end_are_given_up() {
    let server = TestServer::builder()
        .set("server.header_timeout", "1s")
        .start()
        .await;
    let attack = async {
        let mut slow = Vec::new();
        for _ in 0..200 {
            let mut wire = Wire::open(&server).await;
            assert!(wire.say("GET /health HTTP/1.1\r\nHost: x\r\nX-A:").await);
            slow.push(wire);
        }
        for wire in slow {
            assert_eq!(wire.rest().await, b"");
        }
    };
    meanwhile(&server, attack).await;
}

#[tokio::test]
async fn bodies_that_never_end_are_given_up() {
    let server = TestServer::builder()
        .set("server.body_idle_timeout", "500ms")
        .start()
        .await;
    let key = server.key_for(Role::MeterReader, &["*"]).await;
    let begun = format!(
        "POST /api/v1/data HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let attack = async {
        let mut slow = Vec::new();
        for _ in 0..50 {
            let mut wire = Wire::open(&server).await;
            assert!(wire.say(&begun).await);
            slow.push(wire);
        }
        for wire in slow {
            let answer = String::from_utf8(wire.rest().await).unwrap();
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
    };
    meanwhile(&server, attack).await;
}

#[tokio::test]
async fn clients_that_ask_and_never_read_are_given_up() {
    let server = TestServer::builder()
        .set("server.write_timeout", "500ms")
        .start()
        .await;
    let ask = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let attack = async {
        let mut greedy = Vec::new();
        for _ in 0..5 {
            greedy.push(Wire::open(&server).await);
        }
        // What it sends piles up once the server waits for it, until the server has had enough.
        let ended = greedy.into_iter().map(|mut wire| {
            let ask = &ask;
            async move { while wire.say(ask).await {} }
        });
        futures_util::future::join_all(ended).await;
    };
    meanwhile(&server, attack).await;
}
