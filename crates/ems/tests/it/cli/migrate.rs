//! `ems migrate`, from one embedded store to another.

use std::fs;

use ems_api::{
    client::{Body, Client, Coding, Format},
    domain::Role,
};
use ems_testkit::{ADMIN, Ran, Signal};

use super::{Home, binary, text};

/// A new instance beside the one of a test, without an admin.
fn without_admin(home: &Home, name: &str) -> String {
    let dir = text(&home.path(name));
    let made = binary().run(["init", "--no-admin", "--json", "--dir", &dir]);
    assert_eq!((made.code, made.json()["password"].is_null()), (0, true));
    dir
}

fn migrate(from: &str, to: &str) -> Ran {
    binary().run(["migrate", "--json", "--from", from, "--to", to])
}

/// The move by a command that serves the source's reads.
fn again_beside_reads(from: &str, to: &str) -> serde_json::Value {
    let serving = ["migrate", "--json", "--from", from, "--to", to, "--serve"];
    let mut again = binary().command(serving.into_iter().chain(["--listen", "127.0.0.1:0"]));
    let again = again
        .env("EMS_SERVER__METRICS_LISTEN", "")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        said.contains("serving reads on https://127.0.0.1:"),
        "{said}"
    );
    serde_json::from_slice(&again.stdout).unwrap()
}

/// Sends 60 readings of three meters.
async fn send_an_hour(client: &Client) {
    let rows: Vec<String> = (0..60)
        .map(|minute| format!("m{},2024-03-01T00:{minute:02}:00Z,{minute}.25", minute % 3))
        .collect();
    let csv = format!(
        "meter_id,timestamp,energy_consumption\n{}\n",
        rows.join("\n")
    );
    let body = Body {
        format: Format::Csv,
        coding: Coding::Identity,
        bytes: csv.into(),
    };
    assert_eq!(client.batch(body).await.unwrap().accepted, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn brings_readings_users_and_keys_to_a_new_instance() {
    let home = Home::new();
    let from = text(&home.dir());
    let to = without_admin(&home, "new");
    let server = home.serve();
    let admin = server.admin().await.unwrap();
    send_an_hour(&admin).await;
    let key_file = home.key_file(&admin, Role::MeterReader).await;

    let running = migrate(&from, &to);
    assert_eq!(running.code, 64, "{}", running.stderr);
    assert!(
        running.stderr.contains("a server runs"),
        "{}",
        running.stderr
    );
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);

    let pepper = migrate(&from, &to);
    assert_eq!(pepper.code, 64, "{}", pepper.stderr);
    assert!(
        pepper.stderr.contains("another pepper"),
        "{}",
        pepper.stderr
    );
    let secret = |dir: &str| format!("{dir}/secrets/pepper");
    fs::copy(secret(&from), secret(&to)).unwrap();

    let done = migrate(&from, &format!("{to}/ems.toml"));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let told = done.json();
    assert_eq!(told["complete"], true);
    assert_eq!(
        (&told["source"]["meters"], &told["source"]["readings"]),
        (&3.into(), &60.into())
    );
    assert_eq!(told["target"], told["source"]);
    assert_eq!(told["superseded_left_behind"], 0);
    assert_eq!(again_beside_reads(&from, &to)["target"], told["target"]);
    let verified = binary().run(["verify", "--json", "--dir", &to]);
    assert_eq!(verified.code, 0, "{}", verified.stdout);
    assert_eq!(verified.json()["readings"], 60);

    let server = binary().serve(to.as_ref(), &[]).unwrap();
    let client = server.client().unwrap();
    let alice = client.logged_in(ADMIN.0, ADMIN.1).await.unwrap();
    assert_eq!(alice.me().await.unwrap().name, ADMIN.0);
    let exported = binary().run([
        "export",
        "m1",
        "--start",
        "2024-03-01T00:00:00Z",
        "--end",
        "2024-03-02T00:00:00Z",
        "--key-file",
        &text(&key_file),
        "--url",
        server.url(),
        "--ca",
        &format!("{to}/tls/ca.pem"),
    ]);
    assert_eq!(exported.code, 0, "{}", exported.stderr);
    assert_eq!(exported.stdout.lines().count(), 21, "{}", exported.stdout);
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);

    let used = migrate(&from, &to);
    assert_eq!(used.code, 1, "the target has gone its own way");
    assert!(
        used.stderr.contains("ledger has entries"),
        "{}",
        used.stderr
    );
}

#[test]
fn refuses_an_instance_that_has_a_life_of_its_own() {
    let (home, other) = (Home::new(), Home::new());
    let (from, to) = (text(&home.dir()), text(&other.dir()));
    let secret = |dir: &str| format!("{dir}/secrets/pepper");
    fs::copy(secret(&from), secret(&to)).unwrap();
    let ran = migrate(&from, &to);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("the first is 0"), "{}", ran.stderr);
    let itself = migrate(&from, &from);
    assert_eq!(itself.code, 1);
    assert!(itself.stderr.contains("in use"), "{}", itself.stderr);
}
