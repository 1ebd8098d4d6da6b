//! What `security.log` says of what happened, and what it never says.

use std::fs;

use ems_core::role::Role;
use ems_testkit::{ADMIN, Answer, TestServer};
use serde_json::{Value, json};

/// The lines of `security.log`, once the server has written all of them.
async fn events(server: TestServer) -> Vec<Value> {
    let place = server.stop().await.unwrap();
    let log = fs::read_to_string(place.path().join("instance/log/security.log")).unwrap();
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The violations of a type, as (user, endpoint, window).
fn violations(events: &[Value], kind: &str) -> Vec<[Value; 3]> {
    let of_kind = |event: &&Value| event["violation_type"] == kind;
    let told = |event: &Value| {
        assert_eq!(event["level"], "ERROR");
        let details = &event["details"];
        [&event["user"], &details["endpoint"], &details["window"]].map(Clone::clone)
    };
    events.iter().filter(of_kind).map(told).collect()
}

#[tokio::test]
async fn each_access_and_each_login_has_a_line_with_whose_it_was() {
    let server = TestServer::start().await;
    let login = |password: &str| json!({ "username": ADMIN.0, "password": password });
    let nobody = server.nobody();
    let token = "/api/v1/auth/token";
    let wrong = nobody.post(token, &login("not the password")).await;
    assert_eq!(wrong.status, 401);
    let admin = server.admin().await;
    assert_eq!(admin.get("/api/v1/data/secret-meter").await.status, 404);
    assert_eq!(nobody.get("/api/v1/meters").await.status, 401);
    let out = Answer::of(admin.request("POST", "/api/v1/auth/logout")).await;
    assert_eq!(out.status, 204);
    let told = |event: &Value| match event["event_type"].as_str().unwrap() {
        "authentication" => format!(
            "{} {} {} success={}",
            event["level"], event["action"], event["user"], event["success"]
        ),
        _ => format!(
            "{} {} {} {} {}",
            event["level"], event["method"], event["endpoint"], event["user"], event["status_code"]
        ),
    };
    // Its first line is of the administrator of the machine, who made the first user.
    let events = events(server).await.split_off(1);
    let lines: Vec<String> = events
        .iter()
        .map(|event| told(event).replace('"', ""))
        .collect();
    assert_eq!(
        lines,
        [
            "WARNING login root success=false",
            "WARNING POST /api/v1/auth/token anonymous 401",
            "INFO login root success=true",
            "INFO POST /api/v1/auth/token anonymous 200",
            "WARNING GET /api/v1/data/{meter_id} root 404",
            "WARNING GET /api/v1/meters anonymous 401",
            "INFO logout root success=true",
            "INFO POST /api/v1/auth/logout root 204",
        ]
    );
    for event in &events {
        assert_eq!(event["ip_address"], "127.0.0.1");
        assert!(!event["request_id"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_name_that_can_be_none_is_not_logged_since_it_may_be_a_password() {
    let server = TestServer::start().await;
    let typed = "correct horse, battery staple!";
    let login = json!({ "username": typed, "password": "whatever it is" });
    let refused = server.nobody().post("/api/v1/auth/token", &login).await;
    assert_eq!(refused.verdict(), (422, "invalid_request".into()));
    assert!(!refused.text().contains("horse"));
    let events = events(server).await;
    assert!(!json!(events).to_string().contains("horse"));
    let seen: Vec<&Value> = events
        .iter()
        .filter(|event| event["endpoint"] == "/api/v1/auth/token")
        .collect();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&seen[0]["user"], &seen[0]["status_code"]),
        (&json!("anonymous"), &json!(422))
    );
}

#[tokio::test]
async fn every_window_that_is_full_is_a_violation() {
    let server = TestServer::builder()
        .set("limits.key_per_hour", "4")
        .set("limits.address_per_hour", "3")
        .set("limits.readings_per_hour", "3")
        .set("readings.new_meters_per_hour", "1")
        .start()
        .await;
    let key = server.key_for(Role::MeterReader, &["*"]).await;
    let id = key.split('_').nth(1).unwrap().to_owned();
    let caller = server.nobody().api_key(&key);
    let row = |meter: &str, second: u32| {
        let at = format!("2020-01-01T00:00:{second:02}Z");
        json!({ "meter_id": meter, "timestamp": at, "energy_consumption": 1 })
    };
    let data = "/api/v1/data";
    assert_eq!(caller.post(data, &row("m1", 0)).await.status, 201);
    assert_eq!(caller.post(data, &row("m2", 0)).await.status, 429);
    let four = json!([row("m1", 1), row("m1", 2), row("m1", 3), row("m1", 4)]);
    let batch = "/api/v1/data/batch";
    assert_eq!(caller.post(batch, &four).await.status, 429);
    assert_eq!(caller.get("/api/v1/auth/me").await.status, 200);
    assert_eq!(caller.get("/api/v1/auth/me").await.status, 429);
    // The login that made the key was the address's first.
    for status in [401, 401, 429] {
        assert_eq!(server.nobody().get("/api/v1/auth/me").await.status, status);
    }
    let events = events(server).await;
    let me = "/api/v1/auth/me";
    let name = format!("key:{id}");
    assert_eq!(
        violations(&events, "rate_limit_exceeded"),
        [
            [json!(name), json!(data), json!("new_meters")],
            [json!(name), json!(batch), json!("readings")],
            [json!(name), json!(me), json!("principal")],
            [json!("anonymous"), json!(me), json!("address")],
        ]
    );
}

#[tokio::test]
async fn a_cursor_of_another_list_is_a_violation() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let refused = admin
        .get("/api/v1/users?cursor=AAAAAAAAAAAAAAAAAAAAAAAA")
        .await;
    assert_eq!(refused.verdict(), (400, "invalid_parameter".into()));
    let events = events(server).await;
    let expected = [json!("root"), json!("/api/v1/users"), Value::Null];
    assert_eq!(violations(&events, "forged_cursor"), [expected]);
}
