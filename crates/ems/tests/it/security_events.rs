//! Security events, as an admin and an auditor read them.

use std::time::Duration;

use ems_api::client::Suspect;
use ems_core::{clock::Clock as _, role::Role, time::Timestamp};
use ems_testkit::{ADMIN, Caller, TestServer};
use serde_json::{Value, json};

use crate::incident::{ELSEWHERE, HERE, from, owner, server};

/// A server that refused five logins and five requests, in turns, a minute apart.
async fn refusing() -> (TestServer, Timestamp) {
    let server = server().await;
    let other = server.user(Role::Analyst).await;
    let begin = server.clock().now();
    for number in 0..5 {
        server.clock().advance(Duration::from_mins(1));
        let login =
            json!({ "username": format!("guess-{number}"), "password": "not the password" });
        let nobody = server.nobody();
        let refused = from(HERE, &nobody, "POST /api/v1/auth/token", Some(&login)).await;
        assert_eq!(refused.status, 401);
        let refused = from(ELSEWHERE, &other, "GET /api/v1/users", None).await;
        assert_eq!(refused.status, 403);
    }
    (server, begin)
}

/// What it refused, the newest first.
fn expected() -> Vec<String> {
    let pair = |number| {
        [
            "permission_denied analyst".to_owned(),
            format!("login guess-{number}"),
        ]
    };
    (0..5).rev().flat_map(pair).collect()
}

async fn list(caller: &Caller, query: &str) -> Value {
    let answer = caller
        .get(&format!("/api/v1/security/events?{query}"))
        .await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()
}

/// What happened, and whose it was.
fn told(page: &Value) -> Vec<String> {
    let told = |item: &Value| {
        let what = item["violation_type"].as_str().or(item["action"].as_str());
        format!("{} {}", what.unwrap(), item["user"].as_str().unwrap())
    };
    page["items"].as_array().unwrap().iter().map(told).collect()
}

/// An auditor, who is no admin.
async fn auditor(server: &TestServer) -> Caller {
    let user = json!({ "username": "auditor", "password": ADMIN.1, "role": "viewer",
                       "meters": ["*"], "grants": ["audit"] });
    let made = server.admin().await.post("/api/v1/users", &user).await;
    assert_eq!(made.status, 201);
    server
        .nobody()
        .bearer(&server.log_in("auditor", ADMIN.1).await)
}

#[tokio::test]
async fn security_events_are_listed_by_type_user_address_and_time() {
    let (server, begin) = refusing().await;
    let admin = server.admin().await;
    let all = list(&admin, "").await;
    assert_eq!(told(&all), expected());
    assert_eq!(
        (&all["next_cursor"], &all["skipped_lines"]),
        (&Value::Null, &json!(0))
    );
    let item = &all["items"][1];
    assert_eq!(
        (&item["ip_address"], &item["event_type"]),
        (&json!(HERE), &json!("authentication"))
    );
    let fourth_minute = begin.saturating_add_micros(240_000_000);
    for (query, count) in [
        ("type=authentication", 5),
        ("type=permission_denied", 5),
        ("type=security_violation&user=analyst", 5),
        ("type=forged_cursor", 0),
        ("user=guess-3", 1),
        (&format!("address={ELSEWHERE}"), 5),
        (&format!("since={fourth_minute}"), 4),
        (&format!("until={fourth_minute}"), 6),
    ] {
        assert_eq!(told(&list(&admin, query).await).len(), count, "{query}");
    }
    let turned = "since=2020-01-02T00:00:00Z&until=2020-01-01T00:00:00Z";
    for query in ["type=anything", "address=here", "user=a%20b", turned] {
        let answer = admin.get(&format!("/api/v1/security/events?{query}")).await;
        assert_eq!(
            answer.verdict(),
            (400, "invalid_parameter".into()),
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn security_events_survive_a_restart_and_each_page_is_a_look() {
    let (server, begin) = refusing().await;
    let server = server.restart().await.unwrap();
    let auditor = auditor(&server).await;
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(&auditor, &format!("limit=3{cursor}")).await;
        found.extend(told(&page));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        assert_eq!(page["items"].as_array().unwrap().len(), 3);
        cursor = format!("&cursor={next}");
    }
    assert_eq!(found, expected());
    // A cursor is of its list and its reader alone.
    let admin = server.admin().await;
    for (caller, query) in [
        (&auditor, "limit=3&type=authentication"),
        (&admin, "limit=3"),
    ] {
        let answer = caller
            .get(&format!("/api/v1/security/events?{query}{cursor}"))
            .await;
        assert_eq!(answer.verdict(), (400, "invalid_parameter".into()));
    }
    let name = Suspect::Principal("auditor".to_owned());
    let looks = owner(&server)
        .incident(&name, (begin, None), None)
        .await
        .unwrap();
    let pages = looks
        .actions
        .iter()
        .find(|action| action.table == "security_events")
        .unwrap();
    assert_eq!(
        (pages.sum.times, pages.sum.records, &*pages.effect),
        (4, 10, "left")
    );
}
