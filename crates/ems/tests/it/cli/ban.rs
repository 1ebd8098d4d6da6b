//! `ems ban`: the same whether a server runs or not, and known to it at once.

use ems_testkit::Signal;
use serde_json::{Value, json};

use super::Home;

/// What is shut out: address, kind, by whom.
fn bans(home: &Home) -> Vec<Value> {
    let listed = home.run("ban list --json", &[]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let listed = listed.json();
    let bans = listed.as_array().unwrap().iter();
    bans.map(|ban| json!([ban["ip"], ban["kind"], ban["reason"]]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_shut_out_listed_and_lifted_with_and_without_a_server() {
    let home = Home::new();
    for round in ["offline", "online"] {
        let running = (round == "online").then(|| home.serve());
        let added = home.run(
            "ban add --json",
            &["203.0.113.9", "--until", "2099-01-01T00:00:00Z"],
        );
        // Longer than a year is nobody's wish.
        assert_eq!(added.code, 1, "{}", added.stdout);
        assert!(added.stderr.contains("within a year"), "{}", added.stderr);
        let added = home.run("ban add --json", &["203.0.113.9", "--kind", "block"]);
        assert_eq!(added.code, 0, "{}", added.stderr);
        assert_eq!(added.json()["kind"], "block");
        assert_eq!(bans(&home), [json!(["203.0.113.9", "block", "manual"])]);
        let lifted = home.run("ban lift", &["203.0.113.9"]);
        assert_eq!(lifted.code, 0, "{}", lifted.stderr);
        assert!(bans(&home).is_empty());
        let lifted = home.run("ban lift", &["203.0.113.9"]);
        assert_eq!(lifted.code, 1);
        assert!(lifted.stderr.contains("404 not_found"), "{}", lifted.stderr);
        if let Some(server) = running {
            // Its own address too, by hand: the socket is the way back in.
            assert_eq!(home.run("ban add", &["127.0.0.1"]).code, 0);
            let nobody = server.nobody().unwrap();
            let refused = nobody.request("GET", "/health").send().await;
            assert!(refused.is_err(), "{refused:?}");
            assert_eq!(home.run("ban lift", &["127.0.0.1"]).code, 0);
            assert_eq!(nobody.get("/health").await.status, 200);
            assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
        }
    }
}
