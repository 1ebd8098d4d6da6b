//! `ems serve`: start, end, and what is refused at start.

use std::fs;

use ems_testkit::Signal;

use super::{Home, set_mode};

#[tokio::test(flavor = "multi_thread")]
async fn drains_and_ends_with_0_at_either_signal() {
    let home = Home::new();
    for signal in [Signal::TERM, Signal::INT] {
        let server = home.serve();
        assert_eq!(
            server.client().unwrap().health().await.unwrap().status,
            "healthy"
        );
        assert_eq!(server.stop(signal).unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_with_the_address_is_json_where_asked() {
    let home = Home::new();
    let mut command =
        super::binary().command(["serve", "--json", "--listen", "127.0.0.1:0", "--dir"]);
    command
        .arg(home.dir())
        .env("EMS_SERVER__METRICS_LISTEN", "127.0.0.1:0");
    let server = ems_testkit::TestProcess::start(command, &home.dir(), "url").unwrap();
    assert_eq!(
        server.client().unwrap().ready().await.unwrap().status,
        "ready"
    );
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let home = Home::new();
    let _first = home.serve();
    let second = home.run("serve", &["--listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 1);
    assert!(
        second.stderr.contains("in use by another process"),
        "{}",
        second.stderr
    );
    assert_eq!(home.run("verify", &[]).code, 1);
}

#[test]
fn commands_at_once_wait_for_each_other() {
    let home = Home::new();
    let create = |n: usize| {
        let create = "key create --role admin --meters *";
        let ran = home.run(create, &[&format!("script-{n}")]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    };
    std::thread::scope(|scope| {
        for n in 0..4 {
            scope.spawn(move || create(n));
        }
    });
    let keys = home.run("key list --json", &[]);
    assert_eq!(keys.stdout.matches("script-").count(), 4, "{}", keys.stdout);
}

#[test]
fn secrets_that_others_can_read_are_refused_all_named_at_once() {
    let home = Home::new();
    for (file, mode) in [("root.key", 0o604), ("token.key", 0o640), ("pepper", 0o660)] {
        set_mode(&home.dir().join("secrets").join(file), mode);
    }
    set_mode(&home.dir().join("tls/server.key"), 0o644);
    let ran = home.run("serve", &[]);
    assert_eq!(ran.code, 64);
    for file in ["root.key", "token.key", "pepper", "server.key"] {
        assert!(ran.stderr.contains(file), "{file}: {}", ran.stderr);
    }
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let home = Home::new();
    let config = home.dir().join("ems.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("[log]\n", "[log]\nlevle = \"info\"\n");
    let text = text.replace("listen = \"127.0.0.1:8000\"", "listen = \"nowhere\"");
    fs::write(&config, text).unwrap();
    fs::remove_file(home.dir().join("secrets/pepper")).unwrap();
    // The key of another certificate.
    let other = Home::new();
    fs::copy(
        other.dir().join("tls/server.key"),
        home.dir().join("tls/server.key"),
    )
    .unwrap();
    for command in ["serve", "config check"] {
        let ran = home.run(command, &[]);
        assert_eq!((ran.code, ran.stdout.as_str()), (64, ""));
        for named in ["levle", "server.listen", "pepper", "server.cert"] {
            assert!(ran.stderr.contains(named), "{named}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_role_of_several_needs_a_store_of_several() {
    let home = Home::new();
    let ran = home.run("serve", &["--role", "gateway", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("mongo"), "{}", ran.stderr);
}
