//! Too much, and what answers show: rate windows are exact, and every answer, whatever became of
//! its request, carries the header fields that protect its reader. Below: abuse of HTTP itself, by
//! hand over real sockets, with others answered meanwhile.

mod flood;
mod frames;
mod heads;
mod slow;
mod wire;

use ems_core::role::Role;
use ems_testkit::{Answer, Caller, TestServer};
use serde_json::{Value, json};

const ME: &str = "/api/v1/auth/me";

/// The answers of many requests at once.
async fn at_once(caller: &Caller, path: &'static str, count: usize) -> Vec<Answer> {
    let asked: Vec<_> = (0..count)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.get(path).await })
        })
        .collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    answers
}

fn passed(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

/// A refusal by a window of `n` an hour.
fn is_refused(answer: &Answer, n: usize) {
    assert_eq!(answer.verdict(), (429, "rate_limited".into()));
    assert_eq!(answer.json()["error"], json!("Rate limit exceeded"));
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
    assert_eq!(
        answer.header("ratelimit-policy"),
        format!("\"default\";q={n};w=3600")
    );
    assert!(
        answer.header("ratelimit").starts_with("\"default\";r=0;t="),
        "{}",
        answer.header("ratelimit")
    );
}

#[tokio::test]
async fn of_three_times_the_window_at_once_exactly_the_window_passes() {
    let server = TestServer::builder()
        .set("limits.key_per_hour", "20")
        .start()
        .await;
    let caller = server
        .nobody()
        .api_key(&server.key_for(Role::Viewer, &["*"]).await);
    let answers = at_once(&caller, ME, 60).await;
    assert_eq!(passed(&answers), 20);
    answers
        .iter()
        .filter(|answer| answer.status != 200)
        .for_each(|answer| is_refused(answer, 20));
    // Each that passed was told another number that is left: 19 down to 0.
    let mut left: Vec<usize> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| {
            let rest = answer
                .header("ratelimit")
                .strip_prefix("\"default\";r=")
                .unwrap();
            rest.split(';').next().unwrap().parse().unwrap()
        })
        .collect();
    left.sort_unstable();
    assert_eq!(left, (0..20).collect::<Vec<_>>());
    // Another key has a window of its own.
    let other = server
        .nobody()
        .api_key(&server.key_for(Role::Viewer, &["*"]).await);
    assert_eq!(other.get(ME).await.status, 200);
}

#[tokio::test]
async fn a_user_has_one_window_for_all_sessions() {
    let server = TestServer::builder()
        .set("limits.user_per_hour", "10")
        .start()
        .await;
    // Making the first session's user costs the admin one of his.
    let (one, two) = (
        server.user(Role::Analyst).await,
        server.user(Role::Analyst).await,
    );
    let answers = [at_once(&one, ME, 15).await, at_once(&two, ME, 15).await].concat();
    assert_eq!(passed(&answers), 10);
}

#[tokio::test]
async fn requests_without_a_valid_credential_share_their_address_window() {
    let server = TestServer::builder()
        .set("limits.address_per_hour", "10")
        .start()
        .await;
    let token = server.admin().await; // The login is the first of the ten.
    let stranger = server.nobody();
    let (a, b, c) = tokio::join!(
        at_once(&stranger, ME, 5),
        async {
            let forged = stranger.clone().api_key("hello");
            at_once(&forged, ME, 5).await
        },
        async {
            let mut answers = Vec::new();
            for _ in 0..5 {
                let body = json!({ "username": "x", "password": "y" });
                answers.push(stranger.post("/api/v1/auth/token", &body).await);
            }
            answers
        }
    );
    let answers = [a, b, c].concat();
    let refused: Vec<&Answer> = answers
        .iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert_eq!(refused.len(), 15 - 9);
    refused
        .into_iter()
        .for_each(|answer| is_refused(answer, 10));
    // Who proves himself is not held up, and what is open is outside of every window.
    assert_eq!(token.get(ME).await.status, 200);
    for _ in 0..20 {
        assert_eq!(stranger.get("/health").await.status, 200);
    }
    assert_eq!(stranger.get("/health").await.header("ratelimit"), "");
}

#[tokio::test]
async fn readings_have_a_window_that_a_batch_fills_whole_or_not_at_all() {
    let server = TestServer::builder()
        .set("limits.readings_per_hour", "100")
        .start()
        .await;
    let caller = server
        .nobody()
        .api_key(&server.key_for(Role::MeterReader, &["*"]).await);
    let rows = |meter: &str, count: usize| -> Value {
        let row = |index: usize| {
            let at = format!("2020-01-01T{:02}:{:02}:00Z", index / 60, index % 60);
            json!({ "meter_id": meter, "timestamp": at, "energy_consumption": 1 })
        };
        (0..count).map(row).collect::<Vec<_>>().into()
    };
    let post =
        async |meter: &str, count| caller.post("/api/v1/data/batch", &rows(meter, count)).await;
    assert_eq!(post("m1", 60).await.status, 200);
    let refused = post("m2", 41).await;
    assert_eq!(refused.verdict(), (429, "rate_limited".into()));
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(caller.get("/api/v1/data/m2").await.status, 404);
    assert_eq!(post("m3", 40).await.status, 200);
    assert_eq!(post("m4", 1).await.status, 429);
}

#[tokio::test]
async fn every_answer_carries_the_header_fields_that_protect_its_reader() {
    let server = TestServer::start().await;
    let (nobody, admin) = (server.nobody(), server.admin().await);
    let mut ids = std::collections::HashSet::new();
    let long = format!("/{}", "a".repeat(9000));
    for (who, method, path, status) in [
        (&nobody, "GET", "/health", 200),
        (&nobody, "GET", "/docs", 200),
        (&nobody, "GET", "/api/v1/openapi.json", 200),
        (&nobody, "GET", ME, 401),
        (&admin, "GET", ME, 200),
        (&admin, "GET", "/api/v1/nothing", 404),
        (&admin, "GET", "/", 404),
        (&admin, "DELETE", ME, 405),
        (&admin, "TRACE", ME, 405),
        (&admin, "POST", "/api/v1/data", 415),
        (&admin, "GET", &long, 414),
    ] {
        let answer = Answer::of(who.request(method, path)).await;
        let what = path.get(..40).unwrap_or(path);
        assert_eq!(answer.status, status, "{method} {what}: {}", answer.text());
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("x-xss-protection", "1; mode=block"),
            (
                "strict-transport-security",
                "max-age=31536000; includeSubDomains",
            ),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{method} {what}");
        }
        let csp = answer.header("content-security-policy");
        assert!(
            csp.starts_with("default-src 'self'") && !csp.contains("unsafe"),
            "{csp}"
        );
        assert!(
            !answer.header("permissions-policy").is_empty(),
            "{method} {what}"
        );
        assert!(
            ids.insert(answer.header("x-request-id").to_owned()),
            "{method} {what}"
        );
        if path.starts_with("/api/v1/") && !path.ends_with("openapi.json") {
            assert_eq!(
                answer.header("cache-control"),
                "no-store",
                "{method} {what}"
            );
        }
        for name in ["server", "x-powered-by", "via"] {
            assert_eq!(answer.header(name), "", "{method} {what}");
        }
        if status == 405 {
            assert_eq!(answer.header("allow"), "GET, HEAD", "{method} {what}");
        }
    }
    // A stranger's own id is not taken over.
    let own = Answer::of(
        nobody
            .request("GET", "/health")
            .header("x-request-id", "mine"),
    )
    .await;
    assert_ne!(own.header("x-request-id"), "mine");
}
