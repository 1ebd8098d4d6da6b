//! `ems init`.

use std::fs;

use super::{Home, binary, mode, text};

#[tokio::test(flavor = "multi_thread")]
async fn makes_an_instance_whose_admin_can_log_in_with_the_password_shown_once() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("new");
    let ran = binary().run(["init", "--json", "--admin", "alice", "--dir", &text(&dir)]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let password = ran.json()["password"].as_str().unwrap().to_owned();
    for (file, expected) in [
        ("", 0o700),
        ("secrets", 0o700),
        ("secrets/root.key", 0o600),
        ("secrets/token.key", 0o600),
        ("secrets/pepper", 0o600),
        ("secrets/ca.key", 0o600),
        ("tls/server.key", 0o600),
        ("ems.toml", 0o600),
    ] {
        assert_eq!(mode(&dir.join(file)), expected, "{file:?}");
    }
    let server = binary().serve(&dir, &[]).unwrap();
    let alice = server
        .client()
        .unwrap()
        .logged_in("alice", &password)
        .await
        .unwrap();
    assert_eq!(alice.me().await.unwrap().name, "alice");
    let found = ems_testkit::files(&dir).unwrap();
    let holds = |content: &[u8]| {
        content
            .windows(password.len())
            .any(|w| w == password.as_bytes())
    };
    assert!(
        !found.iter().any(|(_, content)| holds(content)),
        "the password is in a file"
    );
}

#[test]
fn refuses_a_directory_in_use_and_leaves_it_as_it_was() {
    let home = Home::new();
    let before = ems_testkit::files(&home.dir()).unwrap();
    let ran = home.run("init", &[]);
    assert_eq!(ran.code, 64, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("holds an instance already"),
        "{}",
        ran.stderr
    );
    assert_eq!(ems_testkit::files(&home.dir()).unwrap(), before);
}

#[test]
fn what_was_cut_short_is_neither_served_nor_made_again() {
    let home = Home::new();
    // All but the last step.
    fs::remove_file(home.dir().join("ems.toml")).unwrap();
    let again = home.run("init", &[]);
    assert_eq!(again.code, 64);
    assert!(again.stderr.contains("cut short"), "{}", again.stderr);
    assert_eq!(home.run("serve", &[]).code, 64);
    assert_eq!(home.run("demo", &[]).code, 64);
}

#[test]
fn takes_a_password_from_a_private_file_only() {
    let place = tempfile::tempdir().unwrap();
    let file =
        ems_testkit::secret_file(&place.path().join("password"), "correct horse battery").unwrap();
    super::set_mode(&file, 0o640);
    let dir = text(&place.path().join("new"));
    let args = ["init", "--dir", &dir, "--admin-password-file", &text(&file)];
    let ran = binary().run(args);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("mode 0640"), "{}", ran.stderr);
    super::set_mode(&file, 0o600);
    let ran = binary().run(args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stdout.contains("correct horse"));
}
