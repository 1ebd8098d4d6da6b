//! Secrets that an operator brings or turns: token keys that rotate while the server runs, keys of
//! another algorithm, the security guide's file of API keys; and what a login's time gives away.

use std::{
    fs,
    time::{Duration, Instant},
};

use data_encoding::{BASE64, BASE64URL_NOPAD};
use ems_core::role::Role;
use ems_testkit::{ADMIN, Answer, Caller, Signal, TestServer, secret_file};
use serde_json::{Value, json};

use crate::{
    cli::{Home, binary, set_mode, text},
    tokens::{part, signed},
};

const ME: &str = "/api/v1/auth/me";
/// Requests that a server has for taking its keys anew: it is asked, not told when it is done.
const TRIES: usize = 1000;

/// A login over the wire; the access token.
async fn log_in(nobody: &Caller) -> String {
    let body = json!({ "username": ADMIN.0, "password": ADMIN.1 });
    let answer = nobody.post("/api/v1/auth/token", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn status(nobody: &Caller, token: &str) -> u16 {
    nobody.clone().bearer(token).get(ME).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn token_keys_rotate_on_sighup_and_log_nobody_out() {
    let home = Home::new();
    let server = home.serve_with(&[("EMS_LIMITS__ADDRESS_PER_HOUR", "0")]);
    let nobody = server.nobody().unwrap();
    let file = home.dir().join("secrets/token.key");
    let old_key = fs::read_to_string(&file).unwrap();
    let new_key = format!("{}\n", BASE64.encode(&[7; 48]));
    let old = log_in(&nobody).await;
    let kid = |token: &str| part(token, 0)["kid"].clone();

    // The new key signs, the old one still verifies.
    secret_file(&file, &format!("{new_key}{old_key}")).unwrap();
    server.signal(Signal::HUP).unwrap();
    let mut new = log_in(&nobody).await;
    for _ in 0..TRIES {
        if kid(&new) != kid(&old) {
            break;
        }
        new = log_in(&nobody).await;
    }
    assert_ne!(kid(&new), kid(&old));
    assert_eq!(status(&nobody, &old).await, 200);
    assert_eq!(status(&nobody, &new).await, 200);

    // A file that is wrong changes nothing.
    secret_file(&file, "no key\n").unwrap();
    server.signal(Signal::HUP).unwrap();
    assert_eq!(kid(&log_in(&nobody).await), kid(&new));

    // The old key goes, and what it signed with it.
    secret_file(&file, &new_key).unwrap();
    server.signal(Signal::HUP).unwrap();
    for _ in 0..TRIES {
        if status(&nobody, &old).await != 200 {
            break;
        }
    }
    assert_eq!(status(&nobody, &old).await, 401);
    assert_eq!(status(&nobody, &new).await, 200);
    assert_eq!(kid(&log_in(&nobody).await), kid(&new));
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
}

/// The example of RFC 8410 §10.3, and the public key in it.
const ED25519: &str = "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n";
const ED25519_PUBLIC: &str = "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";

#[tokio::test(flavor = "multi_thread")]
async fn eddsa_tokens_open_the_door_and_no_hmac_of_the_public_key_does() {
    let home = Home::new();
    secret_file(&home.dir().join("secrets/token.key"), ED25519).unwrap();
    let server = home.serve_with(&[("EMS_AUTH__ALGORITHM", "EdDSA")]);
    let nobody = server.nobody().unwrap();
    let token = log_in(&nobody).await;
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("EdDSA"), &json!("at+jwt"))
    );
    let signature = token.rsplit('.').next().unwrap();
    assert_eq!(
        BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap().len(),
        64
    );
    assert_eq!(status(&nobody, &token).await, 200);
    // The classic confusion: the public key, taken for a shared secret.
    let public = BASE64.decode(ED25519_PUBLIC.as_bytes()).unwrap();
    for alg in ["HS256", "EdDSA", "none"] {
        let mut header = header.clone();
        header["alg"] = alg.into();
        assert_eq!(
            status(&nobody, &signed(&header, &claims, &public)).await,
            401,
            "{alg}"
        );
    }
}

/// Two keys of the guide's file and their bcrypt hashes, cost 10, by another implementation
/// (libxcrypt's).
const BARE: (&str, &str) = (
    "fileKey1-and-the-rest",
    "$2b$10$abcdefghijklmnopqrstuuRZPH1enQkihYydVRSP7PY5QGMTmyl8O",
);
const WHOLE: (&str, &str) = (
    "readKey2-and-the-rest",
    "$2b$10$bbcdefghijklmnopqrstuul85k6jXG7hVS2ojsMl8mIJeNnQWxyIS",
);

/// The guide's file, of one key in each form.
fn key_file(home: &Home) -> String {
    let whole = json!({ "hash": WHOLE.1, "role": "viewer", "meters": ["plant7-*"] });
    let file = json!({ "fileKey1": BARE.1, "readKey2": whole });
    text(&secret_file(&home.path("api_keys.json"), &file.to_string()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_key_file_gives_its_keys_their_roles_and_meters() {
    let home = Home::new();
    let server = home.serve_with(&[("API_KEYS_FILE", &key_file(&home))]);
    let nobody = server.nobody().unwrap();
    let (device, viewer) = (
        nobody.clone().api_key(BARE.0),
        nobody.clone().api_key(WHOLE.0),
    );
    let who = async |caller: &Caller| {
        let me = caller.get(ME).await.json();
        [&me["name"], &me["role"], &me["meters"]].map(Clone::clone)
    };
    assert_eq!(
        who(&device).await,
        [json!("key:fileKey1"), json!("meter_reader"), json!(["*"])]
    );
    assert_eq!(
        who(&viewer).await,
        [json!("key:readKey2"), json!("viewer"), json!(["plant7-*"])]
    );
    let row = |meter: &str| json!({ "meter_id": meter, "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 1 });
    for meter in ["plant7-a", "plant8-a"] {
        assert_eq!(device.post("/api/v1/data", &row(meter)).await.status, 201);
    }
    assert_eq!(viewer.get("/api/v1/data/plant7-a").await.status, 200);
    assert_eq!(viewer.get("/api/v1/data/plant8-a").await.status, 404);
    let write = viewer.post("/api/v1/data", &row("plant7-a")).await;
    assert_eq!(write.verdict(), (403, "insufficient_permissions".into()));
    for wrong in [
        "fileKey1",
        "fileKey1-and-the-rest.",
        "fileKey2-and-the-rest",
        "readKey2-and-The-rest",
    ] {
        let refused = nobody.clone().api_key(wrong).get(ME).await;
        assert_eq!(
            refused.verdict(),
            (401, "invalid_api_key".into()),
            "{wrong}"
        );
    }
}

/// How long a request takes.
async fn time(ask: impl Future<Output = Answer>) -> Duration {
    let began = Instant::now();
    let answer = ask.await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_of_the_key_file_is_hashed_once() {
    let home = Home::new();
    let guessing = ("EMS_GUARD__FAILED_LOGINS", "0");
    let server = home.serve_with(&[("API_KEYS_FILE", &key_file(&home)), guessing]);
    let nobody = server.nobody().unwrap();
    let (mut first, mut again) = (Vec::new(), Vec::new());
    for guess in 0..9 {
        let guess = nobody.clone().api_key(&format!("fileKey1-guess-{guess}"));
        first.push(time(guess.get(ME)).await);
        again.push(time(guess.get(ME)).await);
    }
    let (first, again) = (median(first), median(again));
    // bcrypt at cost 10 is 1,024 rounds of a key schedule: tens of milliseconds.
    assert!(again * 3 < first, "{first:?}, then {again:?}");
}

#[test]
fn a_key_file_that_others_can_read_is_refused_at_start() {
    let home = Home::new();
    let file = key_file(&home);
    set_mode(&home.path("api_keys.json"), 0o640);
    let refused = binary().serve(&home.dir(), &[("API_KEYS_FILE", &file)]);
    let why = refused.unwrap_err().to_string();
    assert!(
        why.contains("api_keys.json") && why.contains("640"),
        "{why}"
    );
}

#[test]
fn a_hash_that_would_take_seconds_is_refused_at_start_by_its_place() {
    let home = Home::new();
    let costly = WHOLE.1.replace("$10$", "$15$");
    let file = json!({ "fileKey1": BARE.1, "readKey2": { "hash": costly } });
    let file = secret_file(&home.path("api_keys.json"), &file.to_string()).unwrap();
    let refused = binary().serve(&home.dir(), &[("API_KEYS_FILE", &text(&file))]);
    let why = refused.unwrap_err().to_string();
    assert!(
        why.contains("key 2 of the file") && why.contains("4 to 14"),
        "{why}"
    );
    assert!(!why.contains("readKey2") && !why.contains(&costly), "{why}");
}

/// The median times of a refused login as a user that is not there, with a wrong password, and as
/// one that is disabled.
async fn login_times(nobody: &Caller) -> [Duration; 3] {
    let login = async |username: &str| {
        let password = "not the password of anybody";
        let body = json!({ "username": username, "password": password });
        time(nobody.post("/api/v1/auth/token", &body)).await
    };
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    // By turns, another first each time, so that whatever else the machine does meets all three.
    for turn in 0..15 {
        for place in 0..3 {
            let who = (turn + place) % 3;
            times[who].push(login(["nobody-here", ADMIN.0, "viewer"][who]).await);
        }
    }
    times.map(median)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_takes_the_same_time_whoever_it_is() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    server.user(Role::Viewer).await;
    let shut: Value = json!({ "disabled": true });
    assert_eq!(admin.patch("/api/v1/users/viewer", &shut).await.status, 200);
    // A machine under load may spoil one comparison, hardly five. Without the hash of a password
    // that nobody has, an unknown user is told in a tenth of the time, every time.
    let mut seen = Vec::new();
    for _ in 0..5 {
        let times = login_times(&server.nobody()).await;
        let (least, most) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        if most * 5 <= least * 6 {
            return;
        }
        seen.push(times);
    }
    assert!(seen.is_empty(), "unknown, wrong, disabled: {seen:?}");
}
