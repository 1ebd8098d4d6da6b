//! Meters, through every layer.

use serde_json::{Value, json};

use crate::testing::{Answer, Instance, PASSWORD, bearer};

async fn ask(server: &Instance, token: &str, path: &str, body: Value) -> Answer {
    let headers = [
        ("authorization", token),
        ("content-type", "application/json"),
    ];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    server.ask(path, &headers, body).await
}

async fn store(server: &Instance, token: &str, meter: &str, at: &str) {
    let body = json!({"meter_id": meter, "timestamp": at, "energy_consumption": 1});
    assert_eq!(
        ask(server, token, "POST /api/v1/data", body).await.status,
        201
    );
}

fn ids(page: &Answer) -> Vec<String> {
    let page = page.json();
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|meter| meter["meter_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_meter_comes_with_its_first_reading_and_says_what_they_span() {
    let server = Instance::new(&[]);
    let token = server.user("ada", "admin").await;
    assert_eq!(
        ask(&server, &token, "GET /api/v1/meters/m1", Value::Null)
            .await
            .status,
        404
    );
    store(&server, &token, "m1", "2013-01-01T00:30:00Z").await;
    store(&server, &token, "m1", "2013-01-02T01:00:00+01:00").await;
    let meter = ask(&server, &token, "GET /api/v1/meters/m1", Value::Null)
        .await
        .json();
    let expected = json!({
        "meter_id": "m1",
        "first_reading": "2013-01-01T00:30:00Z",
        "last_reading": "2013-01-02T00:00:00Z",
        "readings": 2,
    });
    assert_eq!(meter, expected);
}

#[tokio::test]
async fn describing_a_meter_makes_it_or_replaces_what_was_said() {
    let server = Instance::new(&[]);
    let token = server.user("ada", "analyst").await;
    let put = async |body: Value| ask(&server, &token, "PUT /api/v1/meters/m1", body).await;
    let full = json!({
        "location": "Attic",
        "timezone": "europe/london",
        "site": "North 7",
        "customer_id": "c.1",
    });
    let made = put(full).await;
    assert_eq!(made.status, 201);
    let expected = json!({
        "meter_id": "m1",
        "location": "Attic",
        "timezone": "Europe/London",
        "site": "North 7",
        "customer_id": "c.1",
        "first_reading": null,
        "last_reading": null,
        "readings": 0,
    });
    assert_eq!(made.json(), expected);
    store(&server, &token, "m1", "2013-01-01T00:00:00Z").await;
    let replaced = put(json!({"site": "South"})).await;
    assert_eq!(replaced.status, 200);
    let expected = json!({
        "meter_id": "m1",
        "site": "South",
        "first_reading": "2013-01-01T00:00:00Z",
        "last_reading": "2013-01-01T00:00:00Z",
        "readings": 1,
    });
    assert_eq!(replaced.json(), expected);
    let ledger = server.app.store.ledger.range(0, 1000).await.unwrap();
    let change = ledger.last().unwrap().1.change.clone().unwrap();
    assert!(change.component.starts_with("meter:m_"), "{change:?}");
    assert_eq!(change.new_value, r#"["site"]"#);
    assert!(!serde_json::to_string(&ledger).unwrap().contains("Attic"));
}

#[tokio::test]
async fn every_broken_rule_of_a_description_is_named() {
    let server = Instance::new(&[]);
    let token = server.user("ada", "admin").await;
    let body = json!({
        "location": "a\nb",
        "timezone": "Mars/Base",
        "site": "",
        "customer_id": "a b",
        "readings": 5,
    });
    let answer = ask(&server, &token, "PUT /api/v1/meters/m1", body).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (422, "invalid_request")
    );
    let problem = answer.json();
    let errors: Vec<(&str, &str)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (
                error["pointer"].as_str().unwrap(),
                error["code"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("/location", "invalid_format"),
        ("/timezone", "invalid_format"),
        ("/site", "out_of_range"),
        ("/customer_id", "invalid_format"),
        ("/readings", "unknown_field"),
    ];
    assert_eq!(errors, expected);
    assert_eq!(
        ask(&server, &token, "GET /api/v1/meters/m1", Value::Null)
            .await
            .status,
        404
    );
    assert_eq!(
        ask(&server, &token, "PUT /api/v1/meters/a.b", json!({}))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn the_list_is_narrowed_to_the_scope_and_pages() {
    let server = Instance::new(&[]);
    let token = server.user("ada", "admin").await;
    for meter in ["a1", "b1", "b2", "b3", "c1"] {
        store(&server, &token, meter, "2013-01-01T00:00:00Z").await;
    }
    let all = ask(&server, &token, "GET /api/v1/meters", Value::Null).await;
    assert_eq!(ids(&all), ["a1", "b1", "b2", "b3", "c1"]);
    let first = ask(
        &server,
        &token,
        "GET /api/v1/meters?prefix=b&limit=2",
        Value::Null,
    )
    .await;
    assert_eq!(ids(&first), ["b1", "b2"]);
    let cursor = first.json()["next_cursor"].as_str().unwrap().to_owned();
    let path = format!("GET /api/v1/meters?prefix=b&limit=2&cursor={cursor}");
    let second = ask(&server, &token, &path, Value::Null).await;
    assert_eq!(ids(&second), ["b3"]);
    assert!(second.json().get("next_cursor").is_none());
    for query in [format!("prefix=a&cursor={cursor}"), "prefix=a*".to_owned()] {
        let answer = ask(
            &server,
            &token,
            &format!("GET /api/v1/meters?{query}"),
            Value::Null,
        )
        .await;
        assert_eq!(answer.code(), "invalid_parameter", "{query}");
    }
    let narrow = json!({
        "username": "eve", "password": PASSWORD, "role": "viewer", "meters": ["b1", "c*", "zz"],
    });
    assert_eq!(
        server
            .administer("POST /api/v1/users", &narrow)
            .await
            .status,
        201
    );
    let eve = bearer(&server.log_in("eve", PASSWORD).await);
    let seen = ask(&server, &eve, "GET /api/v1/meters", Value::Null).await;
    assert_eq!(ids(&seen), ["b1", "c1"]);
    assert_eq!(
        ask(&server, &eve, "GET /api/v1/meters/b2", Value::Null)
            .await
            .status,
        404
    );
    let ledger = server.app.store.ledger.range(0, 1000).await.unwrap();
    let look = ledger
        .iter()
        .rev()
        .find(|(_, event)| event.user == "eve" && event.table == "meters");
    assert_eq!(look.unwrap().1.subjects.len(), 2);
}

#[tokio::test]
async fn a_removed_meter_is_gone_with_its_readings() {
    let server = Instance::new(&[]);
    let token = server.user("ada", "admin").await;
    store(&server, &token, "m1", "2013-01-01T00:00:00Z").await;
    assert_eq!(
        ask(&server, &token, "DELETE /api/v1/meters/m1", Value::Null)
            .await
            .status,
        204
    );
    for path in [
        "GET /api/v1/meters/m1",
        "GET /api/v1/data/m1",
        "DELETE /api/v1/meters/m1",
    ] {
        assert_eq!(
            ask(&server, &token, path, Value::Null).await.status,
            404,
            "{path}"
        );
    }
    store(&server, &token, "m1", "2013-01-02T00:00:00Z").await;
    let again = ask(&server, &token, "GET /api/v1/meters/m1", Value::Null)
        .await
        .json();
    assert_eq!(
        (&again["readings"], &again["first_reading"]),
        (&json!(1), &json!("2013-01-02T00:00:00Z"))
    );
}
