//! Single sign-on against a provider that checks what a client sends, and lies where it is told to.

use std::time::Duration;

use ems_testkit::{
    ADMIN, Answer, TestServer,
    provider::{CLIENT, Lie, Manner, Provider},
};
use reqwest::{Certificate, Client, redirect::Policy};
use serde_json::{Value, json};

const CALLBACK: &str = "https://ems.example.org/api/v1/auth/sso/callback";
const GROUPS: &str = r#"[
    { group = "ems-admins", role = "admin" },
    { group = "auditors", role = "viewer", meters = ["plant7-*"], grants = ["audit"] },
    { group = "everyone", role = "meter_reader", meters = ["m1"] },
]"#;

/// A server with its provider, and a browser that follows nothing by itself.
struct House {
    provider: Provider,
    server: TestServer,
    browser: Client,
}

/// What a browser holds once the provider has sent it back.
struct Returned {
    cookie: String,
    query: String,
}

impl House {
    async fn new() -> Self {
        let provider = Provider::start().await.unwrap();
        let groups = GROUPS.replace('\n', " ").replace(", ]", " ]");
        let server = TestServer::builder()
            .set("sso.issuer", provider.issuer())
            .set("sso.client_id", CLIENT.0)
            .set("sso.client_secret", CLIENT.1)
            .set("sso.redirect_url", CALLBACK)
            .set("sso.groups", &groups)
            .start()
            .await;
        let authorities = Certificate::from_pem_bundle(server.ca_pem()).unwrap();
        let browser = Client::builder()
            .tls_certs_only(authorities)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        provider.log_in(&carol(&["ems-admins"]));
        Self {
            provider,
            server,
            browser,
        }
    }

    async fn ask(&self, path: &str, cookie: &str) -> Answer {
        let place = format!("{}{path}", self.server.base_url());
        Answer::of(self.browser.get(place).header("cookie", cookie)).await
    }

    /// From the first click to where the provider sends the browser back.
    async fn go(&self) -> Returned {
        let begun = self.ask("/api/v1/auth/sso/login", "").await;
        assert_eq!(begun.status, 302, "{}", begun.text());
        let (cookie, _) = begun.header("set-cookie").split_once(';').unwrap();
        let granted = Answer::of(self.browser.get(begun.header("location"))).await;
        assert_eq!(granted.status, 302, "{}", granted.text());
        let back = granted.header("location");
        let (place, query) = back.split_once('?').unwrap();
        assert_eq!(place, CALLBACK);
        Returned {
            cookie: cookie.to_owned(),
            query: query.to_owned(),
        }
    }

    async fn come_back(&self, returned: &Returned) -> Answer {
        let path = format!("/api/v1/auth/sso/callback?{}", returned.query);
        self.ask(&path, &returned.cookie).await
    }

    async fn log_in(&self) -> Answer {
        self.come_back(&self.go().await).await
    }

    async fn me(&self, token: &Value) -> Answer {
        let token = token["access_token"].as_str().unwrap();
        self.server
            .nobody()
            .bearer(token)
            .get("/api/v1/auth/me")
            .await
    }
}

fn carol(groups: &[&str]) -> Value {
    json!({ "sub": "u-17", "preferred_username": "carol", "groups": groups })
}

#[tokio::test]
async fn whoever_a_provider_vouches_for_gets_a_session_by_its_group() {
    let house = House::new().await;
    let begun = house.ask("/api/v1/auth/sso/login", "").await;
    let cookie = begun.header("set-cookie");
    for part in [
        "__Host-ems_sso=",
        "; Path=/",
        "; HttpOnly",
        "; Secure",
        "; SameSite=Lax",
        "; Max-Age=600",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let answer = house.log_in().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(
        answer
            .header("set-cookie")
            .contains("__Host-ems_sso=; Path=/; Max-Age=0")
    );
    let tokens = answer.json();
    let me = house.me(&tokens).await.json();
    assert_eq!(
        (&me["name"], &me["role"], &me["mfa"]),
        (&json!("carol"), &json!("admin"), &json!(true))
    );
    // The session is as any other: it is renewed, and ends.
    let renew = json!({ "refresh_token": tokens["refresh_token"] });
    let nobody = house.server.nobody();
    let next = nobody.post("/api/v1/auth/refresh", &renew).await.json();
    let own = nobody.bearer(next["access_token"].as_str().unwrap());
    let users = own.get("/api/v1/users").await.json();
    assert_eq!(users["items"][0]["username"], "carol");
    assert_eq!(users["items"][0]["sso"], true);
    assert_eq!(
        own.post("/api/v1/auth/logout", &json!(null)).await.status,
        204
    );
    assert_eq!(house.me(&next).await.status, 401);
    // The provider was asked for its document and keys once for it all.
    house.log_in().await;
    for path in ["/.well-known/openid-configuration", "/jwks"] {
        assert_eq!(house.provider.asked(path), 1, "{path}");
    }
}

#[tokio::test]
async fn the_first_group_counts_a_change_holds_at_once_and_none_is_no_access() {
    let house = House::new().await;
    let first = house.log_in().await.json();
    house
        .provider
        .log_in(&carol(&["everyone", "auditors", "others"]));
    assert_eq!(house.log_in().await.status, 200);
    let me = house.me(&first).await.json();
    assert_eq!(
        (&me["role"], &me["meters"], &me["grants"]),
        (&json!("viewer"), &json!(["plant7-*"]), &json!(["audit"]))
    );
    house.provider.log_in(&carol(&["others", "ems-admin"]));
    let refused = house.log_in().await;
    assert_eq!(refused.verdict(), (403, "insufficient_permissions".into()));
    assert_eq!(house.me(&first).await.status, 401, "lost there, lost here");
    for claims in [
        json!({ "sub": "u-1", "preferred_username": "dave" }),
        json!({ "sub": "u-1", "preferred_username": "dave", "groups": {"ems-admins": true} }),
        json!({ "sub": "u-1", "preferred_username": "two words", "groups": "ems-admins" }),
        json!({ "sub": "u-1", "preferred_username": "system", "groups": "ems-admins" }),
        json!({ "sub": "u-1", "groups": "ems-admins" }),
    ] {
        house.provider.log_in(&claims);
        assert_eq!(house.log_in().await.status, 403, "{claims}");
    }
    // One text is a list of one.
    let one = json!({ "sub": "u-2", "preferred_username": "erin", "groups": "everyone" });
    house.provider.log_in(&one);
    assert_eq!(house.log_in().await.status, 200);
}

#[tokio::test]
async fn no_local_user_is_taken_over_and_a_disabled_one_stays_out() {
    let house = House::new().await;
    let root = json!({ "sub": "u-9", "preferred_username": ADMIN.0, "groups": ["ems-admins"] });
    house.provider.log_in(&root);
    assert_eq!(house.log_in().await.verdict(), (409, "conflict".into()));
    house.server.admin().await;

    house.provider.log_in(&carol(&["ems-admins"]));
    assert_eq!(house.log_in().await.status, 200);
    let password = json!({ "username": "carol", "password": ADMIN.1 });
    let local = house
        .server
        .nobody()
        .post("/api/v1/auth/token", &password)
        .await;
    assert_eq!(local.verdict(), (401, "invalid_credentials".into()));
    let admin = house.server.admin().await;
    let given = json!({ "password": "a long enough secret" });
    let given = admin.patch("/api/v1/users/carol", &given).await;
    assert_eq!(given.verdict(), (409, "conflict".into()));
    let disabled = admin
        .patch("/api/v1/users/carol", &json!({ "disabled": true }))
        .await;
    assert_eq!(disabled.status, 200);
    let renamed = json!({ "sub": "u-17", "preferred_username": "new", "groups": ["ems-admins"] });
    for claims in [carol(&["ems-admins"]), renamed] {
        house.provider.log_in(&claims);
        assert_eq!(
            house.log_in().await.verdict(),
            (401, "invalid_credentials".into())
        );
    }
}

#[tokio::test]
async fn no_forged_id_token_lets_anybody_in() {
    let house = House::new().await;
    let with = |name: &str, value: Value| {
        let mut claims = carol(&["ems-admins"]);
        claims[name] = value;
        claims
    };
    for claims in [
        with("nonce", json!("another's")),
        with("nonce", Value::Null),
        with("aud", json!("another-client")),
        with("aud", json!([CLIENT.0, "another-client"])),
        with("iss", json!("https://id.example.org")),
        with("exp", json!(1_700_000_000)),
    ] {
        house.provider.log_in(&claims);
        let refused = house.log_in().await;
        assert_eq!(
            refused.verdict(),
            (401, "invalid_credentials".into()),
            "{claims}"
        );
        assert!(refused.header("set-cookie").contains("Max-Age=0"));
    }
    house.provider.log_in(&carol(&["ems-admins"]));
    for lie in [Lie::Unsigned, Lie::Mac, Lie::OtherKey, Lie::UnknownKey] {
        house.provider.lie(lie);
        let refused = house.log_in().await;
        assert_eq!(
            refused.verdict(),
            (401, "invalid_credentials".into()),
            "{lie:?}"
        );
    }
    house.provider.lie(Lie::None);
    assert_eq!(house.log_in().await.status, 200);
}

#[tokio::test]
async fn a_login_is_of_one_browser_and_good_once_within_ten_minutes() {
    let house = House::new().await;
    let (mine, yours) = (house.go().await, house.go().await);
    let refused = async |cookie: &str, query: &str| {
        let path = format!("/api/v1/auth/sso/callback?{query}");
        let answer = house.ask(&path, cookie).await;
        assert_eq!(
            answer.verdict(),
            (401, "invalid_credentials".into()),
            "{query}"
        );
    };
    refused(&yours.cookie, &mine.query).await;
    refused("", &mine.query).await;
    refused("__Host-ems_sso=AAAA", &mine.query).await;
    refused(&mine.cookie, "").await;
    let state = mine
        .query
        .split('&')
        .find(|part| part.starts_with("state="))
        .unwrap();
    let other = format!("{}&iss=https%3A%2F%2Fid.example.org", mine.query);
    refused(&mine.cookie, &other).await;
    assert_eq!(house.come_back(&mine).await.status, 200);
    // Neither the code nor the state is good again, with a code that is good or without.
    refused(&mine.cookie, &mine.query).await;
    let code = yours
        .query
        .split('&')
        .find(|part| part.starts_with("code="))
        .unwrap();
    refused(&mine.cookie, &format!("{code}&{state}")).await;
    let denied = house.go().await;
    let state = denied
        .query
        .split('&')
        .find(|part| part.starts_with("state="))
        .unwrap();
    refused(&denied.cookie, &format!("error=access_denied&{state}")).await;

    let late = house.go().await;
    house.server.clock().advance(Duration::from_mins(10));
    refused(&late.cookie, &late.query).await;
}

#[tokio::test]
async fn a_code_for_another_browsers_login_is_refused_by_its_verifier() {
    let house = House::new().await;
    let (mine, yours) = (house.go().await, house.go().await);
    let part = |returned: &Returned, name: &str| {
        let parts = returned.query.split('&');
        let found = parts.map(str::to_owned).find(|part| part.starts_with(name));
        found.unwrap()
    };
    // My cookie and state with the code that was given to you: PKCE tells.
    let query = format!("{}&{}", part(&yours, "code="), part(&mine, "state="));
    let mixed = Returned {
        cookie: mine.cookie,
        query,
    };
    let refused = house.come_back(&mixed).await;
    assert_eq!(refused.verdict(), (401, "invalid_credentials".into()));
}

#[tokio::test]
async fn a_new_key_is_fetched_but_not_more_than_once_a_minute() {
    let house = House::new().await;
    assert_eq!(house.log_in().await.status, 200);
    house.provider.rotate().unwrap();
    assert_eq!(house.log_in().await.status, 401, "asked a moment ago");
    assert_eq!(house.provider.asked("/jwks"), 1);
    house.server.clock().advance(Duration::from_mins(1));
    assert_eq!(house.log_in().await.status, 200);
    assert_eq!(house.provider.asked("/jwks"), 2);
    house.provider.lie(Lie::UnknownKey);
    for _ in 0..3 {
        assert_eq!(house.log_in().await.status, 401);
    }
    assert_eq!(house.provider.asked("/jwks"), 2);
}

#[tokio::test]
async fn a_provider_that_fails_is_unavailable_and_nothing_of_it_leaks() {
    let house = House::new().await;
    let clean = |answer: &Answer| {
        assert_eq!(
            answer.verdict(),
            (503, "unavailable".into()),
            "{}",
            answer.text()
        );
        let text = answer.text();
        for inside in ["127.0.0.1", "token", CLIENT.1, "html", "server_error"] {
            assert!(!text.contains(inside), "{text}");
        }
    };
    for manner in [Manner::Garbage, Manner::Endless, Manner::Broken] {
        house.provider.behave(manner);
        clean(&house.ask("/api/v1/auth/sso/login", "").await);
    }
    house.provider.behave(Manner::Well);
    for manner in [
        Manner::Garbage,
        Manner::Endless,
        Manner::Broken,
        Manner::Silent,
    ] {
        let returned = house.go().await;
        house.provider.behave(manner);
        clean(&house.come_back(&returned).await);
        house.provider.behave(Manner::Well);
    }
    assert_eq!(house.log_in().await.status, 200);
}

#[tokio::test]
async fn logins_are_in_ledger_log_and_metrics_and_no_secret_is() {
    let house = House::new().await;
    let returned = house.go().await;
    let tokens = house.come_back(&returned).await.json();
    house.come_back(&returned).await;
    let metrics = house.server.metrics_url().unwrap();
    let page = house
        .browser
        .get(metrics)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    for (outcome, count) in [("ok", 1), ("refused", 1)] {
        let line = format!("ems_logins_total{{method=\"sso\",outcome=\"{outcome}\"}} {count}");
        assert!(page.contains(&line), "{line}\n{page}");
    }
    let place = house.server.stop().await.unwrap();
    let mut logs = String::new();
    for name in ["security.log", "audit.log"] {
        let path = place.path().join("instance/log").join(name);
        logs.push_str(&std::fs::read_to_string(path).unwrap());
    }
    let has = |parts: &[&str]| {
        logs.lines()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    };
    assert!(has(&["\"login\"", "\"carol\"", "\"sso\""]), "{logs}");
    assert!(has(&["\"create\"", "user:carol"]), "{logs}");
    assert!(
        has(&["sso_login", "unproven_identity", "WARNING"]),
        "{logs}"
    );
    let parts = returned
        .query
        .split('&')
        .filter_map(|part| part.split_once('='));
    let mut secrets: Vec<String> = parts
        .filter(|(_, value)| value.len() > 8)
        .map(|(_, value)| value.to_owned())
        .collect();
    secrets.push(CLIENT.1.to_owned());
    secrets.push(tokens["refresh_token"].as_str().unwrap().to_owned());
    for secret in secrets {
        assert!(!logs.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn without_a_provider_there_is_no_single_sign_on() {
    let server = TestServer::start().await;
    for path in [
        "/api/v1/auth/sso/login",
        "/api/v1/auth/sso/callback?state=a&code=b",
    ] {
        assert_eq!(
            server.nobody().get(path).await.verdict(),
            (404, "not_found".into())
        );
    }
}
