//! Sessions as clients see them.

use serde_json::json;

use crate::testing::{Instance, PASSWORD, bearer};

#[tokio::test]
async fn a_login_gives_a_pair_that_opens_what_needs_a_credential() {
    let server = Instance::new(&[("auth.access_ttl", "30m")]);
    server.user("alice", "viewer").await;
    let tokens = server.log_in("alice", PASSWORD).await;
    assert_eq!(
        (&tokens.json()["token_type"], &tokens.json()["expires_in"]),
        (&json!("Bearer"), &json!(1800))
    );
    let authorization = bearer(&tokens);
    let as_alice = [("authorization", authorization.as_str())];
    let greeting = server.ask("GET /api/v1/data/secure", &as_alice, "").await;
    assert_eq!(
        greeting.json(),
        json!({"message": "Hello alice, this is a secure endpoint"})
    );
    let me = server
        .ask("GET /api/v1/auth/me", &as_alice, "")
        .await
        .json();
    assert_eq!(
        (&me["name"], &me["role"], &me["meters"]),
        (&json!("alice"), &json!("viewer"), &json!(["*"]))
    );
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let server = Instance::new(&[]);
    server.user("alice", "viewer").await;
    let wrong = server.log_in("alice", "not the password").await;
    let unknown = server.log_in("nobody", PASSWORD).await;
    assert_eq!((wrong.status.as_u16(), unknown.status.as_u16()), (401, 401));
    let without_id = |mut body: serde_json::Value| {
        body.as_object_mut().unwrap().remove("request_id");
        body
    };
    assert_eq!(without_id(wrong.json()), without_id(unknown.json()));
    assert_eq!(wrong.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn names_every_fault_of_a_login() {
    let server = Instance::new(&[]);
    let body = json!({"username": "a b", "password": 7, "otp": "12", "remember": true});
    let answer = server.ask_json("POST /api/v1/auth/token", &[], &body).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (422, "invalid_request")
    );
    let problem = answer.json();
    let mut faults: Vec<(&str, &str)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            (
                fault["pointer"].as_str().unwrap(),
                fault["code"].as_str().unwrap(),
            )
        })
        .collect();
    faults.sort_unstable();
    assert_eq!(
        faults,
        [
            ("/otp", "invalid_format"),
            ("/password", "wrong_type"),
            ("/remember", "unknown_field"),
            ("/username", "invalid_format"),
        ]
    );
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_theft_ends_the_session() {
    let server = Instance::new(&[]);
    server.user("alice", "viewer").await;
    let renew = async |token: &serde_json::Value| {
        let body = json!({"refresh_token": token});
        server
            .ask_json("POST /api/v1/auth/refresh", &[], &body)
            .await
    };
    let first = server.log_in("alice", PASSWORD).await.json();
    let second = renew(&first["refresh_token"]).await;
    assert_eq!(second.status, 200);
    let third = renew(&second.json()["refresh_token"]).await;
    assert_eq!(third.status, 200);
    assert_eq!(
        renew(&first["refresh_token"]).await.status,
        401,
        "used two turns ago: stolen"
    );
    assert_eq!(renew(&third.json()["refresh_token"]).await.status, 401);
    let access = bearer(&third);
    let me = server
        .ask("GET /api/v1/auth/me", &[("authorization", &access)], "")
        .await;
    assert_eq!(me.status, 401);
    assert_eq!(renew(&json!("nonsense")).await.status, 401);
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions_only() {
    let server = Instance::new(&[]);
    let here = server.user("alice", "viewer").await;
    let there = bearer(&server.log_in("alice", PASSWORD).await);
    let change = async |current: &str| {
        let body = json!({"current": current, "new": "another long passphrase"});
        server
            .ask_json(
                "PUT /api/v1/auth/password",
                &[("authorization", &here)],
                &body,
            )
            .await
    };
    let refused = change("not the password").await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/current");
    assert_eq!(change(PASSWORD).await.status, 204);
    let me = async |token: &str| {
        server
            .ask("GET /api/v1/auth/me", &[("authorization", token)], "")
            .await
    };
    assert_eq!(
        (
            me(&here).await.status.as_u16(),
            me(&there).await.status.as_u16()
        ),
        (200, 401)
    );
    assert_eq!(server.log_in("alice", PASSWORD).await.status, 401);
    assert_eq!(
        server
            .log_in("alice", "another long passphrase")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_key_has_no_session_to_leave() {
    let server = Instance::new(&[]);
    let body = json!({"name": "k", "role": "viewer", "meters": ["*"]});
    let key = server.administer("POST /api/v1/keys", &body).await.json();
    let as_key = [("x-api-key", key["key"].as_str().unwrap())];
    assert_eq!(
        server
            .ask("POST /api/v1/auth/logout", &as_key, "")
            .await
            .status,
        403
    );
}
