//! Settings that bound what readings are taken, and what a deletion leaves behind.

use std::time::Duration;

use ems_core::{role::Role, time::Timestamp};
use ems_testkit::{Answer, Caller, TestServer};
use serde_json::{Value, json};

const DATA: &str = "/api/v1/data";
const BATCH: &str = "/api/v1/data/batch";

fn reading(meter: &str, at: &str, kwh: f64) -> Value {
    json!({ "meter_id": meter, "timestamp": at, "energy_consumption": kwh })
}

/// accepted, unchanged, corrected, rejected.
fn counts(answer: &Answer) -> [u64; 4] {
    assert!(answer.is_success(), "{}", answer.text());
    let body = answer.json();
    ["accepted", "unchanged", "corrected", "rejected"].map(|name| body[name].as_u64().unwrap_or(0))
}

/// What a meter's readings are, as (timestamp, kWh).
async fn stored(caller: &Caller, meter: &str) -> Vec<(String, f64)> {
    let page = caller.get(&format!("{DATA}/{meter}")).await.json();
    let rows = page["readings"].as_array().unwrap().iter();
    rows.map(|row| {
        let at = row["timestamp"].as_str().unwrap().to_owned();
        (at, row["energy_consumption"].as_f64().unwrap())
    })
    .collect()
}

#[tokio::test]
async fn a_correction_is_taken_within_its_window_and_named_after_it() {
    let server = TestServer::builder()
        .set("readings.correction_window", "24h")
        .start()
        .await;
    let (old, young) = ("2030-06-01T00:00:00Z", "2030-06-01T00:30:00Z");
    let clock = |at: &str| server.clock().set(Timestamp::parse(at).unwrap());
    clock("2030-06-01T12:00:00Z");
    let caller = server
        .nobody()
        .api_key(&server.key_for(Role::MeterReader, &["*"]).await);
    let first = json!([reading("m1", old, 1.0), reading("m1", young, 1.0)]);
    assert_eq!(counts(&caller.post(BATCH, &first).await), [2, 0, 0, 0]);

    // At 24 hours to the microsecond it still may be; one microsecond on it is too late.
    clock("2030-06-02T00:00:00Z");
    let corrected = caller.post(DATA, &reading("m1", old, 2.0)).await;
    assert_eq!(counts(&corrected), [0, 0, 1, 0]);
    server.clock().advance(Duration::from_micros(1));
    let late = caller.post(DATA, &reading("m1", old, 3.0)).await;
    assert_eq!(late.verdict(), (422, "invalid_request".into()));
    assert_eq!(
        late.faults(),
        [(None, "/timestamp".into(), "out_of_range".into())]
    );
    // The same again is no correction, what is missing is none, and of a batch the rest is taken.
    let same = caller.post(BATCH, &json!([reading("m1", old, 2.0)])).await;
    assert_eq!(counts(&same), [0, 1, 0, 0]);
    let batch = json!([
        reading("m1", old, 3.0),
        reading("m1", young, 4.0),
        reading("m1", "2030-05-01T00:00:00Z", 5.0),
    ]);
    let mixed = caller.post(BATCH, &batch).await;
    assert_eq!(counts(&mixed), [1, 0, 1, 1]);
    assert_eq!(
        mixed.faults(),
        [(Some(0), "/timestamp".into(), "out_of_range".into())]
    );
    let expected = [("2030-05-01T00:00:00Z", 5.0), (old, 2.0), (young, 4.0)];
    let expected = expected.map(|(at, kwh)| (at.to_owned(), kwh));
    assert_eq!(stored(&caller, "m1").await, expected);
}

#[tokio::test]
async fn new_meters_have_a_window_and_known_ones_are_outside_of_it() {
    let server = TestServer::builder()
        .set("readings.new_meters_per_hour", "3")
        .start()
        .await;
    let caller = server
        .nobody()
        .api_key(&server.key_for(Role::MeterReader, &["*"]).await);
    let of = |meters: &[&str], minute: u32| -> Value {
        let at = format!("2020-01-01T00:{minute:02}:00Z");
        meters
            .iter()
            .map(|meter| reading(meter, &at, 1.0))
            .collect()
    };
    assert_eq!(
        counts(&caller.post(BATCH, &of(&["a", "b"], 0)).await),
        [2, 0, 0, 0]
    );
    // Two more would be four: none of that batch is taken, not even the row of a known meter.
    let refused = caller.post(BATCH, &of(&["a", "c", "d"], 1)).await;
    assert_eq!(refused.verdict(), (429, "rate_limited".into()));
    assert_eq!(refused.header("ratelimit-policy"), "\"meters\";q=3;w=3600");
    assert_eq!(stored(&caller, "a").await.len(), 1);
    assert_eq!(caller.get(&format!("{DATA}/c")).await.status, 404);
    assert_eq!(
        counts(&caller.post(BATCH, &of(&["a", "b", "c"], 2)).await),
        [3, 0, 0, 0]
    );
    assert_eq!(
        caller
            .post(DATA, &reading("d", "2020-01-01T00:00:00Z", 1.0))
            .await
            .status,
        429
    );
    for minute in 3..10 {
        assert_eq!(
            caller
                .post(BATCH, &of(&["a", "b", "c"], minute))
                .await
                .status,
            200
        );
    }
    // Another principal has a window of its own.
    let other = server
        .nobody()
        .api_key(&server.key_for(Role::MeterReader, &["*"]).await);
    assert_eq!(
        other.post(BATCH, &of(&["x", "y", "z"], 0)).await.status,
        200
    );
}

#[tokio::test]
async fn what_was_deleted_is_new_when_it_comes_again() {
    let server = TestServer::start().await;
    let admin = server.admin().await;
    let rows: Vec<Value> = (0..48)
        .map(|half| {
            let at = format!("2020-01-01T{:02}:{:02}:00Z", half / 2, half % 2 * 30);
            reading("m1", &at, f64::from(half))
        })
        .collect();
    assert_eq!(
        counts(&admin.post(BATCH, &json!(rows)).await),
        [48, 0, 0, 0]
    );
    let whole = stored(&admin, "m1").await;
    let noon = format!("{DATA}/m1?start=2020-01-01T12:00:00Z");
    assert_eq!(admin.delete(&noon).await.json(), json!({ "deleted": 24 }));
    // What is still there is unchanged, what is gone is accepted: neither is a correction.
    assert_eq!(
        counts(&admin.post(BATCH, &json!(rows)).await),
        [24, 24, 0, 0]
    );
    assert_eq!(stored(&admin, "m1").await, whole);
    // The same over a restart, after which the first half may come from segments.
    assert_eq!(
        admin.delete(&format!("{DATA}/m1")).await.json(),
        json!({ "deleted": 48 })
    );
    let server = server.restart().await.unwrap();
    let admin = server.admin().await;
    assert_eq!(stored(&admin, "m1").await, []);
    assert_eq!(
        counts(&admin.post(BATCH, &json!(rows)).await),
        [48, 0, 0, 0]
    );
    assert_eq!(stored(&admin, "m1").await, whole);
    let meter = admin.get("/api/v1/meters/m1").await.json();
    assert_eq!(meter["readings"], json!(48));
}

#[tokio::test]
async fn a_disk_with_no_more_than_the_reserve_takes_no_readings_and_reads_on() {
    let server = TestServer::builder()
        .embedded()
        .set("store.reserve_bytes", "1000000GiB")
        .start()
        .await;
    let admin = server.admin().await;
    let refused = admin
        .post(DATA, &reading("m1", "2020-01-01T00:00:00Z", 1.0))
        .await;
    assert_eq!(refused.verdict(), (503, "unavailable".into()));
    assert_eq!(refused.header("retry-after"), "5");
    // A login, a change and a look each leave their entry in the ledger.
    let meter = json!({ "location": "cellar" });
    assert_eq!(admin.put("/api/v1/meters/m1", &meter).await.status, 201);
    let shown = admin.get("/api/v1/meters/m1").await.json();
    assert_eq!(
        (&shown["location"], &shown["readings"]),
        (&json!("cellar"), &json!(0))
    );
    assert_eq!(stored(&admin, "m1").await, []);
}
