//! Users as an administrator sees them.

use serde_json::{Value, json};

use crate::testing::{Instance, PASSWORD};

fn faults(problem: &Value) -> Vec<(String, String)> {
    let mut faults: Vec<(String, String)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| {
            (
                fault["pointer"].as_str().unwrap().into(),
                fault["code"].as_str().unwrap().into(),
            )
        })
        .collect();
    faults.sort();
    faults
}

#[tokio::test]
async fn a_user_is_made_shown_changed_and_removed_and_its_password_never_comes_back() {
    let server = Instance::new(&[]);
    let body = json!({
        "username": "bob", "password": PASSWORD, "role": "viewer", "meters": ["plant7-*", "m1"],
        "grants": ["audit"],
    });
    let made = server.administer("POST /api/v1/users", &body).await;
    assert_eq!(
        (made.status.as_u16(), made.header("location")),
        (201, "/api/v1/users/bob")
    );
    let shown = server
        .administer("GET /api/v1/users/bob", &json!(null))
        .await
        .json();
    assert_eq!(shown, made.json());
    assert_eq!(shown["meters"], json!(["plant7-*", "m1"]));
    assert!(!shown.to_string().contains("password") && !shown.to_string().contains("argon"));
    assert_eq!(
        server.administer("POST /api/v1/users", &body).await.code(),
        "conflict"
    );
    let patch = json!({"role": "analyst", "meters": null, "grants": []});
    let changed = server
        .administer("PATCH /api/v1/users/bob", &patch)
        .await
        .json();
    assert_eq!(
        (&changed["role"], &changed["meters"]),
        (&json!("analyst"), &Value::Null)
    );
    assert_eq!(
        server
            .administer("DELETE /api/v1/users/bob", &json!(null))
            .await
            .status,
        204
    );
    assert_eq!(
        server
            .administer("DELETE /api/v1/users/bob", &json!(null))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn names_every_broken_rule_of_a_new_user() {
    let server = Instance::new(&[]);
    let body =
        json!({"username": "a b", "password": "short", "role": "viewer", "meters": [], "x": 1});
    let answer = server.administer("POST /api/v1/users", &body).await;
    let expected = [
        ("/meters", "out_of_range"),
        ("/password", "out_of_range"),
        ("/username", "invalid_format"),
        ("/x", "unknown_field"),
    ];
    assert_eq!(
        faults(&answer.json()),
        expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let body = json!({"username": "anonymous", "password": PASSWORD, "role": "viewer"});
    let answer = server.administer("POST /api/v1/users", &body).await;
    let expected = [("/meters", "missing_field"), ("/username", "reserved")];
    assert_eq!(
        faults(&answer.json()),
        expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
}

#[tokio::test]
async fn the_last_admin_stays() {
    let server = Instance::new(&[]);
    let admin = json!({"username": "root", "password": PASSWORD, "role": "admin"});
    server.administer("POST /api/v1/users", &admin).await;
    for (request, body) in [
        ("DELETE /api/v1/users/root", json!(null)),
        ("PATCH /api/v1/users/root", json!({"disabled": true})),
        ("PATCH /api/v1/users/root", json!({"role": "analyst"})),
    ] {
        let answer = server.administer(request, &body).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (409, "conflict"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_list_pages_and_its_cursor_is_good_for_its_caller_and_its_list_only() {
    let server = Instance::new(&[]);
    for name in ["a", "b", "c"] {
        let body = json!({"username": name, "password": PASSWORD, "role": "analyst"});
        server.administer("POST /api/v1/users", &body).await;
    }
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items
            .iter()
            .map(|user| user["username"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = server
        .administer("GET /api/v1/users?limit=2", &json!(null))
        .await
        .json();
    assert_eq!(names(&first), ["a", "b"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let rest = format!("GET /api/v1/users?limit=2&cursor={cursor}");
    let second = server.administer(&rest, &json!(null)).await.json();
    assert_eq!(
        (names(&second), second.get("next_cursor")),
        (vec!["c".to_owned()], None)
    );
    let other = format!("GET /api/v1/keys?cursor={cursor}");
    let refused = server.administer(&other, &json!(null)).await;
    assert_eq!(refused.code(), "invalid_parameter");
    let eve = server.user("eve", "admin").await;
    let foreign = server.ask(&rest, &[("authorization", &eve)], "").await;
    assert_eq!(
        (foreign.status.as_u16(), &*foreign.code()),
        (400, "invalid_parameter")
    );
}

#[tokio::test]
async fn every_change_and_every_look_is_in_the_ledger() {
    let server = Instance::new(&[]);
    let body = json!({"username": "bob", "password": PASSWORD, "role": "analyst"});
    server.administer("POST /api/v1/users", &body).await;
    server
        .administer("GET /api/v1/users/bob", &json!(null))
        .await;
    server
        .administer("DELETE /api/v1/users/bob", &json!(null))
        .await;
    let ledger = server.app.store.ledger.range(0, 10).await.unwrap();
    let actions: Vec<(&str, &str)> = ledger
        .iter()
        .map(|(_, event)| (&*event.action, &*event.table))
        .collect();
    assert_eq!(
        actions,
        [("create", "users"), ("read", "users"), ("delete", "users")]
    );
    assert!(
        ledger
            .iter()
            .all(|(_, event)| event.user == "local:0" && !event.request_id.is_empty())
    );
}
