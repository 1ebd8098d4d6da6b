//! What every request goes through and what every answer carries.

use axum::body::Body;
use ems_core::{
    policy::{Need, TABLE},
    role::Role,
};
use http::Request;
use serde_json::json;

use crate::testing::{Answer, Files, Instance, PASSWORD, bearer};

const ALWAYS: [(&str, &str); 8] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-xss-protection", "1; mode=block"),
    (
        "strict-transport-security",
        "max-age=31536000; includeSubDomains",
    ),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
    ("server", ""),
];

fn carries_what_every_answer_does(answer: &Answer) {
    for (name, value) in ALWAYS {
        assert_eq!(answer.header(name), value, "{name} of {answer:?}");
    }
    assert!(
        answer
            .header("content-security-policy")
            .starts_with("default-src 'self'")
    );
    assert!(answer.has("permissions-policy"));
    assert!(!answer.header("x-request-id").is_empty());
    if answer.status.as_u16() >= 400 {
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["status"], answer.status.as_u16());
        assert_eq!(problem["request_id"], answer.header("x-request-id"));
        for field in ["type", "title", "detail", "code", "error"] {
            assert!(problem[field].is_string(), "{field} of {problem}");
        }
    }
}

/// A header field of a case: `alice` stands for her token.
type Field = (&'static str, &'static str);

const ALICE: Field = ("authorization", "alice");
const JSON: Field = ("content-type", "application/json");

/// Status, code, request, header fields, body.
const CASES: &[(u16, &str, &str, &[Field], &str)] = &[
    (200, "", "GET /health", &[], ""),
    (200, "", "GET /api/v1/auth/me", &[ALICE], ""),
    (400, "malformed", "POST /api/v1/users", &[ALICE, JSON], "{"),
    (
        400,
        "invalid_parameter",
        "GET /api/v1/users?limt=1",
        &[ALICE],
        "",
    ),
    (401, "invalid_credentials", "GET /api/v1/auth/me", &[], ""),
    (
        401,
        "invalid_api_key",
        "GET /api/v1/auth/me",
        &[("x-api-key", "k")],
        "",
    ),
    (404, "not_found", "GET /nothing", &[ALICE], ""),
    (404, "not_found", "GET /api/v1/users/bob", &[ALICE], ""),
    (404, "not_found", "GET /api/v1/users/%ff", &[ALICE], ""),
    (404, "not_found", "GET /api/v1/users/a%2Fb", &[ALICE], ""),
    (404, "not_found", "GET /health/", &[], ""),
    (405, "method_not_allowed", "POST /health", &[], ""),
    (
        405,
        "method_not_allowed",
        "OPTIONS /api/v1/users",
        &[ALICE],
        "",
    ),
    (
        406,
        "not_acceptable",
        "GET /health",
        &[("accept", "image/png")],
        "",
    ),
    (
        415,
        "unsupported_media_type",
        "POST /api/v1/users",
        &[ALICE],
        "{}",
    ),
    (
        422,
        "invalid_request",
        "POST /api/v1/users",
        &[ALICE, JSON],
        "{}",
    ),
];

#[tokio::test]
async fn every_answer_carries_the_headers_and_every_refusal_is_a_problem() {
    let server = Instance::new(&[]);
    let alice = server.user("alice", "admin").await;
    let big = "x".repeat(70_000);
    let long = format!("GET /{}", "a".repeat(9_000));
    let mut cases = CASES.to_vec();
    cases.push((
        413,
        "payload_too_large",
        "POST /api/v1/users",
        &[ALICE, JSON],
        &big,
    ));
    cases.push((414, "uri_too_long", &long, &[], ""));
    for (status, code, request, fields, body) in cases {
        let value = |field: &Field| {
            if *field == ALICE {
                (field.0, &*alice)
            } else {
                *field
            }
        };
        let fields: Vec<(&str, &str)> = fields.iter().map(value).collect();
        let answer = server.ask(request, &fields, body.to_owned()).await;
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        carries_what_every_answer_does(&answer);
        if status >= 400 {
            assert_eq!(answer.code(), code, "{request}");
        }
    }
}

#[tokio::test]
async fn a_refused_method_names_those_there_are() {
    let server = Instance::new(&[]);
    let answer = server.ask("PUT /api/v1/users/alice", &[], "").await;
    assert_eq!(answer.header("allow"), "GET, PATCH, DELETE, HEAD");
    let answer = server.ask("DELETE /api/v1/data/secure", &[], "").await;
    assert_eq!(answer.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn head_answers_as_get_without_a_body() {
    let server = Instance::new(&[]);
    let answer = server.ask("HEAD /health", &[], "").await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), "20");
}

#[tokio::test]
async fn a_refused_credential_says_so_in_the_guides_words() {
    let server = Instance::new(&[]);
    let answer = server
        .ask(
            "GET /api/v1/data/secure",
            &[("authorization", "Bearer x")],
            "",
        )
        .await;
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(
        answer.json()["detail"],
        "Invalid authentication credentials"
    );
    let answer = server
        .ask("GET /api/v1/data/secure", &[("x-api-key", "x")], "")
        .await;
    assert_eq!(answer.json()["detail"], "Invalid API key");
    let both = [("x-api-key", "x"), ("authorization", "Bearer x")];
    let answer = server.ask("GET /api/v1/data/secure", &both, "").await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (400, "ambiguous_credentials")
    );
    let viewer = server.user("victor", "viewer").await;
    let answer = server
        .ask("GET /api/v1/users", &[("authorization", &viewer)], "")
        .await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["detail"], "Insufficient permissions");
}

#[tokio::test]
async fn what_has_no_valid_credential_counts_in_its_addresss_window() {
    let server = Instance::new(&[("limits.address_per_hour", "3")]);
    let me = "GET /api/v1/auth/me";
    let answer = server.ask(me, &[], "").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=3;w=3600");
    assert!(answer.header("ratelimit").starts_with("\"default\";r=2;t="));
    assert_eq!(server.ask(me, &[("x-api-key", "k")], "").await.status, 401);
    assert_eq!(server.log_in("nobody", PASSWORD).await.status, 401);
    for answer in [
        server.ask(me, &[("authorization", "Bearer x")], "").await,
        server.log_in("nobody", PASSWORD).await,
        server.ask("GET /nothing", &[], "").await,
    ] {
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (429, "rate_limited")
        );
        assert!(answer.header("ratelimit").starts_with("\"default\";r=0;t="));
        let seconds: u32 = answer.header("retry-after").parse().unwrap();
        assert!((1..=3600).contains(&seconds));
        carries_what_every_answer_does(&answer);
    }
    let health = server.ask("GET /health", &[], "").await;
    assert!(health.status.is_success() && !health.has("ratelimit"));
    assert_eq!(
        server.ask_from("198.51.100.8", me, &[], "").await.status,
        401
    );
}

#[tokio::test]
async fn a_valid_credential_counts_in_its_own_window_alone() {
    let settings = [
        ("limits.address_per_hour", "1"),
        ("limits.user_per_hour", "2"),
    ];
    let server = Instance::new(&settings);
    let alice = server.user("alice", "admin").await;
    let as_alice = [("authorization", alice.as_str())];
    for left in ["1", "0"] {
        let answer = server.ask("GET /api/v1/auth/me", &as_alice, "").await;
        assert_eq!(answer.status, 200);
        assert!(
            answer
                .header("ratelimit")
                .starts_with(&format!("\"default\";r={left};t="))
        );
    }
    let answer = server.ask("GET /api/v1/auth/me", &as_alice, "").await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("ratelimit-policy")),
        (429, "\"default\";q=2;w=3600")
    );
    assert_eq!(
        server.ask("GET /api/v1/auth/me", &[], "").await.status,
        429,
        "the login took it"
    );
}

#[tokio::test]
async fn a_body_without_a_credential_is_read_to_its_own_limit_only() {
    let server = Instance::new(&[("limits.anonymous_body_bytes", "1KiB")]);
    let body = json!({"username": "alice", "password": "x".repeat(1024)});
    let answer = server.ask_json("POST /api/v1/auth/token", &[], &body).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn keeps_a_trusted_proxys_request_id_and_no_other() {
    let server = Instance::new(&[
        ("server.behind_proxy", "true"),
        ("server.trusted_proxies", "[\"198.51.100.7/32\"]"),
    ]);
    let named = [("x-request-id", "abc-1")];
    assert_eq!(
        server
            .ask("GET /health", &named, "")
            .await
            .header("x-request-id"),
        "abc-1"
    );
    let wild = [("x-request-id", "a b\"c")];
    assert_ne!(
        server
            .ask("GET /health", &wild, "")
            .await
            .header("x-request-id"),
        "a b\"c"
    );
    let other = server
        .ask_from("198.51.100.8", "GET /health", &named, "")
        .await;
    assert_ne!(other.header("x-request-id"), "abc-1");
}

#[tokio::test]
async fn a_draining_server_takes_no_new_work_and_says_so() {
    let server = Instance::new(&[]);
    server.app.drain();
    let answer = server.ask("GET /api/v1/auth/me", &[], "").await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (503, "unavailable")
    );
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(server.ask("GET /health", &[], "").await.status, 200);
    let ready = server.ask("GET /ready", &[], "").await;
    assert_eq!(
        (ready.status.as_u16(), &ready.json()["status"]),
        (503, &json!("draining"))
    );
}

#[tokio::test]
async fn too_many_header_fields_are_431() {
    let server = Instance::new(&[("server.header_fields", "16")]);
    let mut request = Request::builder().uri("/health");
    for number in 0..17 {
        request = request.header(format!("x-{number}"), "1");
    }
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (431, "headers_too_large")
    );
}

#[tokio::test]
async fn what_never_became_a_request_is_answered_as_any_other() {
    use crate::listener::HeadFault;
    let server = Instance::new(&[]);
    for (fault, status, code) in [
        (HeadFault::Unreadable, 400, "malformed"),
        (HeadFault::TargetTooLong, 414, "uri_too_long"),
        (HeadFault::TooLarge, 431, "headers_too_large"),
    ] {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(fault);
        let answer = server.send(request).await;
        assert_eq!((answer.status.as_u16(), &*answer.code()), (status, code));
        for name in ["x-request-id", "content-security-policy", "x-frame-options"] {
            assert!(answer.has(name), "{name}");
        }
    }
}

#[tokio::test]
async fn a_token_is_dead_at_once_after_a_logout_a_disable_and_a_role_changes_at_once() {
    let server = Instance::new(&[]);
    let alice = server.user("alice", "analyst").await;
    let as_alice = [("authorization", alice.as_str())];
    let change = json!({"role": "viewer"});
    server
        .administer("PATCH /api/v1/users/alice", &change)
        .await;
    let me = server.ask("GET /api/v1/auth/me", &as_alice, "").await;
    assert_eq!(me.json()["role"], "viewer");
    assert_eq!(
        server
            .ask("POST /api/v1/auth/logout", &as_alice, "")
            .await
            .status,
        204
    );
    assert_eq!(
        server
            .ask("GET /api/v1/auth/me", &as_alice, "")
            .await
            .status,
        401
    );
    let again = bearer(&server.log_in("alice", PASSWORD).await);
    let disable = json!({"disabled": true});
    server
        .administer("PATCH /api/v1/users/alice", &disable)
        .await;
    assert_eq!(
        server
            .ask("GET /api/v1/auth/me", &[("authorization", &again)], "")
            .await
            .status,
        401
    );
    assert_eq!(server.log_in("alice", PASSWORD).await.status, 401);
}

/// A key of the guide's key file, and its bcrypt hash by another implementation, cost 4.
const FILE_KEY: &str = "fileKey1-and-the-rest";
const FILE_HASH: &str = "$2b$04$abcdefghijklmnopqrstuuvQTMz8McPRRiQnmKqol5jSqbmzxKR36";

#[tokio::test]
async fn a_key_of_the_key_file_is_not_hashed_once_the_addresss_window_is_full() {
    let files = Files::new();
    files.write("api_keys.json", &json!({"fileKey1": FILE_HASH}).to_string());
    let server = Instance::of(files, &[("limits.address_per_hour", "2")]);
    let me = "GET /api/v1/auth/me";
    let from = async |address: &str, key: &str| {
        server
            .ask_from(address, me, &[("x-api-key", key)], "")
            .await
    };
    let known = from("198.51.100.7", FILE_KEY).await;
    assert_eq!(
        (known.status.as_u16(), &known.json()["name"]),
        (200, &json!("key:fileKey1"))
    );
    assert_eq!(known.json()["role"], "meter_reader");
    for guess in ["fileKey1-guess-a", "fileKey1-guess-b"] {
        assert_eq!(from("198.51.100.7", guess).await.status, 401);
    }
    assert_eq!(from("198.51.100.7", "fileKey1-guess-c").await.status, 429);
    assert!(
        server.app.identities.is_costly("fileKey1-guess-c"),
        "it was not hashed"
    );
    assert_eq!(
        from("198.51.100.7", FILE_KEY).await.status,
        200,
        "known to be right before"
    );
}

/// The path of a route's template, of a meter, user or key that there is not.
fn path(template: &str) -> String {
    let parts = template.split('/');
    parts
        .map(|part| if part.starts_with('{') { "none" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[tokio::test]
async fn every_route_lets_in_those_that_the_policy_names_and_no_others() {
    let server = Instance::new(&[("limits.address_per_hour", "0")]);
    let mut callers = Vec::new();
    for role in Role::ALL {
        let token = server.user(role.as_str(), role.as_str()).await;
        callers.push((role, "authorization", token));
        let body = json!({"name": "k", "role": role, "meters": ["*"]});
        let key = server.administer("POST /api/v1/keys", &body).await.json();
        callers.push((role, "x-api-key", key["key"].as_str().unwrap().to_owned()));
    }
    for row in TABLE.iter().filter(|row| row.path != "/api/v1/auth/logout") {
        let request = format!("{} {}", row.method, path(row.path));
        let stranger = server.ask(&request, &[], "").await.status.as_u16();
        let closed = !matches!(row.need, Need::Open | Need::Anonymous);
        assert_eq!(stranger == 401, closed, "{request}: {stranger}");
        for (role, header, value) in &callers {
            let status = server
                .ask(&request, &[(*header, value)], "")
                .await
                .status
                .as_u16();
            let may = match row.need {
                Need::Permission(permission) => role.allows(permission),
                Need::Owner => false,
                _ => true,
            };
            assert_eq!(
                status != 403,
                may,
                "{request} as {role:?} by {header}: {status}"
            );
            assert_ne!(status, 401, "{request} as {role:?} by {header}");
        }
    }
}

#[tokio::test]
async fn what_others_committed_is_known_before_a_credential_is_looked_at() {
    let cut = Instance::cut_off();
    let login = json!({"username": "alice", "password": PASSWORD});
    let waits = [
        cut.ask(
            "GET /api/v1/auth/me",
            &[("authorization", "Bearer a.b.c")],
            "",
        )
        .await,
        cut.ask("GET /api/v1/meters", &[("x-api-key", "k")], "")
            .await,
        cut.ask_json("POST /api/v1/auth/token", &[], &login).await,
        cut.administer("GET /api/v1/users", &json!(null)).await,
    ];
    for answer in waits {
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (503, "unavailable")
        );
        assert_eq!(answer.header("retry-after"), "5");
    }
    for (status, request) in [
        (200, "GET /health"),
        (503, "GET /ready"),
        (200, "GET /docs"),
        (200, "GET /api/v1/openapi.json"),
        // Nothing that could be looked at.
        (401, "GET /api/v1/meters"),
        (404, "GET /nowhere"),
    ] {
        let answer = cut.ask(request, &[], "").await;
        assert_eq!(answer.status.as_u16(), status, "{request}");
    }
    let ready = cut.ask("GET /ready", &[], "").await.json();
    assert_eq!(ready["dependencies"]["store"], "down");
}
