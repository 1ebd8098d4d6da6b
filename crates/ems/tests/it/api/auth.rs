//! Sessions, users and keys, as an admin and as oneself.

use std::time::Duration;

use ems_core::role::Role;
use ems_testkit::{ADMIN, TestServer};
use serde_json::{Value, json};

const USERS: &str = "/api/v1/users";
const KEYS: &str = "/api/v1/keys";

#[tokio::test]
async fn a_user_is_made_shown_changed_and_removed_and_no_answer_has_its_password() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let new = json!({ "username": "alice@example.org", "password": "a long enough secret",
                      "role": "viewer", "meters": ["plant7-*", "m1"] });
    let made = admin.post(USERS, &new).await;
    assert_eq!(
        (made.status, made.header("location")),
        (201, "/api/v1/users/alice@example.org")
    );
    let place = "/api/v1/users/alice@example.org";
    let shown = admin.get(place).await;
    assert_eq!(shown.json(), made.json());
    let user = shown.json();
    assert_eq!(
        (&user["role"], &user["meters"]),
        (&json!("viewer"), &json!(["plant7-*", "m1"]))
    );
    assert_eq!(
        (&user["grants"], &user["disabled"]),
        (&json!([]), &json!(false))
    );
    assert_eq!(
        admin.post(USERS, &new).await.verdict(),
        (409, "conflict".into())
    );

    let patch = json!({ "role": "analyst", "meters": null, "grants": ["audit"] });
    let changed = admin.patch(place, &patch).await;
    assert_eq!((changed.status, changed.json().get("meters")), (200, None));
    assert_eq!(changed.json()["grants"], json!(["audit"]));
    let list = admin.get(USERS).await;
    let names: Vec<Value> = list.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["username"].clone())
        .collect();
    assert_eq!(names, ["alice@example.org", ADMIN.0]);
    for answer in [&made, &shown, &changed, &list] {
        let text = answer.text();
        assert!(
            !text.contains("password") && !text.contains("secret") && !text.contains("argon2"),
            "{text}"
        );
    }
    assert_eq!(admin.delete(place).await.status, 204);
    assert_eq!(admin.get(place).await.verdict(), (404, "not_found".into()));
    assert_eq!(admin.delete(place).await.status, 404);
}

#[tokio::test]
async fn every_broken_rule_of_a_new_user_is_named() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let fault = async |body: Value| {
        let answer = admin.post(USERS, &body).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        let mut faults: Vec<_> = answer
            .faults()
            .into_iter()
            .map(|(_, pointer, code)| format!("{pointer} {code}"))
            .collect();
        faults.sort();
        faults
    };
    let faults =
        fault(json!({ "username": "a b", "password": "short", "role": "owner", "age": 7 })).await;
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert!(faults[0].starts_with("/age unknown_field"), "{faults:?}");
    let viewer = json!({ "username": "v", "password": "a long enough secret", "role": "viewer" });
    assert_eq!(fault(viewer).await, ["/meters missing_field"]);
    let system =
        json!({ "username": "system", "password": "a long enough secret", "role": "admin" });
    assert_eq!(fault(system).await, ["/username reserved"]);
    assert_eq!(
        fault(json!({})).await,
        [
            "/password missing_field",
            "/role missing_field",
            "/username missing_field"
        ]
    );
}

#[tokio::test]
async fn the_last_admin_cannot_be_removed_disabled_or_demoted() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let place = format!("{USERS}/{}", ADMIN.0);
    let changes = [json!({ "disabled": true }), json!({ "role": "analyst" })];
    for change in &changes {
        assert_eq!(
            admin.patch(&place, change).await.verdict(),
            (409, "conflict".into())
        );
    }
    assert_eq!(
        admin.delete(&place).await.verdict(),
        (409, "conflict".into())
    );
    // With a second one each may go, and of two that go at once only one does.
    let other = json!({ "username": "other", "password": ADMIN.1, "role": "admin" });
    assert_eq!(admin.post(USERS, &other).await.status, 201);
    let second = server
        .nobody()
        .bearer(&server.log_in("other", ADMIN.1).await);
    let other_place = format!("{USERS}/other");
    let (one, two) = tokio::join!(
        admin.patch(&other_place, &changes[0]),
        second.patch(&place, &changes[0])
    );
    let gone = [&one, &two]
        .into_iter()
        .filter(|answer| answer.status == 200)
        .count();
    assert_eq!(gone, 1, "{} {}", one.text(), two.text());
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() {
    let server = TestServer::start().await;
    let (own, other) = (server.admin().await, server.admin().await);
    let change = |current: &str| json!({ "current": current, "new": "another long enough secret" });
    assert_eq!(
        own.put("/api/v1/auth/password", &change("wrong, all wrong"))
            .await
            .status,
        422
    );
    assert_eq!(other.get("/api/v1/auth/me").await.status, 200);
    assert_eq!(
        own.put("/api/v1/auth/password", &change(ADMIN.1))
            .await
            .status,
        204
    );
    assert_eq!(own.get("/api/v1/auth/me").await.status, 200);
    assert_eq!(other.get("/api/v1/auth/me").await.status, 401);
    let login = json!({ "username": ADMIN.0, "password": ADMIN.1 });
    assert_eq!(
        server
            .nobody()
            .post("/api/v1/auth/token", &login)
            .await
            .status,
        401
    );
    server.log_in(ADMIN.0, "another long enough secret").await;
}

#[tokio::test]
async fn a_key_is_shown_once_and_revoked_at_once() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let new = json!({ "name": "Head-end", "role": "meter_reader", "meters": ["plant7-*"] });
    let made = admin.post(KEYS, &new).await.json();
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let parts: Vec<&str> = key.split('_').collect();
    assert_eq!((parts.len(), parts[0], parts[1]), (3, "ems", id));
    // 256 bits in base62 take 43 characters; the checksum comes on top.
    assert!(id.len() == 8 && parts[2].len() > 43, "{}", parts[2].len());
    assert!(
        key[4..]
            .replace('_', "")
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric())
    );
    let list = admin.get(KEYS).await;
    assert!(!list.text().contains(parts[2]));
    assert_eq!(list.json()["items"][0]["created_by"], json!(ADMIN.0));
    let caller = server.nobody().api_key(key);
    let me = caller.get("/api/v1/data/secure").await.json();
    assert_eq!(
        me,
        json!({ "message": format!("Hello key:{id}, this is a secure endpoint") })
    );
    assert_eq!(admin.delete(&format!("{KEYS}/{id}")).await.status, 204);
    assert_eq!(
        caller.get("/api/v1/auth/me").await.verdict(),
        (401, "invalid_api_key".into())
    );
    assert_eq!(admin.delete(&format!("{KEYS}/zzzzzzzz")).await.status, 404);
}

#[tokio::test]
async fn a_rotated_key_lives_beside_its_successor_for_the_overlap_and_no_longer() {
    let server = TestServer::builder()
        .set("auth.key_overlap", "1h")
        .start()
        .await;
    let old = server.key_for(Role::Viewer, &["*"]).await;
    let id = old.split('_').nth(1).unwrap().to_owned();
    let rotated = server
        .admin()
        .await
        .request("POST", &format!("{KEYS}/{id}/rotate"));
    let rotated = ems_testkit::Answer::of(rotated).await;
    assert_eq!(
        (rotated.status, &rotated.json()["replaces"]),
        (201, &json!(id))
    );
    let new = server
        .nobody()
        .api_key(rotated.json()["key"].as_str().unwrap());
    let old = server.nobody().api_key(&old);
    for caller in [&new, &old] {
        assert_eq!(caller.get("/api/v1/auth/me").await.status, 200);
    }
    server.clock().advance(Duration::from_hours(1));
    assert_eq!(new.get("/api/v1/auth/me").await.status, 200);
    assert_eq!(old.get("/api/v1/auth/me").await.status, 401);
}

#[tokio::test]
async fn a_key_ends_when_it_says() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let body =
        |at: &str| json!({ "name": "k", "role": "viewer", "meters": ["*"], "expires_at": at });
    let past = admin.post(KEYS, &body("2020-01-01T00:00:00Z")).await;
    assert_eq!(
        past.faults(),
        [(None, "/expires_at".into(), "out_of_range".into())]
    );
    let made = admin.post(KEYS, &body("2099-01-01T00:00:00Z")).await.json();
    let caller = server.nobody().api_key(made["key"].as_str().unwrap());
    server
        .clock()
        .set(ems_core::time::Timestamp::parse("2098-12-31T23:59:59Z").unwrap());
    assert_eq!(caller.get("/api/v1/auth/me").await.status, 200);
    server.clock().advance(Duration::from_secs(1));
    assert_eq!(caller.get("/api/v1/auth/me").await.status, 401);
}
