//! `ems keyring`, with and without a server.

use std::fs;

use ems_api::client::{Body, Client, Coding, Format};
use ems_testkit::Signal;
use serde_json::json;

use super::{Home, mode, text};

async fn put(client: &Client, meter: &str) {
    let row = format!(
        r#"[{{"meter_id": "{meter}", "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 1}}]"#
    );
    let body = Body {
        format: Format::Json,
        coding: Coding::Identity,
        bytes: row.into(),
    };
    client.batch(body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_root_are_rotated_with_and_without_a_server() {
    let home = Home::new();
    let root = home.dir().join("secrets/root.key");
    for round in ["offline", "online"] {
        let running = (round == "online").then(|| home.serve());
        let before = home.run("keyring status --json", &[]).json();
        let old_root = fs::read(&root).unwrap();
        let rotated = home.run("keyring rotate --json --root --pages", &[]);
        assert_eq!(rotated.code, 0, "{}", rotated.stderr);
        let told = rotated.json();
        assert_eq!(told["root"]["settled"], true);
        assert_eq!(told["root"]["file"], text(&root));
        assert_eq!(told["pages"]["pages"], before["pages"]);
        assert_eq!(told["pages"]["keys"], before["subjects"]);
        assert_ne!(fs::read(&root).unwrap(), old_root);
        assert_eq!(mode(&root), 0o600);
        let after = home.run("keyring status --json", &[]).json();
        assert_eq!(after["instance"], before["instance"]);
        let seals = after["seals"].as_array().unwrap();
        assert_eq!(seals.len(), 4);
        assert!(seals.iter().all(|key| key["count"].as_u64() > Some(0)));
        assert!(after["root_changed"].as_str() > before["root_changed"].as_str());
        assert_eq!(
            (&after["root_change_pending"], &after["pages_to_rotate"]),
            (&json!(false), &json!(0))
        );
        let server = running.unwrap_or_else(|| home.serve());
        put(&server.admin().await.unwrap(), round).await;
        assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
        assert_eq!(home.run("verify", &[]).code, 0);

        let new_root = fs::read(&root).unwrap();
        fs::write(&root, old_root).unwrap();
        let refused = home.run("verify", &[]);
        assert_eq!(refused.code, 1, "the old one opens it no more");
        assert!(refused.stderr.contains("root key"), "{}", refused.stderr);
        fs::write(&root, new_root).unwrap();
    }
}

#[test]
fn a_root_key_from_elsewhere_changes_with_the_next_start() {
    let home = Home::new();
    let root = home.dir().join("secrets/root.key");
    let old = fs::read_to_string(&root).unwrap();
    let new = home.path("new.key");
    let variable = [("EMS_ROOT_KEY", old.trim())];
    let dir = text(&home.dir());
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        let words = words.iter().copied().chain(["--dir", &dir]);
        let mut command = super::binary().command(words);
        let ran = command.envs(variables.iter().copied()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            ran.status.code().unwrap(),
            text(&ran.stdout) + &text(&ran.stderr),
        )
    };
    let (code, said) = run(&["keyring", "rotate", "--root"], &variable);
    assert!(code == 1 && said.contains("EMS_ROOT_KEY"), "{code} {said}");
    let file = text(&new);
    let rotate = ["keyring", "rotate", "--root", "--new-root-file", &file];
    let (code, said) = run(&rotate, &variable);
    assert!(code == 0 && said.contains("EMS_ROOT_KEY"), "{code} {said}");
    assert_eq!(fs::read_to_string(&root).unwrap(), old);
    // Either opens it, until a start with the new one.
    assert_eq!(run(&["verify"], &variable).0, 0);
    let key = fs::read_to_string(&new).unwrap();
    assert_eq!(run(&["verify"], &[("EMS_ROOT_KEY", key.trim())]).0, 0);
    assert_eq!(run(&["verify"], &variable).0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_meter_is_unknown_with_and_without_a_server() {
    let home = Home::new();
    let server = home.serve();
    let admin = server.admin().await.unwrap();
    put(&admin, "m-1").await;
    put(&admin, "m-2").await;
    let asked = home.run("keyring destroy --meter m-1", &[]);
    assert_eq!(asked.code, 64, "it asks");
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    let destroyed = home.run("keyring destroy --json --yes --meter m-1", &[]);
    assert_eq!(destroyed.code, 0, "{}", destroyed.stderr);
    assert_eq!(
        destroyed.json(),
        json!({ "meter_id": "m-1", "destroyed": true })
    );
    let again = home.run("keyring destroy --yes --meter m-1", &[]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("404"), "{}", again.stderr);
    assert_eq!(admin.meter("m-1").await.unwrap_err().status(), Some(404));
    assert_eq!(admin.meter("m-2").await.unwrap().readings, 1);
    put(&admin, "m-1").await;
    assert_eq!(admin.meter("m-1").await.unwrap().readings, 1);
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);

    let destroyed = home.run("keyring destroy --yes --meter m-2", &[]);
    assert_eq!(destroyed.code, 0, "{}", destroyed.stderr);
    assert_eq!(home.run("verify", &[]).code, 0);
    let status = home.run("keyring status", &[]);
    let line = "destroyed       2\n";
    assert!(status.stdout.contains(line), "{}", status.stdout);
}
