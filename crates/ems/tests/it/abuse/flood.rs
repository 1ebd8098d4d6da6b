//! Too many connections of one address, and bodies that grow when they are unpacked.

use std::io::Write;

use ems_core::role::Role;
use ems_testkit::{Answer, TestServer};
use flate2::{Compression, write::GzEncoder};

use super::wire::{Wire, meanwhile};

#[tokio::test]
async fn one_address_gets_its_share_of_connections_and_others_theirs() {
    let server = TestServer::builder()
        .set("server.max_connections_per_address", "40")
        .start()
        .await;
    let held = meanwhile(&server, async {
        let mut held = Vec::new();
        for _ in 0..400 {
            held.extend(Wire::from(&server, 3).await);
        }
        held
    })
    .await;
    assert_eq!(held.len(), 40);
    // While they are held, its next is closed; another address has its own share.
    assert!(Wire::from(&server, 3).await.is_none());
    assert!(Wire::from(&server, 4).await.is_some());
}

#[tokio::test]
async fn bodies_that_grow_a_thousandfold_are_refused() {
    let server = TestServer::builder()
        .set("limits.body_bytes", "1MiB")
        .set("limits.expanded_bytes", "1MiB")
        .start()
        .await;
    let caller = server
        .nobody()
        .api_key(&server.key_for(Role::MeterReader, &["*"]).await);
    let plain = vec![b' '; 16 << 20];
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&*plain, 3).unwrap();
    meanwhile(&server, async {
        for (coding, bomb) in [("gzip", gzip), ("zstd", zstd)] {
            assert!(bomb.len() < plain.len() / 900);
            let asked = (0..20).map(|_| {
                let request = caller
                    .request("POST", "/api/v1/data/batch")
                    .header("content-type", "application/json")
                    .header("content-encoding", coding);
                Answer::of(request.body(bomb.clone()))
            });
            for answer in futures_util::future::join_all(asked).await {
                assert_eq!(answer.verdict(), (413, "payload_too_large".into()));
            }
        }
    })
    .await;
}
