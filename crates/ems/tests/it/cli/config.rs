//! `ems config` and `ems health`.

use ems_testkit::Signal;

use super::{Home, binary, text};

#[test]
fn shows_the_effective_settings_and_no_secret() {
    let home = Home::new();
    let mut command = binary().command(["config", "show", "--dir"]);
    command
        .arg(home.dir())
        .env("EMS_LIMITS__KEY_PER_HOUR", "17");
    command.env("JWT_SECRET_KEY", "a secret that nobody may be shown");
    let shown = command.output().unwrap();
    let toml = String::from_utf8(shown.stdout).unwrap();
    assert!(toml.contains("key_per_hour = 17"), "{toml}");
    assert!(toml.contains("user_per_hour = 10000"), "{toml}");
    assert!(!toml.contains("nobody may be shown"), "{toml}");
    let json = home.run("config show --json", &[]).json();
    assert_eq!(json["limits"]["batch_rows"], 100_000);
    assert_eq!(
        json["store"]["dir"],
        text(&home.dir().join("data")).as_str()
    );
}

#[test]
fn a_sound_file_is_sound_and_a_missing_one_is_named() {
    let home = Home::new();
    let config = text(&home.dir().join("ems.toml"));
    assert_eq!(
        binary().run(["config", "check", "--config", &config]).code,
        0
    );
    let missing = binary().run(["config", "check", "--config", "/nonexistent/ems.toml"]);
    assert_eq!(missing.code, 64);
    assert!(
        missing.stderr.contains("/nonexistent/ems.toml"),
        "{}",
        missing.stderr
    );
}

#[test]
fn health_tells_a_server_that_is_ready_from_one_that_is_gone() {
    let home = Home::new();
    let server = home.serve();
    let url = server.url().to_owned();
    let ran = home.run("health --json", &["--url", &url]);
    assert_eq!(
        (ran.code, &ran.json()["status"]),
        (0, &"ready".into()),
        "{}",
        ran.stderr
    );
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
    let ran = home.run("health", &["--url", &url]);
    assert_eq!(
        (ran.code, ran.stderr.lines().count()),
        (1, 1),
        "{}",
        ran.stderr
    );
}
