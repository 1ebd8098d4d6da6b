//! Each pattern of attack, played and seen by its name.

use ems_core::role::Role;
use ems_testkit::{ADMIN, TestServer};
use serde_json::{Value, json};

use super::{INVENTED, ME, at, guarded, log_in, of, violations};

/// The details of the one violation of a name.
fn one(violations: &[Value], name: &str) -> Value {
    let found = of(violations, name);
    assert_eq!(found.len(), 1, "{name}: {violations:?}");
    found[0]["details"].clone()
}

#[tokio::test]
async fn many_accounts_from_one_address() {
    let server = guarded()
        .set("guard.failed_logins", "0")
        .set("guard.many_accounts", "3")
        .start()
        .await;
    let attacker = at(&server, "203.0.113.9");
    for name in ["alice", "alice", "bob", "bob", "carol", "dave", "carol"] {
        log_in(&attacker, name, "not the password").await;
    }
    let details = one(&violations(server).await, "many_accounts");
    assert_eq!(details["ip_address"], "203.0.113.9");
    assert_eq!(details["count"], 3);
}

#[tokio::test]
async fn one_account_from_many_addresses() {
    let server = guarded().set("guard.many_addresses", "3").start().await;
    for address in [
        "203.0.113.1",
        "203.0.113.1",
        "203.0.113.2",
        "203.0.113.3",
        "203.0.113.4",
    ] {
        log_in(&at(&server, address), ADMIN.0, "not the password").await;
    }
    let violations = violations(server).await;
    assert_eq!(one(&violations, "many_addresses")["count"], 3);
    assert!(of(&violations, "many_accounts").is_empty());
}

#[tokio::test]
async fn a_refresh_token_that_was_spent() {
    let server = guarded().start().await;
    let tokens = server.tokens(ADMIN.0, ADMIN.1).await;
    let spent = json!({ "refresh_token": tokens["refresh_token"] });
    let refresh = "/api/v1/auth/refresh";
    assert_eq!(server.nobody().post(refresh, &spent).await.status, 200);
    server.clock().advance(std::time::Duration::from_mins(1));
    assert_eq!(server.nobody().post(refresh, &spent).await.status, 401);
    one(&violations(server).await, "refresh_token_reuse");
}

#[tokio::test]
async fn bursts_of_401_403_and_404() {
    let server = guarded()
        .set("guard.failed_logins", "0")
        .set("guard.ban_score", "0")
        .set("guard.burst_401", "4")
        .set("guard.burst_403", "4")
        .set("guard.burst_404", "4")
        .start()
        .await;
    let viewer = server.user(Role::Viewer).await.forwarded_for("203.0.113.8");
    let stranger = at(&server, "203.0.113.9");
    for meter in 0..4 {
        stranger.clone().api_key(INVENTED).get(ME).await;
        viewer.get("/api/v1/users").await;
        viewer.get(&format!("/api/v1/data/none{meter}")).await;
    }
    let violations = violations(server).await;
    for (name, user, address) in [
        ("burst_unauthorized", "anonymous", "203.0.113.9"),
        ("burst_forbidden", "viewer", "203.0.113.8"),
        ("burst_not_found", "viewer", "203.0.113.8"),
    ] {
        let found = of(&violations, name);
        assert_eq!(found.len(), 1, "{name}: {violations:?}");
        assert_eq!(
            (&found[0]["user"], &found[0]["ip_address"]),
            (&json!(user), &json!(address))
        );
    }
}

#[tokio::test]
async fn a_key_from_a_network_that_is_new() {
    let server = guarded().start().await;
    let key = server.key_for(Role::Viewer, &["*"]).await;
    let from = async |address: &str| {
        let caller = at(&server, address).api_key(&key);
        assert_eq!(caller.get(ME).await.status, 200, "{address}");
    };
    for address in ["203.0.113.1", "203.0.113.200", "203.0.113.1"] {
        from(address).await;
    }
    from("198.51.100.1").await;
    from("198.51.100.2").await;
    let details = one(&violations(server).await, "new_network");
    assert_eq!(details["network"], "198.51.100.0/24");
}

#[tokio::test]
async fn meters_that_are_not_the_callers() {
    let server = guarded().set("guard.scope_probes", "4").start().await;
    let admin = server.admin().await;
    let reading = |meter: &str| json!({ "meter_id": meter, "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 1 });
    for meter in ["plant8-a", "plant8-b", "plant8-c", "plant8-d"] {
        admin.post("/api/v1/data", &reading(meter)).await;
    }
    let key = server.key_for(Role::Analyst, &["plant7-*"]).await;
    let prober = server.nobody().api_key(&key);
    // The same one again and again is no more than one.
    for path in [
        "data/plant8-a",
        "data/plant8-a",
        "data/plant8-a",
        "data/plant8-a",
        "data/plant8-a",
        "meters/plant8-b",
        "analytics/usage?meter_id=plant8-c",
    ] {
        assert_eq!(prober.get(&format!("/api/v1/{path}")).await.status, 404);
    }
    assert_eq!(
        prober
            .post("/api/v1/data", &reading("plant8-d"))
            .await
            .status,
        403
    );
    let other = server
        .nobody()
        .api_key(&server.key_for(Role::Analyst, &["plant7-*"]).await);
    let rows = json!([
        reading("a"),
        reading("b"),
        reading("c"),
        reading("d"),
        reading("plant7-a")
    ]);
    assert_eq!(other.post("/api/v1/data/batch", &rows).await.status, 200);
    let violations = violations(server).await;
    let users: Vec<_> = of(&violations, "scope_probing")
        .iter()
        .map(|event| &event["user"])
        .collect();
    assert_eq!(users.len(), 2, "{violations:?}");
    assert_ne!(users[0], users[1]);
}

#[tokio::test]
async fn a_reading_that_jumps() {
    let server = guarded().start().await;
    let admin = server.admin().await;
    let reading = |hour: u64, energy: f64| json!({ "meter_id": "plant7-a", "timestamp": format!("2020-01-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24), "energy_consumption": energy });
    let day: Vec<Value> = (0..48).map(|hour| reading(hour, 0.5)).collect();
    assert_eq!(
        admin.post("/api/v1/data/batch", &json!(day)).await.status,
        200
    );
    assert_eq!(
        admin.post("/api/v1/data", &reading(50, 5.0)).await.status,
        201
    );
    let jumped = admin.post("/api/v1/data", &reading(51, 53_700.0)).await;
    // It is stored and told: who is to be billed for it is not ours to say.
    assert_eq!(jumped.status, 201);
    let details = one(&violations(server).await, "reading_jump");
    assert_eq!(
        (&details["meters"], &details["times"]),
        (&json!(1), &json!(10740.0))
    );
    let meter = details["meter"].as_str().unwrap();
    assert!(meter.starts_with("m_"), "{meter}");
}

#[tokio::test]
async fn so_many_principals_at_one_address_that_it_must_be_a_proxy() {
    let server = TestServer::builder()
        .set("guard.proxy_principals", "5")
        .start()
        .await;
    for _ in 0..6 {
        let key = server.key_for(Role::Viewer, &["*"]).await;
        for _ in 0..3 {
            server.nobody().api_key(&key).get(ME).await;
        }
    }
    let details = one(&violations(server).await, "undeclared_proxy");
    assert_eq!(
        (&details["principals"], &details["ip_address"]),
        (&json!(5), &json!("127.0.0.1"))
    );
}
