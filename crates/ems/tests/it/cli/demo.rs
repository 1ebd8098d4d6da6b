//! `ems demo`: the main job in one command, twice.

use std::process::Command;

use ems_testkit::{Signal, TestProcess};

use super::{binary, mode, text};

#[tokio::test(flavor = "multi_thread")]
async fn serves_the_samples_and_the_line_that_it_prints_works_at_every_start() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("demo");
    let mut headers = Vec::new();
    for start in [1, 2] {
        let mut command = binary().command(["demo", "--listen", "127.0.0.1:0", "--dir"]);
        command.arg(&dir);
        let server = TestProcess::start(command, &dir, "Ctrl-C stops it").unwrap();
        let told = server.said().to_owned();
        assert_eq!(told.contains("(shown once)"), start == 1, "{told}");
        let header = dir.join("demo.header");
        assert_eq!(mode(&header), 0o600);
        headers.push(std::fs::read_to_string(&header).unwrap());
        let line = told
            .lines()
            .find(|line| line.starts_with("curl "))
            .unwrap()
            .to_owned();
        let key = headers
            .last()
            .unwrap()
            .trim()
            .strip_prefix("X-API-Key: ")
            .unwrap();
        assert!(!told.contains(key), "no secret on a command line");
        let answer = Command::new("sh").args(["-c", &line]).output();
        let answer = answer.expect("a shell and curl: apt-get install curl");
        let usage: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
        let buckets = usage["buckets"].as_array().unwrap();
        // 14 days of London time; the 31st of March has 23 hours.
        let counts: Vec<u64> = buckets
            .iter()
            .map(|bucket| bucket["count"].as_u64().unwrap())
            .collect();
        let expected: Vec<u64> = (25..39)
            .map(|day| if day == 31 { 46 } else { 48 })
            .collect();
        assert_eq!(counts, expected);
        assert_eq!(server.stop(Signal::INT).unwrap(), 0);
    }
    assert_ne!(headers[0], headers[1], "every start has a key of its own");
    let verified = binary().run(["verify", "--json", "--dir", &text(&dir)]);
    assert_eq!(
        (verified.code, &verified.json()["readings"]),
        (0, &98_283.into())
    );
}

#[test]
fn a_demo_that_cannot_listen_says_so_and_still_tells_the_password() {
    let place = tempfile::tempdir().unwrap();
    let dir = text(&place.path().join("demo"));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = binary().run(["demo", "--dir", &dir, "--listen", &address]);
    let said: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(said.len(), 2, "{}", ran.stderr);
    let (password, error) = (said[0], said[1]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        password.starts_with("password of admin (shown once): "),
        "{password}"
    );
    let expected = format!(
        "ems: {address} cannot be listened on; choose another by server.listen or --listen: "
    );
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(error.matches("in use").count(), 1, "{error}");
}
