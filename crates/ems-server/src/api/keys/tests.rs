//! Keys as an administrator and a device see them.

use serde_json::json;

use crate::testing::Instance;

#[tokio::test]
async fn a_key_is_shown_once_works_at_once_and_is_dead_at_once() {
    let server = Instance::new(&[("limits.key_per_hour", "2")]);
    let body = json!({"name": "head-end", "role": "meter_reader", "meters": ["plant7-*"]});
    let made = server.administer("POST /api/v1/keys", &body).await;
    assert_eq!(made.status, 201);
    let (key, id) = (made.json()["key"].clone(), made.json()["id"].clone());
    let (key, id) = (key.as_str().unwrap(), id.as_str().unwrap());
    assert!(key.starts_with(&format!("ems_{id}_")));
    let listed = server
        .administer("GET /api/v1/keys", &json!(null))
        .await
        .json();
    assert!(!listed.to_string().contains(key));
    assert_eq!(listed["items"][0]["id"], id);
    let me = async || {
        server
            .ask("GET /api/v1/auth/me", &[("x-api-key", key)], "")
            .await
    };
    let answer = me().await;
    assert_eq!(answer.json()["name"], format!("key:{id}"));
    assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=2;w=3600");
    let revoke = format!("DELETE /api/v1/keys/{id}");
    assert_eq!(server.administer(&revoke, &json!(null)).await.status, 204);
    let refused = me().await;
    assert_eq!(
        (refused.status.as_u16(), &*refused.code()),
        (401, "invalid_api_key")
    );
    assert_eq!(server.administer(&revoke, &json!(null)).await.status, 404);
}

#[tokio::test]
async fn a_rotation_leaves_both_keys_for_a_while() {
    let server = Instance::new(&[]);
    let body = json!({"name": "k", "role": "viewer", "meters": ["*"]});
    let old = server.administer("POST /api/v1/keys", &body).await.json();
    let rotate = format!("POST /api/v1/keys/{}/rotate", old["id"].as_str().unwrap());
    let rotated = server.administer(&rotate, &json!(null)).await;
    assert_eq!(rotated.status, 201);
    let new = rotated.json();
    assert_eq!(new["replaces"], old["id"]);
    assert!(new["replaced_valid_until"].is_string());
    for key in [&old, &new] {
        let key = key["key"].as_str().unwrap();
        assert_eq!(
            server
                .ask("GET /api/v1/auth/me", &[("x-api-key", key)], "")
                .await
                .status,
            200
        );
    }
    assert_eq!(server.administer(&rotate, &json!(null)).await.status, 409);
}

#[tokio::test]
async fn refuses_a_key_without_meters_or_with_an_end_in_the_past() {
    let server = Instance::new(&[]);
    let body = json!({"name": "a\u{7}", "role": "robot", "meters": ["a b"], "expires_at": "2000-01-01T00:00:00Z"});
    let answer = server.administer("POST /api/v1/keys", &body).await.json();
    let mut pointers: Vec<&str> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["pointer"].as_str().unwrap())
        .collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/expires_at", "/meters/0", "/name", "/role"]);
}
