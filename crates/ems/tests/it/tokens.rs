//! Credentials that are not, not yet or no longer good: whatever is wrong, outside it looks the
//! same.

use std::{fs, time::Duration};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ems_core::{clock::Clock, role::Role};
use ems_crypto::{
    hash::sha256,
    token::{Algorithm, Claims, TokenKeys},
};
use ems_testkit::{ADMIN, Answer, TestServer};
use serde_json::{Value, json};

const ME: &str = "/api/v1/auth/me";

/// HMAC-SHA-256 by RFC 2104, written out, so that a token can be signed that no library of ours
/// would sign.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&sha256(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner: Vec<u8> = block
        .iter()
        .map(|byte| byte ^ 0x36)
        .chain(message.iter().copied())
        .collect();
    let outer: Vec<u8> = block
        .iter()
        .map(|byte| byte ^ 0x5c)
        .chain(sha256(&inner))
        .collect();
    sha256(&outer)
}

/// A token of any header and claims, signed HS256 with any key.
pub(crate) fn signed(header: &Value, claims: &Value, key: &[u8]) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = BASE64URL_NOPAD.encode(&hmac(key, message.as_bytes()));
    format!("{message}.{signature}")
}

pub(crate) fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()).unwrap()
}

/// The key that the server signs with.
fn real_key(server: &TestServer) -> Vec<u8> {
    let text = fs::read_to_string(server.dir().join("secrets/token.key")).unwrap();
    TokenKeys::parse_file(&text).unwrap().remove(0).to_vec()
}

/// A value with one field replaced.
fn with(value: &Value, field: &str, new: impl Into<Value>) -> Value {
    let mut value = value.clone();
    value[field] = new.into();
    value
}

/// A value without one field.
fn without(value: &Value, field: &str) -> Value {
    let mut value = value.clone();
    value.as_object_mut().unwrap().remove(field);
    value
}

/// The body of a refusal without what differs by request.
fn anonymised(answer: &Answer) -> Value {
    without(&answer.json(), "request_id")
}

/// Every token that is wrong in one way, by what is wrong.
fn bad_tokens(server: &TestServer, good: &str) -> Vec<(&'static str, String)> {
    let (header, claims, key) = (part(good, 0), part(good, 1), real_key(server));
    let now = u64::try_from(server.clock().now().as_seconds()).unwrap();
    let claim = |field: &str, value: Value| signed(&header, &with(&claims, field, value), &key);
    let head = |field: &str, value: Value| signed(&with(&header, field, value), &claims, &key);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let none = signed(&with(&header, "alg", "none"), &claims, &key);
    let mut flipped = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    flipped[0] ^= 1;
    vec![
        ("empty", String::new()),
        ("text", "hello".to_owned()),
        ("three empty parts", "..".to_owned()),
        ("another key", signed(&header, &claims, &[7; 48])),
        (
            "a flipped bit",
            format!("{message}.{}", BASE64URL_NOPAD.encode(&flipped)),
        ),
        ("no signature", format!("{message}.")),
        ("alg none", none.clone()),
        (
            "alg none, unsigned",
            format!("{}.", none.rsplit_once('.').unwrap().0),
        ),
        ("alg HS512", head("alg", "HS512".into())),
        ("alg EdDSA", head("alg", "EdDSA".into())),
        ("alg RS256", head("alg", "RS256".into())),
        ("typ JWT", head("typ", "JWT".into())),
        ("another kid", head("kid", "0000000000000000".into())),
        ("a kid that is a path", head("kid", "../../dev/null".into())),
        (
            "an own key",
            head("jwk", json!({ "kty": "oct", "k": "AAAA" })),
        ),
        ("expired", claim("exp", now.into())),
        ("not valid yet", claim("nbf", (now + 1).into())),
        ("issued in the future", claim("iat", (now + 1).into())),
        ("another issuer", claim("iss", "someone".into())),
        ("another audience", claim("aud", "someone".into())),
        ("audiences", claim("aud", json!([claims["aud"]]))),
        ("exp as text", claim("exp", (now + 60).to_string().into())),
        ("exp as a fraction", claim("exp", json!(1e12_f64 + 0.5))),
        ("exp of null", claim("exp", Value::Null)),
        ("sub as a number", claim("sub", 7.into())),
        ("no exp", signed(&header, &without(&claims, "exp"), &key)),
        ("no jti", signed(&header, &without(&claims, "jti"), &key)),
        ("an unknown claim", claim("admin", true.into())),
        ("another user", claim("sub", ADMIN.0.into())),
        (
            "a jti never issued",
            claim("jti", "0000000000000000.0000000000000000000000".into()),
        ),
        ("a jti never issued of a real session", {
            let jti = claims["jti"].as_str().unwrap();
            let session = jti.split('.').next().unwrap();
            claim("jti", format!("{session}.0000000000000000000000").into())
        }),
        ("a jti of no form", claim("jti", "x".into())),
    ]
}

#[tokio::test]
async fn a_token_that_is_wrong_in_any_way_gets_the_same_401() {
    let server = TestServer::start().await;
    let good = server.token_for(Role::Viewer).await;
    let me = async |token: &str| server.nobody().bearer(token).get(ME).await;
    assert_eq!(me(&good).await.status, 200);
    // What is signed by hand is good where nothing is wrong with it: the test can tell.
    let again = signed(&part(&good, 0), &part(&good, 1), &real_key(&server));
    assert_eq!(me(&again).await.status, 200);

    let expected = json!({
        "type": "/docs#invalid_credentials",
        "title": "No valid credential",
        "status": 401,
        "detail": "Invalid authentication credentials",
        "code": "invalid_credentials",
        "error": "Invalid authentication credentials",
    });
    for (what, token) in bad_tokens(&server, &good) {
        let answer = me(&token).await;
        assert_eq!(
            (answer.status, anonymised(&answer)),
            (401, expected.clone()),
            "{what}"
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{what}");
    }
    let nothing = server.nobody().get(ME).await;
    assert_eq!((nothing.status, anonymised(&nothing)), (401, expected));
}

#[tokio::test]
async fn a_role_in_a_token_counts_for_nothing() {
    let server = TestServer::start().await;
    let good = server.token_for(Role::Viewer).await;
    let claims = with(&part(&good, 1), "role", "admin");
    let token = signed(&part(&good, 0), &claims, &real_key(&server));
    let answer = server.nobody().bearer(&token).get("/api/v1/users").await;
    assert_eq!(answer.verdict(), (403, "insufficient_permissions".into()));
}

#[tokio::test]
async fn a_token_signed_with_the_real_key_that_was_never_issued_is_refused() {
    let server = TestServer::start().await;
    let now = u64::try_from(server.clock().now().as_seconds()).unwrap();
    let keys = TokenKeys::new(Algorithm::Hs256, &real_key(&server), &[]).unwrap();
    let claims = Claims {
        sub: ADMIN.0.to_owned(),
        role: "admin".to_owned(),
        iat: now,
        nbf: now,
        exp: now + 3600,
        iss: "ems-agent".to_owned(),
        aud: "ems-api".to_owned(),
        jti: format!("{}.{}", "A".repeat(16), "B".repeat(22)),
    };
    let token = keys.sign(&claims).unwrap();
    assert_eq!(server.nobody().bearer(&token).get(ME).await.status, 401);
}

#[tokio::test]
async fn a_token_ends_with_its_hour() {
    let server = TestServer::start().await;
    let tokens = server.tokens(ADMIN.0, ADMIN.1).await;
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"]),
        (&json!("Bearer"), &json!(3600))
    );
    let me = server
        .nobody()
        .bearer(tokens["access_token"].as_str().unwrap());
    server.clock().advance(Duration::from_secs(3598));
    assert_eq!(me.get(ME).await.status, 200);
    server.clock().advance(Duration::from_secs(2));
    assert_eq!(me.get(ME).await.status, 401);
}

#[tokio::test]
async fn a_logout_kills_both_tokens_of_its_session_and_no_other() {
    let server = TestServer::start().await;
    let (gone, kept) = (
        server.tokens(ADMIN.0, ADMIN.1).await,
        server.tokens(ADMIN.0, ADMIN.1).await,
    );
    let caller = |tokens: &Value| {
        server
            .nobody()
            .bearer(tokens["access_token"].as_str().unwrap())
    };
    assert_eq!(caller(&gone).get(ME).await.status, 200);
    let out = Answer::of(caller(&gone).request("POST", "/api/v1/auth/logout")).await;
    assert_eq!(out.status, 204);
    assert_eq!(caller(&gone).get(ME).await.status, 401);
    let refresh = json!({ "refresh_token": gone["refresh_token"] });
    let refused = server.nobody().post("/api/v1/auth/refresh", &refresh).await;
    assert_eq!(refused.verdict(), (401, "invalid_credentials".into()));
    assert_eq!(caller(&kept).get(ME).await.status, 200);
}

async fn refresh(server: &TestServer, token: &Value) -> Answer {
    server
        .nobody()
        .post("/api/v1/auth/refresh", &json!({ "refresh_token": token }))
        .await
}

#[tokio::test]
async fn a_refresh_gives_a_new_pair_and_a_retry_within_seconds_is_no_theft() {
    let server = TestServer::start().await;
    let first = server.tokens(ADMIN.0, ADMIN.1).await;
    let second = refresh(&server, &first["refresh_token"]).await;
    assert_eq!(second.status, 200);
    assert_ne!(second.json()["refresh_token"], first["refresh_token"]);
    server.clock().advance(Duration::from_secs(5));
    let retry = refresh(&server, &first["refresh_token"]).await;
    assert_eq!(retry.status, 200, "{}", retry.text());
    let me = server
        .nobody()
        .bearer(retry.json()["access_token"].as_str().unwrap());
    assert_eq!(me.get(ME).await.status, 200);
}

#[tokio::test]
async fn a_refresh_token_used_twice_kills_its_whole_family() {
    let server = TestServer::start().await;
    let first = server.tokens(ADMIN.0, ADMIN.1).await;
    let second = refresh(&server, &first["refresh_token"]).await.json();
    server.clock().advance(Duration::from_mins(1));
    let me = server
        .nobody()
        .bearer(second["access_token"].as_str().unwrap());
    assert_eq!(me.get(ME).await.status, 200);
    let stolen = refresh(&server, &first["refresh_token"]).await;
    assert_eq!(stolen.verdict(), (401, "invalid_credentials".into()));
    assert_eq!(me.get(ME).await.status, 401);
    assert_eq!(refresh(&server, &second["refresh_token"]).await.status, 401);
}

#[tokio::test]
async fn a_session_ends_after_its_day_however_often_it_was_refreshed() {
    let server = TestServer::start().await;
    let mut tokens = server.tokens(ADMIN.0, ADMIN.1).await;
    for _ in 0..23 {
        server.clock().advance(Duration::from_hours(1));
        let answer = refresh(&server, &tokens["refresh_token"]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        tokens = answer.json();
    }
    server.clock().advance(Duration::from_hours(1));
    assert_eq!(refresh(&server, &tokens["refresh_token"]).await.status, 401);
}

#[tokio::test]
async fn a_changed_role_counts_at_the_next_request_and_a_disabled_user_is_out() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let analyst = server.user(Role::Analyst).await;
    let missing = "/api/v1/analytics/usage?meter_id=none";
    assert_eq!(analyst.get(missing).await.status, 404);
    let demoted = json!({ "role": "viewer", "meters": ["m1"] });
    assert_eq!(
        admin.patch("/api/v1/users/analyst", &demoted).await.status,
        200
    );
    // Whether the session lives on or has to be made anew, the old role is gone.
    assert!(matches!(analyst.get(missing).await.status, 401 | 403));

    let viewer = server.user(Role::Viewer).await;
    assert_eq!(viewer.get(ME).await.status, 200);
    let shut = admin
        .patch("/api/v1/users/viewer", &json!({ "disabled": true }))
        .await;
    assert_eq!(shut.status, 200);
    assert_eq!(viewer.get(ME).await.status, 401);
    let login = json!({ "username": "viewer", "password": ADMIN.1 });
    let unknown = json!({ "username": "nobody-here", "password": ADMIN.1 });
    let refused = server.nobody().post("/api/v1/auth/token", &login).await;
    let stranger = server.nobody().post("/api/v1/auth/token", &unknown).await;
    assert_eq!(
        (refused.status, anonymised(&refused)),
        (401, anonymised(&stranger))
    );
}

#[tokio::test]
async fn a_key_that_is_wrong_in_any_way_gets_the_same_401() {
    let server = TestServer::start().await;
    let key = server.key_for(Role::Viewer, &["*"]).await;
    let (head, secret) = key.rsplit_once('_').unwrap();
    let other = server.key_for(Role::Viewer, &["*"]).await;
    let stranger = other.rsplit_once('_').unwrap().1;
    assert_eq!(server.nobody().api_key(&key).get(ME).await.status, 200);
    let wrong = [
        String::new(),
        "hello".to_owned(),
        HEXLOWER.encode(&[0; 32]),
        head.to_owned(),
        format!("{head}_{}", secret.chars().rev().collect::<String>()),
        format!("{head}_{stranger}"),
        format!("{key}a"),
        key.to_ascii_lowercase(),
    ];
    for text in wrong {
        let answer = server.nobody().api_key(&text).get(ME).await;
        assert_eq!(answer.verdict(), (401, "invalid_api_key".into()), "{text}");
        let body = answer.json();
        assert_eq!(
            (&body["detail"], &body["error"]),
            (&json!("Invalid API key"), &json!("Invalid API key"))
        );
        assert_eq!(answer.header("www-authenticate"), "Bearer", "{text}");
    }
}
