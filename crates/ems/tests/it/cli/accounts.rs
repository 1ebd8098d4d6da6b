//! `ems user` and `ems key`: the same whether a server runs or not.

use ems_api::{ErrorCode, client::Client, domain::Role};
use ems_crypto::totp::TotpSecret;
use ems_testkit::{Signal, secret_file};

use super::{Home, mode, text};

/// The `state`-like fields of the users by name.
fn users(home: &Home) -> Vec<(String, bool)> {
    let listed = home.run("user list --json", &[]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let listed = listed.json();
    let users = listed.as_array().unwrap().iter();
    users
        .map(|user| {
            let name = user["username"].as_str().unwrap().to_owned();
            (name, user["disabled"].as_bool().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_made_renewed_and_shut_out_with_and_without_a_server() {
    let home = Home::new();
    for round in ["offline", "online"] {
        let running = (round == "online").then(|| home.serve());
        let name = format!("{round}-bob");
        let made = home.run(
            "user add --json",
            &[
                &name,
                "--role",
                "viewer",
                "--meters",
                "plant7-*,m1",
                "--generate",
            ],
        );
        assert_eq!(made.code, 0, "{}", made.stderr);
        assert_eq!(made.json()["meters"], serde_json::json!(["plant7-*", "m1"]));
        let first = made.json()["password"].as_str().unwrap().to_owned();
        let taken = home.run("user add", &[&name, "--role", "analyst", "--generate"]);
        assert_eq!(taken.code, 1);
        assert!(taken.stderr.contains("409 conflict"), "{}", taken.stderr);
        let file = secret_file(&home.path("password"), "a quite new password\n").unwrap();
        let renewed = home.run("user passwd", &[&name, "--password-file", &text(&file)]);
        assert_eq!(renewed.code, 0, "{}", renewed.stderr);
        assert!(!renewed.stdout.contains("quite new"));

        let server = running.unwrap_or_else(|| home.serve());
        let client = server.client().unwrap();
        let refused = client.login(&name, &first).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::InvalidCredentials));
        let bob = client
            .logged_in(&name, "a quite new password")
            .await
            .unwrap();
        assert_eq!(bob.me().await.unwrap().role, Role::Viewer);
        let disabled = home.run("user disable", &[&name]);
        assert_eq!(disabled.code, 0, "{}", disabled.stderr);
        assert_eq!(
            bob.me().await.unwrap_err().status(),
            Some(401),
            "at the next request"
        );
        assert!(users(&home).contains(&(name.clone(), true)));
        assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
        assert!(users(&home).contains(&(name, true)));
    }
}

/// Gives a user a second factor by the machine's clock.
async fn enrol(user: &Client, password: &str) {
    let made = user.enrol_mfa(password).await.unwrap();
    let secret = TotpSecret::try_from(made.secret.expose().to_owned()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let code = secret.code(now.unwrap().as_secs());
    user.confirm_mfa(&code).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_second_factor_is_taken_away_with_and_without_a_server() {
    let home = Home::new();
    let (name, password) = ems_testkit::ADMIN;
    for round in ["offline", "online"] {
        let server = home.serve();
        let enrolled = server.client().unwrap();
        let own = enrolled.logged_in(name, password).await.unwrap();
        enrol(&own, password).await;
        let refused = enrolled.login(name, password).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::OtpRequired));
        let mut running = Some(server);
        if round == "offline"
            && let Some(server) = running.take()
        {
            assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
        }
        let reset = home.run("user mfa-reset --json", &[name]);
        assert_eq!(reset.code, 0, "{}", reset.stderr);
        assert_eq!(reset.json()["username"], name);
        let server = running.unwrap_or_else(|| home.serve());
        let ended = own.me().await.unwrap_err();
        assert!(round == "offline" || ended.status() == Some(401), "{ended}");
        let client = server.client().unwrap();
        client.login(name, password).await.unwrap();
        let none = home.run("user mfa-reset", &[name]);
        assert_eq!(none.code, 1);
        assert!(none.stderr.contains("404 not_found"), "{}", none.stderr);
    }
}

#[test]
fn the_last_admin_cannot_be_shut_out() {
    let home = Home::new();
    let ran = home.run("user disable", &[ems_testkit::ADMIN.0]);
    assert_eq!(ran.code, 1);
    assert_eq!(users(&home), [(ems_testkit::ADMIN.0.to_owned(), false)]);
}

#[test]
fn a_password_comes_from_no_command_line_and_a_viewer_needs_meters() {
    let home = Home::new();
    let ran = home.run("user add", &["bob", "--role", "analyst"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("--password-file"), "{}", ran.stderr);
    let ran = home.run("user add", &["bob", "--role", "analyst", "--password", "x"]);
    assert_eq!(ran.code, 64);
    let ran = home.run("user add", &["bob", "--role", "viewer", "--generate"]);
    assert_eq!(ran.code, 64);
    assert!(ran.stderr.contains("--meters"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_rotated_and_revoked_with_and_without_a_server() {
    let home = Home::new();
    let mut keys = Vec::new();
    for round in ["offline", "online"] {
        let running = (round == "online").then(|| home.serve());
        let file = home.path(round);
        let made = home.run(
            "key create --json",
            &[
                "Head-end",
                "--role",
                "meter_reader",
                "--meters",
                "plant7-*",
                "--key-file",
                &text(&file),
            ],
        );
        assert_eq!(made.code, 0, "{}", made.stderr);
        assert_eq!(mode(&file), 0o600);
        let key = std::fs::read_to_string(&file).unwrap().trim().to_owned();
        let id = made.json()["id"].as_str().unwrap().to_owned();
        assert!(key.starts_with(&format!("ems_{id}_")) && !made.stdout.contains(&key));
        let kept = home.run(
            "key create",
            &[
                "x",
                "--role",
                "viewer",
                "--meters",
                "a",
                "--key-file",
                &text(&file),
            ],
        );
        assert_eq!(kept.code, 1, "a file that is there is not written over");

        let rotated = home.run("key rotate --json", &[&id]);
        assert_eq!(rotated.code, 0, "{}", rotated.stderr);
        let successor = rotated.json()["key"].as_str().unwrap().to_owned();
        let server = running.unwrap_or_else(|| home.serve());
        let client = server.client().unwrap();
        for key in [&key, &successor] {
            let me = client.with_api_key(key).me().await.unwrap();
            assert_eq!(me.role, Role::MeterReader);
        }
        assert_eq!(home.run("key revoke", &[&id]).code, 0);
        let refused = client.with_api_key(&key).me().await.unwrap_err();
        assert_eq!(
            refused.code(),
            Some(ErrorCode::InvalidApiKey),
            "at the next request"
        );
        client.with_api_key(&successor).me().await.unwrap();
        assert_eq!(home.run("key revoke", &["00000000"]).code, 1);
        keys.extend([id, rotated.json()["id"].as_str().unwrap().to_owned()]);
        server.stop(Signal::TERM).unwrap();
    }
    let listed = home.run("key list --json", &[]).json();
    let listed: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|key| key["id"].as_str())
        .collect();
    for successor in [&keys[1], &keys[3]] {
        assert!(listed.contains(&successor.as_str()), "{listed:?}");
    }
}
