//! The whole policy over the wire: every route, for every kind of caller.
//!
//! What is expected comes from the role table of the security guide, written out here a second
//! time; a route that is in the policy and not here fails.

use ems_core::{
    policy::TABLE,
    role::Role::{self, Admin, Analyst, MeterReader, Viewer},
};
use ems_testkit::{ADMIN, Answer, Caller, TestServer};
use serde_json::json;

/// Who passes: nobody needed, anyone who proves himself, or the holders of these roles.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pass {
    Everyone,
    Proven,
    /// An admin, or whoever has the grant `audit`.
    Auditors,
    Roles(&'static [Role]),
}

const READ: Pass = Pass::Roles(&[Admin, Analyst, Viewer, MeterReader]);
const METER_DATA: Pass = Pass::Roles(&[Admin, Analyst, MeterReader]);
const WRITE: Pass = Pass::Roles(&[Admin, Analyst]);
const ANALYZE: Pass = Pass::Roles(&[Admin, Analyst]);
const DELETE: Pass = Pass::Roles(&[Admin]);
/// Nobody over the network, whatever the role.
const OWN: Pass = Pass::Roles(&[]);
const ADMINISTER: Pass = Pass::Roles(&[Admin]);

#[rustfmt::skip]
const EXPECTED: &[(&str, &str, Pass)] = &[
    ("GET", "/health", Pass::Everyone),
    ("GET", "/ready", Pass::Everyone),
    ("GET", "/docs", Pass::Everyone),
    ("GET", "/docs/style.css", Pass::Everyone),
    ("GET", "/api/v1/openapi.json", Pass::Everyone),
    ("POST", "/api/v1/auth/token", Pass::Everyone),
    ("POST", "/api/v1/auth/refresh", Pass::Everyone),
    ("POST", "/api/v1/auth/logout", Pass::Proven),
    ("GET", "/api/v1/auth/me", Pass::Proven),
    ("PUT", "/api/v1/auth/password", Pass::Proven),
    ("POST", "/api/v1/auth/mfa", Pass::Proven),
    ("DELETE", "/api/v1/auth/mfa", Pass::Proven),
    ("POST", "/api/v1/auth/mfa/confirm", Pass::Proven),
    ("GET", "/api/v1/auth/sso/login", Pass::Everyone),
    ("GET", "/api/v1/auth/sso/callback", Pass::Everyone),
    ("POST", "/api/v1/users", ADMINISTER),
    ("GET", "/api/v1/users", ADMINISTER),
    ("GET", "/api/v1/users/{username}", ADMINISTER),
    ("PATCH", "/api/v1/users/{username}", ADMINISTER),
    ("DELETE", "/api/v1/users/{username}", ADMINISTER),
    ("DELETE", "/api/v1/users/{username}/mfa", ADMINISTER),
    ("POST", "/api/v1/keys", ADMINISTER),
    ("GET", "/api/v1/keys", ADMINISTER),
    ("DELETE", "/api/v1/keys/{id}", ADMINISTER),
    ("POST", "/api/v1/keys/{id}/rotate", ADMINISTER),
    ("GET", "/api/v1/data/secure", Pass::Proven),
    ("POST", "/api/v1/data", METER_DATA),
    ("POST", "/api/v1/data/batch", METER_DATA),
    ("POST", "/api/v1/data/validate", METER_DATA),
    ("GET", "/api/v1/data/{meter_id}", READ),
    ("DELETE", "/api/v1/data/{meter_id}", DELETE),
    ("GET", "/api/v1/meters", READ),
    ("GET", "/api/v1/meters/{meter_id}", READ),
    ("PUT", "/api/v1/meters/{meter_id}", WRITE),
    ("DELETE", "/api/v1/meters/{meter_id}", DELETE),
    ("GET", "/api/v1/analytics/usage", ANALYZE),
    ("GET", "/api/v1/security/bans", ADMINISTER),
    ("POST", "/api/v1/security/bans", ADMINISTER),
    ("GET", "/api/v1/security/bans/{ip}", ADMINISTER),
    ("DELETE", "/api/v1/security/bans/{ip}", ADMINISTER),
    ("GET", "/api/v1/security/events", Pass::Auditors),
    ("GET", "/api/v1/security/incident", OWN),
    ("GET", "/api/v1/security/alerts", ADMINISTER),
    ("POST", "/api/v1/security/alerts/test", ADMINISTER),
    ("GET", "/api/v1/keyring", OWN),
    ("POST", "/api/v1/keyring/pages", OWN),
    ("POST", "/api/v1/keyring/root", OWN),
    ("DELETE", "/api/v1/keyring/meters/{meter_id}", OWN),
];

/// A kind of caller: what it is called here, its role if it is anyone, and itself.
struct Who {
    name: String,
    role: Option<Role>,
    caller: Caller,
}

impl Who {
    fn new(name: &str, role: Option<Role>, caller: Caller) -> Self {
        Self {
            name: name.to_owned(),
            role,
            caller,
        }
    }
}

/// Asks a route in a way that changes nothing: what it names is not there, its body is no object.
/// Whatever comes after the policy refuses it, and not with 401 or 403.
async fn ask(caller: &Caller, method: &str, template: &str) -> Answer {
    let path = template
        .replace("{username}", "no-such-user")
        .replace("{id}", "zzzzzzzz")
        .replace("{ip}", "198.51.100.77")
        .replace("{meter_id}", "no-such-meter");
    let request = caller.request(method, &path);
    Answer::of(
        if method == "GET" || method == "DELETE" || template.ends_with("logout") {
            request
        } else {
            request.json(&json!("nothing"))
        },
    )
    .await
}

async fn callers(server: &TestServer) -> Vec<Who> {
    let admin = server.admin().await;
    let mut callers = vec![Who::new("nobody", None, server.nobody())];
    for role in Role::ALL {
        let name = role.as_str();
        callers.push(Who::new(name, Some(role), server.user(role).await));
        let key = server.nobody().api_key(&server.key_for(role, &["*"]).await);
        callers.push(Who::new(&format!("key of {name}"), Some(role), key));
    }
    // What a grant opens, it opens whatever the role.
    for grant in ["audit", "privacy"] {
        let user = json!({ "username": grant, "password": ADMIN.1, "role": "viewer",
                           "meters": ["*"], "grants": [grant] });
        assert_eq!(admin.post("/api/v1/users", &user).await.status, 201);
        let granted = server.nobody().bearer(&server.log_in(grant, ADMIN.1).await);
        callers.push(Who::new(
            &format!("viewer with {grant}"),
            Some(Viewer),
            granted,
        ));
    }
    callers
}

#[test]
fn every_route_is_expected_here_and_every_expectation_has_a_route() {
    for row in TABLE {
        let found = EXPECTED
            .iter()
            .filter(|(method, path, _)| (*method, *path) == (row.method, row.path));
        assert_eq!(found.count(), 1, "{} {}", row.method, row.path);
    }
    assert_eq!(TABLE.len(), EXPECTED.len());
}

#[tokio::test]
async fn every_caller_passes_where_the_role_table_says_so_and_nowhere_else() {
    let server = TestServer::start().await;
    let mut wrong = Vec::new();
    for who in callers(&server).await {
        // A logout that passes ends the session, so it comes last.
        let is_logout = |row: &&(&str, &str, Pass)| row.1.ends_with("/logout");
        let others = EXPECTED.iter().filter(|row| !is_logout(row));
        for (method, path, pass) in others.chain(EXPECTED.iter().filter(is_logout)) {
            let answer = ask(&who.caller, method, path).await;
            // A key passes, but has no session that could end.
            let sessionless = path.ends_with("/logout") && who.name.starts_with("key of");
            let expected = match (pass, who.role) {
                _ if sessionless => Some((403, "insufficient_permissions")),
                (Pass::Everyone, _) | (Pass::Proven, Some(_)) | (Pass::Auditors, Some(Admin)) => {
                    None
                }
                (Pass::Roles(roles), Some(role)) if roles.contains(&role) => None,
                (Pass::Auditors, _) if who.name.ends_with("with audit") => None,
                (Pass::Auditors | Pass::Roles(_), Some(_)) => {
                    Some((403, "insufficient_permissions"))
                }
                (_, None) => Some((401, "invalid_credentials")),
            };
            let (status, code) = answer.verdict();
            let fits = match expected {
                Some(refusal) => (status, &*code) == refusal,
                None => !matches!(status, 401 | 403 | 405 | 500..),
            };
            if !fits {
                wrong.push(format!("{} {method} {path}: {status} {code}", who.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn two_credentials_at_once_are_ambiguous_everywhere_but_on_open_routes() {
    let server = TestServer::start().await;
    let token = server.token_for(Admin).await;
    let key = server.key_for(Admin, &["*"]).await;
    let both = server.nobody().bearer(&token).api_key(&key);
    for (method, path, _) in EXPECTED {
        let answer = ask(&both, method, path).await;
        let open = [
            "/health",
            "/ready",
            "/docs",
            "/docs/style.css",
            "/api/v1/openapi.json",
        ];
        if open.contains(path) {
            assert!(answer.status != 400, "{method} {path}: {}", answer.text());
        } else {
            assert_eq!(
                answer.verdict(),
                (400, "ambiguous_credentials".into()),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn outside_of_its_meters_a_caller_reads_404_and_writes_403() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let reading = |meter: &str| json!({ "meter_id": meter, "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 1 });
    assert_eq!(
        admin
            .post("/api/v1/data", &reading("plant8-a"))
            .await
            .status,
        201
    );
    let key = server.key_for(Analyst, &["plant7-*"]).await;
    let caller = server.nobody().api_key(&key);

    // As if it did not exist: the same answer as for one that does not.
    for path in [
        "/api/v1/data/",
        "/api/v1/meters/",
        "/api/v1/analytics/usage?meter_id=",
    ] {
        let hidden = caller.get(&format!("{path}plant8-a")).await;
        let absent = caller.get(&format!("{path}plant7-none")).await;
        assert_eq!(hidden.verdict(), (404, "not_found".into()), "{path}");
        assert_eq!(hidden.json()["detail"], absent.json()["detail"], "{path}");
        assert_eq!(absent.status, 404, "{path}");
    }
    let refused = caller.post("/api/v1/data", &reading("plant8-a")).await;
    assert_eq!(refused.verdict(), (403, "out_of_scope".into()));
    let refused = caller.put("/api/v1/meters/plant8-a", &json!({})).await;
    assert_eq!(refused.verdict(), (403, "out_of_scope".into()));

    let rows = json!([
        reading("plant7-a"),
        reading("plant8-b"),
        reading("plant7-b")
    ]);
    let answer = caller.post("/api/v1/data/batch", &rows).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.json()["accepted"], &answer.json()["rejected"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(
        answer.faults(),
        [(Some(1), "/meter_id".into(), "out_of_scope".into())]
    );
    let seen: Vec<_> = caller.get("/api/v1/meters").await.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|meter| meter["meter_id"].clone())
        .collect();
    assert_eq!(seen, ["plant7-a", "plant7-b"]);
    assert_eq!(admin.get("/api/v1/meters/plant8-b").await.status, 404);
}
