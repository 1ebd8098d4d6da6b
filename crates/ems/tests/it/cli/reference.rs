//! `ems gen`: the reference pages, and that a running server is what they describe.

use std::fs;

use ems_testkit::TestServer;

use super::{binary, text};

#[test]
fn writes_the_four_pages_the_same_every_time() {
    let place = tempfile::tempdir().unwrap();
    let pages = ["openapi.json", "errors.md", "settings.md", "cli.md"];
    let write = |name: &str| {
        let out = place.path().join(name);
        assert_eq!(binary().run(["gen", "--out", &text(&out)]).code, 0);
        pages.map(|page| fs::read_to_string(out.join(page)).unwrap())
    };
    let [openapi, errors, settings, cli] = write("one");
    let json: serde_json::Value = serde_json::from_str(&openapi).unwrap();
    assert!(json["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(
        errors.contains("| 429 | `rate_limited` |") && errors.contains("| `future_timestamp` |")
    );
    assert!(settings.contains("`batch_rows`") && cli.contains("## `ems import`"));
    assert!(cli.contains("### `ems key rotate`") && !cli.contains("ems gen"));
    assert_eq!([openapi, errors, settings, cli], write("two"));
}

#[tokio::test]
async fn a_running_server_serves_the_document_in_the_repository() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/reference/openapi.json"
    );
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let server = TestServer::start().await;
    let answer = server.nobody().get("/api/v1/openapi.json").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    // `cargo xtask gen` writes the one; nothing here tells what differs, a diff of the two does.
    assert!(
        answer.json() == kept,
        "docs/reference/openapi.json is stale"
    );
}
