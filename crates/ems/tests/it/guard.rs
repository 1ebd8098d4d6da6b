//! Addresses that misbehave are shut out, and nobody else is.

mod honest;
mod patterns;

use std::{
    fs,
    net::IpAddr,
    time::{Duration, Instant},
};

use ems_core::role::Role;
use ems_testkit::{ADMIN, Answer, Builder, Caller, TestServer};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};

const ME: &str = "/api/v1/auth/me";
const TOKEN: &str = "/api/v1/auth/token";
const BANS: &str = "/api/v1/security/bans";
/// An API key of the right form that nobody has.
const INVENTED: &str = "ems_zzzzzzzz_0000000000000000000000000000000000000000000000000";

/// A server that shuts out as it does by default, behind a proxy on this machine.
fn guarded() -> Builder {
    TestServer::builder()
        .set("guard.failed_logins", "5")
        .set("guard.ban_score", "20")
        .set("server.trusted_proxies", "[\"127.0.0.1/32\"]")
}

/// Somebody at an address.
fn at(server: &TestServer, address: &str) -> Caller {
    server.nobody().forwarded_for(address)
}

async fn log_in(caller: &Caller, name: &str, password: &str) -> Answer {
    let body = json!({ "username": name, "password": password });
    caller.post(TOKEN, &body).await
}

/// The violations of `security.log`, once the server has written all of them.
async fn violations(server: TestServer) -> Vec<Value> {
    let place = server.stop().await.unwrap();
    let log = fs::read_to_string(place.path().join("instance/log/security.log")).unwrap();
    log.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event_type"] == "security_violation")
        .collect()
}

fn of<'a>(violations: &'a [Value], name: &str) -> Vec<&'a Value> {
    let named = |event: &&Value| event["violation_type"] == name;
    violations.iter().filter(named).collect()
}

fn is_blocked(answer: &Answer) -> bool {
    answer.verdict() == (403, "request_blocked".into())
}

#[tokio::test]
async fn five_failures_shut_an_address_out_and_a_live_principal_goes_on() {
    let server = guarded().start().await;
    let key = server.key_for(Role::Viewer, &["*"]).await;
    let tokens = server.tokens(ADMIN.0, ADMIN.1).await;
    let (attacker, other) = (at(&server, "203.0.113.9"), at(&server, "203.0.113.10"));
    // A password, a key, a forged token, a refresh token, a password: each is one.
    assert_eq!(
        log_in(&attacker, ADMIN.0, "not the password").await.status,
        401
    );
    assert_eq!(attacker.clone().api_key(INVENTED).get(ME).await.status, 401);
    assert_eq!(attacker.clone().bearer("a.b.c").get(ME).await.status, 401);
    let forged = json!({ "refresh_token": "emsr_x_y" });
    let refresh = "/api/v1/auth/refresh";
    assert_eq!(attacker.post(refresh, &forged).await.status, 401);
    assert_eq!(
        log_in(&attacker, "nobody", "not the password").await.status,
        401
    );

    let blocked = log_in(&attacker, ADMIN.0, ADMIN.1).await;
    assert!(is_blocked(&blocked), "{}", blocked.text());
    assert_eq!(blocked.json()["detail"], "Request blocked");
    assert!(is_blocked(&attacker.get(ME).await));
    assert!(is_blocked(
        &attacker.clone().api_key(INVENTED).get(ME).await
    ));
    assert!(is_blocked(&attacker.post(refresh, &forged).await));
    assert_eq!(attacker.get("/health").await.status, 200);
    // Whoever lives there has a valid credential, of whichever kind.
    let neighbour = at(&server, "203.0.113.9");
    assert_eq!(neighbour.clone().api_key(&key).get(ME).await.status, 200);
    let renewed = json!({ "refresh_token": tokens["refresh_token"] });
    assert_eq!(neighbour.post(refresh, &renewed).await.status, 200);
    // And elsewhere nobody notices.
    assert_eq!(log_in(&other, ADMIN.0, ADMIN.1).await.status, 200);

    let violations = violations(server).await;
    let told = of(&violations, "ip_blocked");
    assert_eq!(told.len(), 1, "{told:?}");
    let details = &told[0]["details"];
    assert_eq!(details["reason"], "too_many_failed_attempts");
    assert_eq!(
        (&details["kind"], &details["network"], &details["seconds"]),
        (&json!("block"), &json!("203.0.113.9"), &json!(900))
    );
}

#[tokio::test]
async fn what_was_good_once_and_a_mistake_or_two_shut_nobody_out() {
    let server = guarded().set("auth.access_ttl", "1m").start().await;
    let caller = at(&server, "203.0.113.9");
    let expired = server.log_in(ADMIN.0, ADMIN.1).await;
    server.clock().advance(Duration::from_mins(2));
    for _ in 0..10 {
        let refused = caller.clone().bearer(&expired).get(ME).await;
        assert_eq!(refused.status, 401);
    }
    for _ in 0..4 {
        assert_eq!(
            log_in(&caller, ADMIN.0, "not the password").await.status,
            401
        );
    }
    assert_eq!(log_in(&caller, ADMIN.0, ADMIN.1).await.status, 200);
    assert!(of(&violations(server).await, "ip_blocked").is_empty());
}

#[tokio::test]
async fn of_many_guesses_at_once_no_more_than_five_are_answered() {
    let server = guarded().start().await;
    let guesses: Vec<_> = (0..40)
        .map(|guess| {
            let caller = at(&server, "203.0.113.9");
            tokio::spawn(async move {
                // The last of all is right.
                let password = if guess == 39 {
                    ADMIN.1
                } else {
                    "not the password"
                };
                log_in(&caller, ADMIN.0, password).await
            })
        })
        .collect();
    let mut wrong = 0;
    for guess in guesses {
        let answer = guess.await.unwrap();
        match answer.status {
            401 => wrong += 1,
            // The right one may have been among the first.
            200 => {}
            _ => assert!(is_blocked(&answer), "{}", answer.text()),
        }
    }
    assert!(wrong <= 5, "{wrong}");
}

#[tokio::test]
async fn a_block_ends_by_itself_and_the_next_lasts_four_times_longer() {
    let server = guarded()
        .set("guard.block_time", "1s")
        .set("guard.ban_score", "0")
        .start()
        .await;
    let attacker = at(&server, "203.0.113.9");
    let fail = async || {
        for _ in 0..5 {
            assert_eq!(
                log_in(&attacker, ADMIN.0, "not the password").await.status,
                401
            );
        }
        assert!(is_blocked(&attacker.get(ME).await));
    };
    let let_in = async || {
        let begin = Instant::now();
        while is_blocked(&attacker.get(ME).await) {
            assert!(begin.elapsed() < Duration::from_secs(30), "for ever");
        }
    };
    fail().await;
    let_in().await;
    fail().await;
    let bans = server.admin().await.get(BANS).await.json();
    let ban = &bans["items"][0];
    assert_eq!(
        (&ban["ip"], &ban["level"]),
        (&json!("203.0.113.9"), &json!(2))
    );
    let violations = violations(server).await;
    let told = of(&violations, "ip_blocked");
    let seconds: Vec<_> = told
        .iter()
        .map(|event| &event["details"]["seconds"])
        .collect();
    assert_eq!(seconds, [&json!(1), &json!(4)]);
}

#[tokio::test]
async fn who_is_shut_out_is_listed_and_lifted_and_stays_so_over_a_restart() {
    let server = guarded().start().await;
    let attacker = at(&server, "203.0.113.9");
    for _ in 0..5 {
        log_in(&attacker, ADMIN.0, "not the password").await;
    }
    let admin = server.admin().await;
    let by_hand = json!({ "ip": "2001:db8:1:2::7" });
    let made = admin.post(BANS, &by_hand).await;
    assert_eq!(
        (made.status, &made.json()["ip"]),
        (201, &json!("2001:db8:1:2::/64"))
    );
    let server = server.restart().await.unwrap();
    let (attacker, admin) = (at(&server, "203.0.113.9"), server.admin().await);
    assert!(is_blocked(&attacker.get(ME).await));
    assert!(is_blocked(
        &at(&server, "2001:db8:1:2:ffff::1").get(ME).await
    ));
    let bans = admin.get(BANS).await.json();
    let listed: Vec<_> = bans["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ban| json!([ban["ip"], ban["kind"], ban["reason"], ban["by"]]))
        .collect();
    assert_eq!(
        listed,
        [
            json!(["2001:db8:1:2::/64", "ban", "manual", "root"]),
            json!(["203.0.113.9", "block", "too_many_failed_attempts", "system"]),
        ]
    );
    let one = format!("{BANS}/203.0.113.9");
    assert_eq!(admin.get(&one).await.json()["level"], 1);
    assert_eq!(admin.delete(&one).await.status, 204);
    assert_eq!(log_in(&attacker, ADMIN.0, ADMIN.1).await.status, 200);
    for (path, status) in [(one.as_str(), 404), ("/api/v1/security/bans/ems", 404)] {
        assert_eq!(admin.delete(path).await.status, status, "{path}");
    }
    // Within a network that is shut out, any of its addresses names it.
    let inside = admin.delete(&format!("{BANS}/2001:db8:1:2::99")).await;
    assert_eq!(inside.status, 204);
    assert_eq!(admin.get(BANS).await.json()["items"], json!([]));
    let server = server.restart().await.unwrap();
    assert_eq!(at(&server, "2001:db8:1:2::7").get(ME).await.status, 401);
    let violations = violations(server).await;
    assert_eq!(of(&violations, "ip_released").len(), 2);
    assert_eq!(of(&violations, "ip_blocked").len(), 2);
}

#[tokio::test]
async fn what_cannot_be_a_ban_is_refused_and_who_is_spared_is_never_shut_out() {
    let server = guarded()
        .set("guard.ban_allow", "[\"198.51.100.0/24\"]")
        .start()
        .await;
    let admin = server.admin().await;
    for body in [
        json!({}),
        json!({ "ip": "203.0.113.0/24" }),
        json!({ "ip": "somewhere" }),
        json!({ "ip": "203.0.113.1", "until": "2020-01-01T00:00:00Z" }),
        json!({ "ip": "203.0.113.1", "until": "2999-01-01T00:00:00Z" }),
        json!({ "ip": "203.0.113.1", "kind": "curse" }),
    ] {
        assert_eq!(admin.post(BANS, &body).await.status, 422, "{body}");
    }
    for spared in ["198.51.100.7", "127.0.0.1"] {
        let refused = admin.post(BANS, &json!({ "ip": spared })).await;
        assert_eq!(refused.verdict(), (409, "conflict".into()), "{spared}");
    }
    let spared = at(&server, "198.51.100.7");
    for _ in 0..8 {
        assert_eq!(
            log_in(&spared, ADMIN.0, "not the password").await.status,
            401
        );
    }
    let spared = log_in(&spared, ADMIN.0, ADMIN.1).await;
    assert_eq!(spared.status, 200, "{}", spared.text());
    assert_eq!(admin.get(BANS).await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_banned_address_gets_no_connection() {
    let server = TestServer::builder()
        .set("guard.ban_score", "20")
        .start()
        .await;
    let here = |address: &str| {
        let authorities = Certificate::from_pem_bundle(server.ca_pem()).unwrap();
        let address: IpAddr = address.parse().unwrap();
        Client::builder()
            .tls_certs_only(authorities)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .local_address(address)
            .build()
            .unwrap()
    };
    let (scanner, other) = (here("127.0.0.66"), here("127.0.0.67"));
    let base = server.base_url();
    let mut refused = 0;
    for path in 0..200 {
        if let Ok(answer) = scanner.get(format!("{base}/wp-admin/{path}")).send().await {
            assert_eq!(answer.status(), 404);
        } else {
            refused = path;
            break;
        }
    }
    // Two bursts of forty.
    assert!((80..=90).contains(&refused), "{refused}");
    let health = other.get(format!("{base}/health")).send().await.unwrap();
    assert_eq!(health.status(), 200);
    let bans = server.admin().await.get(BANS).await.json();
    let ban = &bans["items"][0];
    assert_eq!(
        json!([ban["ip"], ban["kind"], ban["reason"]]),
        json!(["127.0.0.66", "ban", "attack_score"])
    );
    let page = reqwest::get(server.metrics_url().unwrap()).await.unwrap();
    let page = page.text().await.unwrap();
    for line in [
        "ems_guard_sentenced_total{kind=\"ban\",reason=\"attack_score\"} 1",
        "ems_guard_patterns_total{pattern=\"burst_not_found\"} 2",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    let violations = violations(server).await;
    assert_eq!(of(&violations, "burst_not_found").len(), 2);
    assert_eq!(of(&violations, "ip_blocked").len(), 1);
}

#[tokio::test]
async fn networks_that_are_shut_out_one_after_another_shut_out_all_around_them() {
    let server = guarded().start().await;
    for network in 0..8 {
        let attacker = at(&server, &format!("2001:db8:1:{network}::1"));
        for host in 0..5 {
            let attacker = attacker.clone();
            let refused = log_in(&attacker, ADMIN.0, "not the password").await;
            assert_eq!(refused.status, 401, "{network} {host}");
        }
    }
    assert!(is_blocked(&at(&server, "2001:db8:1:ffff::1").get(ME).await));
    assert_eq!(at(&server, "2001:db8:2:ffff::1").get(ME).await.status, 401);
    let bans = server
        .admin()
        .await
        .get(&format!("{BANS}/2001:db8:1::%2F48"))
        .await;
    assert_eq!(bans.json()["reason"], "spread", "{}", bans.text());
}
