//! What somebody who steals the disk finds: no meter, no person, no place, no key, no value.

use ems_testkit::{ADMIN, TestServer, files};
use serde_json::json;

const METER: &str = "Zebrastreifen-0815";
const USER: &str = "wilhelmina.qvist";
const PASSWORD: &str = "Parallelogramm und Zwetschge";
const PLACE: &str = "Katzensteig 17, Hinterhaus";
const SITE: &str = "Site Quellenhof";
const CUSTOMER: &str = "kunde-brombeere";
const KEY_NAME: &str = "Zaehlerschrank im Keller";
/// Readings; their values as text have ten digits and more, so that none is found by chance.
const COUNT: u32 = 64;

fn kwh(index: u32) -> f64 {
    f64::from(index) * 1.000_123_4 + 4_711.081_574_93
}

fn power_factor(index: u32) -> f64 {
    0.912_345_678_9 + f64::from(index) * 1e-5
}

/// Microseconds since 1970 of a reading.
fn micros(index: u32) -> i64 {
    1_371_517_261_123_457 + i64::from(index) * 1_800_000_000
}

/// What must not be found, and what it is.
fn needles(key: &str) -> Vec<(String, Vec<u8>)> {
    let mut needles = Vec::new();
    let mut needle = |what: &str, bytes: &[u8]| needles.push((what.to_owned(), bytes.to_vec()));
    for (what, word) in [
        ("meter id", METER),
        ("user name", USER),
        ("password", PASSWORD),
        ("admin", ADMIN.0),
        ("location", PLACE),
        ("site", SITE),
        ("customer", CUSTOMER),
        ("name of the key", KEY_NAME),
        ("key", key),
        ("secret part of the key", key.rsplit('_').next().unwrap()),
    ] {
        // `root` is too short a word to say anything where it is found.
        if word.len() > 4 {
            needle(what, word.as_bytes());
        }
    }
    for index in 0..COUNT {
        for (what, value) in [
            ("energy", kwh(index)),
            ("power factor", power_factor(index)),
        ] {
            needle(what, value.to_string().as_bytes());
            needle(&format!("{what}, f64 LE"), &value.to_le_bytes());
            needle(&format!("{what}, f64 BE"), &value.to_be_bytes());
        }
        let at = micros(index);
        needle("timestamp, i64 LE", &at.to_le_bytes());
        needle("timestamp, i64 BE", &at.to_be_bytes());
        needle("timestamp, text", at.to_string().as_bytes());
    }
    needles
}

fn assert_nothing_is_found(server: &TestServer, folders: &[&str], key: &str, when: &str) {
    let needles = needles(key);
    let mut searched = 0;
    for folder in folders {
        for (path, content) in files(&server.dir().join(folder)).unwrap() {
            searched += content.len();
            for (what, needle) in &needles {
                let finder = memchr::memmem::Finder::new(needle);
                assert!(
                    finder.find(&content).is_none(),
                    "{when}: {what} in {}",
                    path.display()
                );
            }
        }
    }
    assert!(searched > 1000, "{when}: there was nothing to search");
}

#[tokio::test]
async fn nothing_that_is_stored_can_be_read_from_the_disk() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let user =
        json!({ "username": USER, "password": PASSWORD, "role": "viewer", "meters": [METER] });
    assert_eq!(admin.post("/api/v1/users", &user).await.status, 201);
    let key = json!({ "name": KEY_NAME, "role": "meter_reader", "meters": [METER] });
    let key = admin.post("/api/v1/keys", &key).await.json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let rows: Vec<_> = (0..COUNT)
        .map(|index| {
            let at = ems_core::time::Timestamp::from_micros(micros(index)).unwrap();
            json!({
                "meter_id": METER, "timestamp": at, "energy_consumption": kwh(index),
                "power_factor": power_factor(index), "location": PLACE,
            })
        })
        .collect();
    let stored = server
        .nobody()
        .api_key(&key)
        .post("/api/v1/data/batch", &json!(rows))
        .await;
    assert_eq!(stored.json()["accepted"], COUNT, "{}", stored.text());
    let profile = json!({ "location": PLACE, "site": SITE, "customer_id": CUSTOMER, "timezone": "Europe/Berlin" });
    let put = admin
        .put(&format!("/api/v1/meters/{METER}"), &profile)
        .await;
    assert!(put.is_success(), "{}", put.text());
    let path = format!("/api/v1/data/{METER}");
    let viewer = server.nobody().bearer(&server.log_in(USER, PASSWORD).await);
    assert_eq!(
        viewer.get(&path).await.json()["readings"]
            .as_array()
            .unwrap()
            .len(),
        64
    );

    // In the journal; folded into segments; and with the journal of a second life beside them.
    assert_nothing_is_found(&server, &["data", "keyring"], &key, "before a fold");
    let server = server.restart().await.unwrap();
    assert_nothing_is_found(&server, &["data", "keyring"], &key, "after a fold");
    let viewer = server.nobody().bearer(&server.log_in(USER, PASSWORD).await);
    assert_eq!(
        viewer.get(&path).await.json()["readings"]
            .as_array()
            .unwrap()
            .len(),
        64
    );
    assert_nothing_is_found(&server, &["data", "keyring"], &key, "in a second life");
}

#[tokio::test]
async fn the_logs_name_no_meter_no_place_and_no_secret() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let key = json!({ "name": "log", "role": "meter_reader", "meters": [METER] });
    let key = admin.post("/api/v1/keys", &key).await.json()["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let reading = json!({
        "meter_id": METER, "timestamp": "2013-06-18T01:01:01Z", "energy_consumption": kwh(0),
        "location": PLACE,
    });
    let sender = server.nobody().api_key(&key);
    assert_eq!(sender.post("/api/v1/data", &reading).await.status, 201);
    assert_eq!(
        sender.get(&format!("/api/v1/data/{METER}")).await.status,
        200
    );
    assert_eq!(
        sender.get(&format!("/api/v1/data/{METER}x")).await.status,
        404
    );
    assert_eq!(
        server
            .nobody()
            .api_key(&key[..key.len() - 1])
            .get("/api/v1/auth/me")
            .await
            .status,
        401
    );
    let wrong = json!({ "username": ADMIN.0, "password": PASSWORD });
    assert_eq!(
        server
            .nobody()
            .post("/api/v1/auth/token", &wrong)
            .await
            .status,
        401
    );
    let server = server.restart().await.unwrap();
    let words = [
        METER,
        PLACE,
        PASSWORD,
        ADMIN.1,
        key.rsplit('_').next().unwrap(),
    ];
    for (path, content) in files(&server.dir().join("log")).unwrap() {
        assert!(!content.is_empty(), "{}", path.display());
        for word in words {
            let found = memchr::memmem::find(&content, word.as_bytes());
            assert!(found.is_none(), "{word:?} in {}", path.display());
        }
    }
}
