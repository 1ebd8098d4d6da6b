//! The second factor, and what passwords may be.

use std::time::Duration;

use ems_core::{clock::Clock as _, role::Role};
use ems_crypto::totp::TotpSecret;
use ems_testkit::{ADMIN, Answer, Caller, TestServer};
use serde_json::{Value, json};

const MFA: &str = "/api/v1/auth/mfa";
const CONFIRM: &str = "/api/v1/auth/mfa/confirm";
const TOKEN: &str = "/api/v1/auth/token";

/// The code of this moment.
fn code(server: &TestServer, secret: &TotpSecret) -> String {
    let seconds = server.clock().now().as_seconds();
    secret.code(u64::try_from(seconds).unwrap()).to_string()
}

/// A code of the next step, which nobody has used.
fn next_code(server: &TestServer, secret: &TotpSecret) -> String {
    server.clock().advance(Duration::from_secs(30));
    code(server, secret)
}

/// Enrols a caller whose password is that of [`ADMIN`]; the secret and the recovery codes.
async fn enrolled(server: &TestServer, caller: &Caller) -> (TotpSecret, Vec<String>) {
    let made = caller.post(MFA, &json!({ "password": ADMIN.1 })).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(made["otpauth_uri"].as_str().unwrap().contains(&secret));
    let secret = TotpSecret::try_from(secret).unwrap();
    let otp = json!({ "otp": code(server, &secret) });
    let done = caller.post(CONFIRM, &otp).await;
    assert_eq!(done.status, 204, "{}", done.text());
    let codes = made["recovery_codes"].as_array().unwrap().iter();
    (
        secret,
        codes
            .map(|code| code.as_str().unwrap().to_owned())
            .collect(),
    )
}

async fn log_in(server: &TestServer, name: &str, otp: Option<&str>) -> Answer {
    let mut body = json!({ "username": name, "password": ADMIN.1 });
    if let Some(otp) = otp {
        body["otp"] = json!(otp);
    }
    server.nobody().post(TOKEN, &body).await
}

async fn mfa(caller: &Caller) -> Value {
    caller.get("/api/v1/auth/me").await.json()["mfa"].clone()
}

async fn remove(caller: &Caller, password: &str, otp: &str) -> Answer {
    let body = json!({ "password": password, "otp": otp });
    Answer::of(caller.request("DELETE", MFA).json(&body)).await
}

#[tokio::test]
async fn a_user_with_a_second_factor_logs_in_by_password_and_code() {
    let server = TestServer::start().await;
    let viewer = server.user(Role::Viewer).await;
    assert_eq!(mfa(&viewer).await, json!(false));
    let (secret, recovery) = enrolled(&server, &viewer).await;
    assert_eq!((mfa(&viewer).await, recovery.len()), (json!(true), 10));
    let asked = log_in(&server, "viewer", None).await;
    assert_eq!(asked.verdict(), (401, "otp_required".into()));
    assert_eq!(asked.json()["title"], "One-time code required");

    let otp = next_code(&server, &secret);
    assert_eq!(log_in(&server, "viewer", Some(&otp)).await.status, 200);
    // Spent, and wrong: the answer of a wrong password.
    let spent = log_in(&server, "viewer", Some(&otp)).await;
    let body = json!({ "username": "viewer", "password": "wrong, all wrong", "otp": otp });
    let wrong = server.nobody().post(TOKEN, &body).await;
    let without_id = |answer: &Answer| {
        let mut body = answer.json();
        body.as_object_mut().unwrap().remove("request_id");
        (answer.status, body)
    };
    assert_eq!(without_id(&spent), without_id(&wrong));
    assert_eq!(wrong.verdict(), (401, "invalid_credentials".into()));
    assert_eq!(
        log_in(&server, "viewer", Some(&recovery[4])).await.status,
        200
    );
    assert_eq!(
        log_in(&server, "viewer", Some(&recovery[4])).await.status,
        401
    );

    let metrics = server.client().get(server.metrics_url().unwrap());
    let page = metrics.send().await.unwrap().text().await.unwrap();
    for line in [
        r#"ems_logins_total{method="otp",outcome="ok"} 1"#,
        r#"ems_logins_total{method="otp",outcome="refused"} 2"#,
        r#"ems_logins_total{method="recovery",outcome="ok"} 1"#,
        r#"ems_logins_total{method="recovery",outcome="refused"} 1"#,
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    let place = server.stop().await.unwrap();
    let log = std::fs::read_to_string(place.path().join("instance/log/security.log")).unwrap();
    for said in ["mfa_begin", "mfa_enable", "otp_required", "wrong_code"] {
        assert!(log.contains(said), "{said}\n{log}");
    }
    assert!(!log.contains(&*secret.base32()) && !log.contains(&recovery[0]));
}

#[tokio::test]
async fn guesses_of_a_code_are_bounded_by_the_account() {
    let server = TestServer::start().await;
    let viewer = server.user(Role::Viewer).await;
    let (secret, recovery) = enrolled(&server, &viewer).await;
    server.clock().advance(Duration::from_secs(90));
    let right = code(&server, &secret);
    let guess = if right == "000000" {
        "000001"
    } else {
        "000000"
    };
    for _ in 0..10 {
        let refused = log_in(&server, "viewer", Some(guess)).await;
        assert_eq!(refused.verdict(), (401, "invalid_credentials".into()));
    }
    for good in [&right, &recovery[0]] {
        let refused = log_in(&server, "viewer", Some(good)).await;
        assert_eq!(refused.verdict(), (401, "invalid_credentials".into()));
    }
    server.clock().advance(Duration::from_mins(15));
    assert_eq!(
        log_in(&server, "viewer", Some(&recovery[0])).await.status,
        200
    );
    let place = server.stop().await.unwrap();
    let log = std::fs::read_to_string(place.path().join("instance/log/security.log")).unwrap();
    assert!(log.contains("too_many_wrong_codes"), "{log}");
}

#[tokio::test]
async fn where_it_is_required_an_admin_without_one_sees_to_that_alone() {
    let server = TestServer::builder()
        .set("auth.require_mfa", "true")
        .start()
        .await;
    let admin = server.admin().await;
    for (method, path) in [
        ("GET", "/api/v1/users"),
        ("GET", "/api/v1/meters"),
        ("GET", "/api/v1/data/secure"),
        ("DELETE", "/api/v1/data/m1"),
        ("GET", "/api/v1/keyring"),
    ] {
        let refused = Answer::of(admin.request(method, path)).await;
        assert_eq!(
            refused.verdict(),
            (403, "insufficient_permissions".into()),
            "{path}"
        );
    }
    assert_eq!(mfa(&admin).await, json!(false));
    let (secret, _) = enrolled(&server, &admin).await;
    assert_eq!(admin.get("/api/v1/users").await.status, 200);
    // A key is no person: one of role admin works as before. Other roles need no second factor.
    let key = json!({ "name": "k", "role": "admin", "meters": ["*"] });
    let key = admin.post("/api/v1/keys", &key).await.json();
    let key = server.nobody().api_key(key["key"].as_str().unwrap());
    assert_eq!(key.get("/api/v1/users").await.status, 200);
    let analyst = json!({ "username": "ann", "password": ADMIN.1, "role": "analyst" });
    assert_eq!(admin.post("/api/v1/users", &analyst).await.status, 201);
    let analyst = server.nobody().bearer(&server.log_in("ann", ADMIN.1).await);
    assert_eq!(analyst.get("/api/v1/meters").await.status, 200);

    let kept = remove(&admin, ADMIN.1, &next_code(&server, &secret)).await;
    assert_eq!(kept.verdict(), (403, "insufficient_permissions".into()));
    // Made an admin, the analyst is held to it at the next request.
    let role = json!({ "role": "admin" });
    assert_eq!(admin.patch("/api/v1/users/ann", &role).await.status, 200);
    assert_eq!(analyst.get("/api/v1/meters").await.status, 403);
}

#[tokio::test]
async fn it_is_given_up_with_both_and_taken_away_by_an_admin() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let viewer = server.user(Role::Viewer).await;
    assert_eq!(remove(&viewer, ADMIN.1, "123456").await.status, 404);
    let (secret, _) = enrolled(&server, &viewer).await;
    let again = viewer.post(MFA, &json!({ "password": ADMIN.1 })).await;
    assert_eq!(again.verdict(), (409, "conflict".into()));
    let faults = async |password: &str, otp: &str| {
        let refused = remove(&viewer, password, otp).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        refused
            .faults()
            .into_iter()
            .map(|(_, pointer, _)| pointer)
            .collect::<Vec<_>>()
    };
    let otp = next_code(&server, &secret);
    assert_eq!(faults("wrong, all wrong", &otp).await, ["/password"]);
    assert_eq!(faults(ADMIN.1, "no code").await, ["/otp"]);
    let stale = if otp == "000000" { "000001" } else { "000000" };
    assert_eq!(faults(ADMIN.1, stale).await, ["/otp"]);
    assert_eq!(remove(&viewer, ADMIN.1, &otp).await.status, 204);
    assert_eq!(log_in(&server, "viewer", None).await.status, 200);

    enrolled(&server, &viewer).await;
    let shown = admin.get("/api/v1/users/viewer").await;
    assert_eq!(shown.json()["mfa"], json!(true));
    assert!(!shown.text().contains("secret"));
    let place = "/api/v1/users/viewer/mfa";
    assert_eq!(viewer.delete(place).await.status, 403);
    assert_eq!(admin.delete(place).await.status, 204);
    assert_eq!(admin.delete(place).await.status, 404);
    assert_eq!(
        viewer.get("/api/v1/auth/me").await.status,
        401,
        "its sessions ended"
    );
    assert_eq!(log_in(&server, "viewer", None).await.status, 200);
}

#[tokio::test]
async fn no_easily_guessed_password_is_taken_wherever_it_is_set() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    for weak in [
        "unbelievable",
        "Qwertyuiop12",
        "aaaaaaaaaaaa",
        "weak-weak-weak",
        "newcomer-123",
    ] {
        let new = json!({ "username": "newcomer", "password": weak, "role": "analyst" });
        let refused = admin.post("/api/v1/users", &new).await;
        let expected = [(None, "/password".into(), "invalid_format".into())];
        assert_eq!(refused.faults(), expected, "{weak}: {}", refused.text());
        assert!(!refused.text().contains(weak));
    }
    let common = json!({ "username": "newcomer", "password": "unbelievable", "role": "analyst" });
    let refused = admin.post("/api/v1/users", &common).await;
    let detail = refused.json()["errors"][0]["detail"].clone();
    assert!(
        detail.as_str().unwrap().contains("commonly used"),
        "{detail}"
    );
    let own = json!({ "current": ADMIN.1, "new": "1qaz2wsx3edc" });
    let refused = admin.put("/api/v1/auth/password", &own).await;
    assert_eq!(
        refused.faults(),
        [(None, "/new".into(), "invalid_format".into())]
    );
    let place = format!("/api/v1/users/{}", ADMIN.0);
    let refused = admin
        .patch(&place, &json!({ "password": "motherfucker" }))
        .await;
    assert_eq!(
        refused.faults(),
        [(None, "/password".into(), "invalid_format".into())]
    );
}
