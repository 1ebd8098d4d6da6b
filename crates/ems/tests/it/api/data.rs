//! Readings in and out: counts, forms, pages, streams, deletion; what goes in comes back exactly.

use std::io::Write as _;

use ems_core::role::Role;
use ems_testkit::{Answer, Caller, TestServer};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

const BATCH: &str = "/api/v1/data/batch";

fn reading(meter: &str, at: &str, kwh: f64) -> Value {
    json!({ "meter_id": meter, "timestamp": at, "energy_consumption": kwh })
}

/// A reading of every half-hour of the first days of 2020, so many of them.
fn half_hours(meter: &str, count: usize) -> Vec<Value> {
    let at = |index: usize| {
        let (day, half) = (1 + index / 48, index % 48);
        format!("2020-01-{day:02}T{:02}:{:02}:00Z", half / 2, half % 2 * 30)
    };
    (0..count)
        .map(|index| reading(meter, &at(index), f64::from(u32::try_from(index).unwrap())))
        .collect()
}

fn counts(answer: &Answer) -> [u64; 4] {
    let body = answer.json();
    ["accepted", "unchanged", "corrected", "rejected"].map(|name| body[name].as_u64().unwrap_or(99))
}

async fn readings(caller: &Caller, meter: &str) -> Vec<Value> {
    let answer = caller
        .get(&format!("/api/v1/data/{meter}?limit=10000"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json().get("next_cursor").is_none());
    answer.json()["readings"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_same_again_is_unchanged_and_other_values_correct() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let first = reading("m1", "2020-01-01T00:00:00Z", 1.5);
    let stored = |accepted: u64, unchanged: u64, corrected: u64| json!({ "accepted": accepted, "unchanged": unchanged, "corrected": corrected });
    let post = async |body: &Value| {
        let answer = caller.post("/api/v1/data", body).await;
        (answer.status, answer.json())
    };
    assert_eq!(post(&first).await, (201, stored(1, 0, 0)));
    assert_eq!(post(&first).await, (201, stored(0, 1, 0)));
    // Another offset, the same instant.
    assert_eq!(
        post(&reading("m1", "2020-01-01T01:00:00+01:00", 1.5)).await,
        (201, stored(0, 1, 0))
    );
    let mut whole = first.clone();
    whole["power_factor"] = json!(0.5);
    whole["location"] = json!("Hall 7");
    assert_eq!(post(&whole).await, (201, stored(0, 0, 1)));
    // The whole reading is replaced, so what is absent now is gone.
    assert_eq!(
        post(&reading("m1", "2020-01-01T00:00:00Z", 2.0)).await,
        (201, stored(0, 0, 1))
    );
    assert_eq!(
        readings(&caller, "m1").await,
        [json!({ "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 2.0 })]
    );
}

#[tokio::test]
async fn a_batch_counts_every_row_once() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let mut rows = half_hours("m1", 10);
    assert_eq!(
        counts(&caller.post(BATCH, &json!(rows)).await),
        [10, 0, 0, 0]
    );
    rows[3]["energy_consumption"] = json!(99);
    rows[4]["energy_consumption"] = json!(-1);
    rows.push(reading("m2", "2020-01-01T00:00:00Z", 1.0));
    rows.push(reading("m2", "2020-01-01T00:00:00Z", 1.0));
    let answer = caller.post(BATCH, &json!(rows)).await;
    // Ten rows are there: one is corrected, one refused, eight are as they were; of two that are
    // the same one is new.
    assert_eq!((answer.status, counts(&answer)), (200, [1, 9, 1, 1]));
    assert_eq!(
        answer.faults(),
        [(Some(4), "/energy_consumption".into(), "out_of_range".into())]
    );
    assert_eq!(readings(&caller, "m1").await.len(), 10);
}

#[tokio::test]
async fn one_bad_row_of_ten_thousand_is_named_and_the_rest_is_stored() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let mut rows: Vec<Value> = (0..10)
        .flat_map(|meter| half_hours(&format!("m{meter}"), 1000))
        .collect();
    rows[7_654]["power_factor"] = json!(1.5);
    let refused = caller
        .post(&format!("{BATCH}?atomic=true"), &json!(rows))
        .await;
    assert_eq!(refused.verdict(), (422, "invalid_request".into()));
    assert_eq!(
        refused.faults(),
        [(Some(7_654), "/power_factor".into(), "out_of_range".into())]
    );
    assert_eq!(
        caller.get("/api/v1/meters").await.json()["items"],
        json!([])
    );
    let answer = caller.post(BATCH, &json!(rows)).await;
    assert_eq!((answer.status, counts(&answer)), (200, [9_999, 0, 0, 1]));
    assert_eq!(answer.faults(), refused.faults());
    assert_eq!(readings(&caller, "m7").await.len(), 999);
}

#[tokio::test]
async fn more_than_a_hundred_faults_are_cut_and_that_is_said() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let rows: Vec<Value> = (0..101).map(|_| json!({})).collect();
    let answer = caller.post(BATCH, &json!(rows)).await;
    assert_eq!((answer.status, counts(&answer)), (200, [0, 0, 0, 101]));
    assert_eq!(answer.faults().len(), 100);
    assert_eq!(answer.json()["errors_truncated"], json!(true));
}

/// The same four rows, the second of them bad, in each form.
fn forms() -> [(&'static str, String); 3] {
    let json = r#"[{"meter_id":"m1","timestamp":"2020-01-01T00:00:00Z","energy_consumption":0.1,"power_factor":0.95,"location":"Hall \"7\", east"},
        {"meter_id":"m1","timestamp":"2020-01-01T00:30:00","energy_consumption":1},
        {"meter_id":"m1","timestamp":"2020-01-01T02:00:00+01:00","energy_consumption":1e2},
        {"meter_id":"m2","timestamp":"2020-01-01T00:00:00.5Z","energy_consumption":3}]"#;
    let ndjson = json.trim_matches(['[', ']']).replace("},\n", "}\n");
    let csv = "location,energy_consumption,timestamp,meter_id,power_factor\r\n\
        \"Hall \"\"7\"\", east\",0.1,2020-01-01T00:00:00Z,m1,0.95\r\n\
        ,1,2020-01-01T00:30:00,m1,\r\n\
        ,1e2,2020-01-01T02:00:00+01:00,m1,\r\n\
        ,3,2020-01-01T00:00:00.5Z,m2,\r\n";
    [
        ("application/json", json.to_owned()),
        ("application/x-ndjson", ndjson),
        ("text/csv", csv.to_owned()),
    ]
}

#[tokio::test]
async fn json_ndjson_and_csv_have_the_same_result() {
    for (media_type, body) in forms() {
        let server = TestServer::start().await;
        let caller = server.admin().await;
        let answer = caller.send(BATCH, media_type, body).await;
        assert_eq!(
            (answer.status, counts(&answer)),
            (200, [3, 0, 0, 1]),
            "{}",
            answer.text()
        );
        let fault = (
            Some(1),
            "/timestamp".to_owned(),
            "invalid_format".to_owned(),
        );
        assert_eq!(answer.faults(), [fault], "{media_type}");
        let expected = [
            json!({ "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 0.1,
                    "power_factor": 0.95, "location": "Hall \"7\", east" }),
            json!({ "timestamp": "2020-01-01T01:00:00Z", "energy_consumption": 100.0 }),
        ];
        assert_eq!(readings(&caller, "m1").await, expected, "{media_type}");
        assert_eq!(
            readings(&caller, "m2").await,
            [json!({ "timestamp": "2020-01-01T00:00:00.5Z", "energy_consumption": 3.0 })]
        );
    }
}

#[tokio::test]
async fn a_compressed_batch_is_the_batch() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let body = |meter: &str| json!(half_hours(meter, 1000)).to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(body("zip").as_bytes()).unwrap();
    let zstd = zstd::encode_all(body("std").as_bytes(), 3).unwrap();
    for (coding, meter, bytes) in [
        ("gzip", "zip", gzip.finish().unwrap()),
        ("zstd", "std", zstd),
    ] {
        let request = caller
            .request("POST", BATCH)
            .header("content-type", "application/json");
        let answer = Answer::of(request.header("content-encoding", coding).body(bytes)).await;
        assert_eq!(
            counts(&answer),
            [1000, 0, 0, 0],
            "{coding}: {}",
            answer.text()
        );
        assert_eq!(readings(&caller, meter).await.len(), 1000);
    }
}

#[tokio::test]
async fn a_checked_batch_is_answered_like_a_stored_one_and_stores_nothing() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let mut rows = half_hours("m1", 5);
    rows[2]["energy_consumption"] = json!("1");
    let answer = caller.post("/api/v1/data/validate", &json!(rows)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["rejected"], json!(1));
    assert_eq!(
        answer.faults(),
        [(Some(2), "/energy_consumption".into(), "wrong_type".into())]
    );
    assert_eq!(caller.get("/api/v1/data/m1").await.status, 404);
}

#[tokio::test]
async fn doubles_come_back_to_the_bit_and_minus_zero_is_zero() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let texts = [
        "0.1",
        "0.30000000000000004",
        "5e-324",
        "2.2250738585072014e-308",
        "99999.99999999999",
        "100000",
        "123.45600000000000001",
        "1e-7",
        "-0.0",
    ];
    let rows: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(hour, text)| {
            format!(r#"{{"meter_id":"m1","timestamp":"2020-01-01T{hour:02}:00:00Z","energy_consumption":{text}}}"#)
        })
        .collect();
    let answer = caller
        .send(BATCH, "application/x-ndjson", rows.join("\n"))
        .await;
    assert_eq!(counts(&answer), [9, 0, 0, 0], "{}", answer.text());
    let found = readings(&caller, "m1").await;
    for (text, reading) in texts.iter().zip(&found) {
        let expected = if *text == "-0.0" {
            0.0
        } else {
            text.parse::<f64>().unwrap()
        };
        let number = reading["energy_consumption"].as_f64().unwrap();
        assert_eq!(number.to_bits(), expected.to_bits(), "{text}");
    }
}

#[tokio::test]
async fn timestamps_come_back_in_utc_without_needless_digits() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let pairs = [
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        (
            "2020-02-29T23:59:59.999999-00:30",
            "2020-03-01T00:29:59.999999Z",
        ),
        ("2020-06-01t12:00:00.500000000z", "2020-06-01T12:00:00.5Z"),
        (
            "2020-07-01T00:00:00.000001+14:00",
            "2020-06-30T10:00:00.000001Z",
        ),
    ];
    let rows: Vec<Value> = pairs.iter().map(|(at, _)| reading("m1", at, 1.0)).collect();
    assert_eq!(
        counts(&caller.post(BATCH, &json!(rows)).await),
        [4, 0, 0, 0]
    );
    let found = readings(&caller, "m1").await;
    for ((_, expected), reading) in pairs.iter().zip(&found) {
        assert_eq!(reading["timestamp"], *expected);
    }
}

#[tokio::test]
async fn pages_to_the_end_are_the_whole() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    caller.post(BATCH, &json!(half_hours("m1", 480))).await;
    let whole = readings(&caller, "m1").await;
    assert_eq!(whole.len(), 480);
    // 2020-01-02T00:00Z is the 48th half-hour, 2020-01-08T00:00Z the 336th, which is outside.
    let range = "/api/v1/data/m1?start=2020-01-02T00:00:00Z&end=2020-01-08T00:00:00Z&limit=100";
    let (mut paged, mut sizes) = (Vec::new(), Vec::new());
    let mut path = range.to_owned();
    loop {
        let page = caller.get(&path).await.json();
        let items = page["readings"].as_array().unwrap().clone();
        sizes.push(items.len());
        paged.extend(items);
        let Some(next) = page.get("next_cursor") else {
            break;
        };
        path = format!("{range}&cursor={}", next.as_str().unwrap());
    }
    assert_eq!(sizes, [100, 100, 88]);
    assert_eq!(paged, whole[48..336]);
    // A page that ends with the range has no next one.
    let exact = caller.get("/api/v1/data/m1?limit=480").await.json();
    assert!(exact.get("next_cursor").is_none());
    let default = caller.get("/api/v1/data/m1").await.json();
    assert_eq!(default["readings"].as_array().unwrap().len(), 480);
}

#[tokio::test]
async fn a_forged_or_foreign_cursor_is_refused() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let rows: Vec<Value> = ["m1", "m2"]
        .iter()
        .flat_map(|meter| half_hours(meter, 10))
        .collect();
    caller.post(BATCH, &json!(rows)).await;
    let page = caller.get("/api/v1/data/m1?limit=5").await.json();
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(
        caller
            .get(&format!("/api/v1/data/m1?limit=5&cursor={cursor}"))
            .await
            .status,
        200
    );
    let mut forged: Vec<char> = cursor.chars().collect();
    forged[5] = if forged[5] == 'A' { 'B' } else { 'A' };
    let forged: String = forged.into_iter().collect();
    let other = server.user(Role::Analyst).await;
    for (who, path) in [
        (&caller, format!("/api/v1/data/m1?limit=5&cursor={forged}")),
        (&caller, "/api/v1/data/m1?limit=5&cursor=".to_owned()),
        (&caller, format!("/api/v1/data/m2?limit=5&cursor={cursor}")),
        (
            &caller,
            format!("/api/v1/data/m1?start=2020-01-01T00:00:00Z&limit=5&cursor={cursor}"),
        ),
        (&caller, format!("/api/v1/meters?cursor={cursor}")),
        (&other, format!("/api/v1/data/m1?limit=5&cursor={cursor}")),
    ] {
        assert_eq!(
            who.get(&path).await.verdict(),
            (400, "invalid_parameter".into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_stream_is_the_whole_range_in_its_form() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    caller.post(BATCH, &json!(half_hours("m1", 1440))).await;
    let mut last = reading("m1", "2020-01-31T00:00:00Z", 0.25);
    last["location"] = json!("a,\"b\"");
    last["power_factor"] = json!(1);
    caller.post("/api/v1/data", &last).await;
    let stream = async |accept: &str| {
        Answer::of(
            caller
                .request("GET", "/api/v1/data/m1")
                .header("accept", accept),
        )
        .await
    };
    let csv = stream("text/csv").await;
    assert!(
        csv.header("content-type").starts_with("text/csv"),
        "{}",
        csv.header("content-type")
    );
    let text = csv.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1442);
    assert_eq!(
        lines[0],
        "meter_id,timestamp,energy_consumption,power_factor,location"
    );
    assert_eq!(
        lines[2].trim_end_matches(".0,,"),
        "m1,2020-01-01T00:30:00Z,1"
    );
    assert!(
        lines[1441].starts_with("m1,2020-01-31T00:00:00Z,0.25,1"),
        "{}",
        lines[1441]
    );
    assert!(lines[1441].ends_with(",\"a,\"\"b\"\"\""), "{}", lines[1441]);

    let ndjson = stream("application/x-ndjson").await;
    assert!(
        ndjson
            .header("content-type")
            .starts_with("application/x-ndjson")
    );
    let rows: Vec<Value> = ndjson
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 1441);
    assert_eq!(rows[1], reading("m1", "2020-01-01T00:30:00Z", 1.0));
    // What came out goes in again, and changes nothing.
    for (media_type, body) in [
        ("text/csv", csv.body),
        ("application/x-ndjson", ndjson.body),
    ] {
        let again = caller.send(BATCH, media_type, body).await;
        assert_eq!(counts(&again), [0, 1441, 0, 0], "{media_type}");
    }
    let refused = stream("image/png").await;
    assert_eq!(refused.verdict(), (406, "not_acceptable".into()));
}

#[tokio::test]
async fn a_deletion_takes_its_half_open_range_and_tells_how_much() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    caller.post(BATCH, &json!(half_hours("m1", 96))).await;
    let range = "/api/v1/data/m1?start=2020-01-01T12:00:00Z&end=2020-01-02T00:00:00Z";
    let gone = caller.delete(range).await;
    assert_eq!((gone.status, gone.json()), (200, json!({ "deleted": 24 })));
    assert_eq!(caller.delete(range).await.json(), json!({ "deleted": 0 }));
    let left = readings(&caller, "m1").await;
    assert_eq!(left.len(), 72);
    assert_eq!(left[23]["timestamp"], "2020-01-01T11:30:00Z");
    assert_eq!(left[24]["timestamp"], "2020-01-02T00:00:00Z");
    assert_eq!(
        caller.delete("/api/v1/data/m1").await.json(),
        json!({ "deleted": 72 })
    );
    assert_eq!(readings(&caller, "m1").await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    caller.post(BATCH, &json!(half_hours("m1", 100))).await;
    caller
        .delete("/api/v1/data/m1?end=2020-01-01T12:00:00Z")
        .await;
    let before = readings(&caller, "m1").await;
    assert_eq!(before.len(), 76);
    let server = server.restart().await.unwrap();
    assert_eq!(readings(&server.admin().await, "m1").await, before);
}

#[tokio::test]
async fn a_cursor_is_good_after_a_restart_and_still_only_for_its_list() {
    let server = TestServer::start().await;
    let token = server
        .log_in(ems_testkit::ADMIN.0, ems_testkit::ADMIN.1)
        .await;
    let caller = server.nobody().bearer(&token);
    caller.post(BATCH, &json!(half_hours("m1", 10))).await;
    let first = caller.get("/api/v1/data/m1?limit=6").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let server = server.restart().await.unwrap();
    let caller = server.nobody().bearer(&token);
    let rest = caller
        .get(&format!("/api/v1/data/m1?cursor={cursor}"))
        .await
        .json();
    let pages = [&first, &rest].map(|page| page["readings"].as_array().unwrap().clone());
    assert_eq!(pages.concat(), readings(&caller, "m1").await);
    let other = caller.get(&format!("/api/v1/meters?cursor={cursor}")).await;
    assert_eq!(other.verdict(), (400, "invalid_parameter".into()));
}
