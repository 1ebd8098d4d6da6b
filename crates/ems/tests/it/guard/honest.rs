//! Honest traffic: it is refused by nothing that an attacker beside it brings about, and raises no
//! alarm of its own.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use ems_core::role::Role;
use ems_testkit::{ADMIN, Caller, TestServer};
use serde_json::{Value, json};

use super::{INVENTED, ME, at, guarded, is_blocked, log_in, of, violations};

fn reading(meter: usize, minute: u64) -> Value {
    let timestamp = format!("2020-01-01T{:02}:{:02}:00Z", minute / 60, minute % 60);
    json!({ "meter_id": format!("house-{meter}"), "timestamp": timestamp, "energy_consumption": 0.2 })
}

/// All that somebody without a credential may try.
async fn attack(attacker: &Caller, round: u64) -> bool {
    let answers = [
        log_in(attacker, ADMIN.0, "not the password").await,
        log_in(attacker, &format!("user{round}"), "not the password").await,
        attacker.clone().api_key(INVENTED).get(ME).await,
        attacker.clone().bearer("a.b.c").get("/api/v1/users").await,
        attacker.get(&format!("/admin/{round}.php")).await,
        attacker.get("/api/v1/meters").await,
    ];
    answers.iter().all(is_blocked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_meters_behind_the_address_of_an_attacker_notice_nothing() {
    let server = guarded()
        .set("limits.address_per_hour", "100")
        .set("limits.key_per_hour", "1000")
        .set("limits.user_per_hour", "10000")
        .start()
        .await;
    let home = "203.0.113.9";
    let mut meters = Vec::new();
    for meter in 0..50 {
        let key = server
            .key_for(Role::MeterReader, &[&format!("house-{meter}")])
            .await;
        meters.push(at(&server, home).api_key(&key));
    }
    let tokens = server.tokens(ADMIN.0, ADMIN.1).await;
    // Each reports once before, as a meter that lives there does.
    for (meter, caller) in meters.iter().enumerate() {
        assert_eq!(
            caller.post("/api/v1/data", &reading(meter, 0)).await.status,
            201
        );
    }
    let (over, shut) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let attacking = {
        let (attacker, over, shut) = (at(&server, home), Arc::clone(&over), Arc::clone(&shut));
        tokio::spawn(async move {
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                round += 1;
                if attack(&attacker, round).await {
                    shut.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    for minute in 1..20 {
        for (meter, caller) in meters.iter().enumerate() {
            let answer = caller.post("/api/v1/data", &reading(meter, minute)).await;
            assert_eq!(answer.status, 201, "{meter} {minute}: {}", answer.text());
        }
        let seen = meters[0].get("/api/v1/data/house-0").await;
        assert_eq!(seen.status, 200, "{}", seen.text());
    }
    let renewed = json!({ "refresh_token": tokens["refresh_token"] });
    let renewed = at(&server, home)
        .post("/api/v1/auth/refresh", &renewed)
        .await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    over.store(true, Ordering::Relaxed);
    attacking.await.unwrap();
    // The attacker is shut out, even with the right password.
    assert!(shut.load(Ordering::Relaxed) > 0);
    assert!(is_blocked(
        &log_in(&at(&server, home), ADMIN.0, ADMIN.1).await
    ));
    let violations = violations(server).await;
    let blocked = of(&violations, "ip_blocked");
    assert!(!blocked.is_empty());
    assert!(
        blocked
            .iter()
            .all(|event| event["details"]["kind"] == "block"),
        "{blocked:?}"
    );
}

#[tokio::test]
async fn an_honest_day_raises_nothing() {
    let server = guarded().start().await;
    let admin = server.admin().await;
    let home = |name: &str| {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/");
        std::fs::read(format!("{dir}{name}")).unwrap()
    };
    for (meter, file) in SAMPLES {
        let key = server.key_for(Role::MeterReader, &[meter]).await;
        let device = at(&server, "203.0.113.9").api_key(&key);
        let sent = device
            .request("POST", "/api/v1/data/batch")
            .header("content-type", "text/csv")
            .header("content-encoding", "gzip")
            .body(home(file));
        let stored = ems_testkit::Answer::of(sent).await;
        assert_eq!(stored.status, 200, "{}", stored.text());
    }
    // People who mistype, look around, and come back to what is gone.
    let people = at(&server, "198.51.100.7");
    for role in Role::ALL {
        server.token_for(role).await;
        let name = role.as_str();
        assert_eq!(
            log_in(&people, name, "mistyped once").await.status,
            if name == "viewer" { 401 } else { continue }
        );
    }
    for role in Role::ALL {
        let name = role.as_str();
        let answer = log_in(&people, name, ADMIN.1).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        let user = people.clone().bearer(&token);
        for (meter, _) in SAMPLES {
            for path in [
                format!("/api/v1/data/{meter}?limit=100"),
                format!("/api/v1/meters/{meter}"),
                format!(
                    "/api/v1/analytics/usage?meter_id={meter}&start=2013-01-01T00:00:00Z&end=2013-02-01T00:00:00Z"
                ),
            ] {
                let status = user.get(&path).await.status;
                assert!(matches!(status, 200 | 403), "{path} {status}");
            }
        }
        assert_eq!(user.get("/api/v1/meters/not-there-yet").await.status, 404);
        assert_eq!(user.get("/api/v1/meters").await.status, 200);
    }
    for path in ["/api/v1/users", "/api/v1/keys", "/api/v1/security/bans"] {
        assert_eq!(admin.get(path).await.status, 200);
    }
    let violations = violations(server).await;
    // Roles that may not are told so, one by one: that is no pattern.
    let patterns: Vec<_> = violations
        .iter()
        .filter(|event| event["violation_type"] != "permission_denied")
        .collect();
    assert!(patterns.is_empty(), "{patterns:?}");
}

/// The meters of the sample data, and their files.
const SAMPLES: [(&str, &str); 3] = [
    ("uk-home-1", "uk-home-1.csv.gz"),
    ("uk-home-2", "uk-home-2.csv.gz"),
    ("sceaux-house", "sceaux-one-minute.csv.gz"),
];

#[tokio::test]
async fn a_server_that_nobody_attacks_shuts_nobody_out() {
    let server = TestServer::start().await;
    assert_eq!(
        server
            .admin()
            .await
            .get("/api/v1/security/bans")
            .await
            .json()["items"],
        json!([])
    );
    assert!(violations(server).await.is_empty());
}
