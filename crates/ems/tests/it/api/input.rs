//! What bad input gets: a status, a code, the broken rules by name, and nothing stored.

use ems_core::{clock::Clock, time::SECOND};
use ems_testkit::{Answer, Caller, TestServer};
use serde_json::{Value, json};

const ONE: &str = "/api/v1/data";
const BATCH: &str = "/api/v1/data/batch";

/// A reading with one field's JSON text in place of the good one.
fn row(field: &str, text: &str) -> String {
    let good = [
        ("meter_id", "\"m1\""),
        ("timestamp", "\"2020-01-01T00:00:00Z\""),
        ("energy_consumption", "1.5"),
    ];
    let known = good.iter().any(|(name, _)| *name == field);
    let mut fields: Vec<String> = good
        .iter()
        .map(|(name, value)| format!("\"{name}\":{}", if *name == field { text } else { value }))
        .collect();
    if !known {
        fields.push(format!("\"{field}\":{text}"));
    }
    format!("{{{}}}", fields.join(","))
}

/// Rows that are no JSON, or not in UTF-8.
fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    vec![
        ("nothing", Vec::new()),
        ("truncated", row("location", "\"a").into_bytes()),
        (
            "cut in a number",
            br#"{"meter_id":"m1","energy_consumption":1."#.to_vec(),
        ),
        ("NaN", row("energy_consumption", "NaN").into_bytes()),
        (
            "infinity",
            row("energy_consumption", "Infinity").into_bytes(),
        ),
        ("1e400", row("energy_consumption", "1e400").into_bytes()),
        (
            "a leading zero",
            row("energy_consumption", "01").into_bytes(),
        ),
        ("a plus sign", row("energy_consumption", "+1").into_bytes()),
        ("hexadecimal", row("energy_consumption", "0x1").into_bytes()),
        ("single quotes", row("location", "'a'").into_bytes()),
        (
            "a comment",
            format!("/* */{}", row("location", "\"a\"")).into_bytes(),
        ),
        ("a raw NUL", row("location", "\"a\0b\"").into_bytes()),
        ("a raw newline", row("location", "\"a\nb\"").into_bytes()),
        (
            "a lone surrogate",
            row("location", "\"\\ud800\"").into_bytes(),
        ),
        (
            "bad UTF-8",
            [
                &row("location", "\"").into_bytes()[..],
                &[0xff, 0xfe],
                b"\"}",
            ]
            .concat(),
        ),
        ("a trailing comma", br#"{"meter_id":"m1",}"#.to_vec()),
        (
            "two values",
            format!("{}{}", row("location", "\"a\""), row("location", "\"a\"")).into_bytes(),
        ),
        ("129 deep", row("location", &deep(128)).into_bytes()),
    ]
}

/// Rows that parse and break one rule: the field, its text, where and which rule.
fn invalid() -> Vec<(String, &'static str, &'static str)> {
    let case = |field: &str, text: &str, pointer, code| (row(field, text), pointer, code);
    let at = |text: &str, code| case("timestamp", &json!(text).to_string(), "/timestamp", code);
    let id = |text: &str, code| case("meter_id", &json!(text).to_string(), "/meter_id", code);
    vec![
        case("energy_consumption", "\"1.5\"", "/energy_consumption", "wrong_type"),
        case("energy_consumption", "true", "/energy_consumption", "wrong_type"),
        case("energy_consumption", "[1]", "/energy_consumption", "wrong_type"),
        case("energy_consumption", "-0.001", "/energy_consumption", "out_of_range"),
        case("energy_consumption", "100000.00000000001", "/energy_consumption", "out_of_range"),
        case("energy_consumption", "1e308", "/energy_consumption", "out_of_range"),
        case("power_factor", "1.0000000000000002", "/power_factor", "out_of_range"),
        case("power_factor", "-1", "/power_factor", "out_of_range"),
        case("power_factor", "\"0.9\"", "/power_factor", "wrong_type"),
        case("location", "7", "/location", "wrong_type"),
        case("location", "\"a\\u0000b\"", "/location", "invalid_format"),
        case("location", "\"a\\u001bb\"", "/location", "invalid_format"),
        case("location", "\"a\\u0085b\"", "/location", "invalid_format"),
        case("location", &json!("ü".repeat(201)).to_string(), "/location", "too_long"),
        case("location", &json!("x".repeat(1_000_000)).to_string(), "/location", "too_long"),
        case("voltage", "1", "/voltage", "unknown_field"),
        case("Meter_id", "\"m1\"", "/Meter_id", "unknown_field"),
        case("meter_id", "7", "/meter_id", "wrong_type"),
        id("", "invalid_format"),
        id("a b", "invalid_format"),
        id("../m1", "invalid_format"),
        id("zähler", "invalid_format"),
        id(&"m".repeat(51), "too_long"),
        id("secure", "reserved"),
        id("batch", "reserved"),
        id("validate", "reserved"),
        case("timestamp", "1577836800", "/timestamp", "wrong_type"),
        at("2020-01-01T00:00:00", "invalid_format"),
        at("2020-01-01 00:00:00Z", "invalid_format"),
        at("2020-01-01", "invalid_format"),
        at("2020-02-30T00:00:00Z", "invalid_format"),
        at("2020-01-01T24:00:00Z", "invalid_format"),
        at("2020-01-01T00:00:60Z", "invalid_format"),
        at("2020-01-01T00:00:00+24:00", "invalid_format"),
        at("2020-01-01T00:00:00.0000001Z", "invalid_format"),
        at("1969-12-31T23:59:59.999999Z", "out_of_range"),
        at("9999-12-31T23:59:59-01:00", "out_of_range"),
        at("9998-01-01T00:00:00Z", "future_timestamp"),
        (r#"{"timestamp":"2020-01-01T00:00:00Z","energy_consumption":1}"#.into(), "/meter_id", "missing_field"),
        (r#"{"meter_id":"m1","energy_consumption":1}"#.into(), "/timestamp", "missing_field"),
        (r#"{"meter_id":"m1","timestamp":"2020-01-01T00:00:00Z"}"#.into(), "/energy_consumption", "missing_field"),
        (
            r#"{"meter_id":"m1","meter_id":"m1","timestamp":"2020-01-01T00:00:00Z","energy_consumption":1}"#.into(),
            "/meter_id",
            "duplicate_field",
        ),
    ]
}

async fn stored_nothing(caller: &Caller) {
    let meters = caller.get("/api/v1/meters").await;
    assert_eq!(meters.json()["items"], json!([]));
}

/// The problem of a request, without its text but with its form checked.
fn verdict(answer: &Answer) -> (u16, String) {
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{}",
        answer.text()
    );
    let body = answer.json();
    assert_eq!(body["status"], json!(answer.status));
    assert_eq!(body["request_id"], json!(answer.header("x-request-id")));
    for text in ["type", "title", "detail", "error"] {
        assert!(
            body[text].as_str().is_some_and(|text| !text.is_empty()),
            "{text}: {body}"
        );
    }
    answer.verdict()
}

#[tokio::test]
async fn what_is_no_json_is_malformed() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    for (what, body) in malformed() {
        let answer = caller.send(ONE, "application/json", body.clone()).await;
        assert_eq!(verdict(&answer), (400, "malformed".into()), "one, {what}");
        // The good row before it is not stored either.
        let array = [
            format!("[{},", row("location", "\"a\"")).as_bytes(),
            &body,
            b"]",
        ]
        .concat();
        let answer = caller.send(BATCH, "application/json", array).await;
        assert_eq!(verdict(&answer), (400, "malformed".into()), "batch, {what}");
    }
    stored_nothing(&caller).await;
}

#[tokio::test]
async fn a_broken_rule_is_named_by_pointer_and_code_in_every_form() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    for (body, pointer, code) in invalid() {
        let what = body.get(..200).unwrap_or(&body).to_owned();
        let (pointer, code) = (pointer.to_owned(), code.to_owned());
        let answer = caller.send(ONE, "application/json", body.clone()).await;
        assert_eq!(verdict(&answer), (422, "invalid_request".into()), "{what}");
        assert_eq!(
            answer.faults(),
            [(None, pointer.clone(), code.clone())],
            "{what}"
        );
        let expected = [(Some(0), pointer, code)];
        let array = caller
            .send(BATCH, "application/json", format!("[{body}]"))
            .await;
        assert_eq!(
            (array.status, array.faults()),
            (200, expected.to_vec()),
            "array, {what}"
        );
        let lines = caller
            .send(BATCH, "application/x-ndjson", format!("{body}\n"))
            .await;
        assert_eq!(
            (lines.status, lines.faults()),
            (200, expected.to_vec()),
            "ndjson, {what}"
        );
    }
    stored_nothing(&caller).await;
}

#[tokio::test]
async fn every_broken_rule_of_a_row_is_named_at_once() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let body = json!({ "meter_id": "a b", "timestamp": "yesterday", "energy_consumption": -1,
                       "power_factor": 2, "location": "a\nb", "extra": 1 });
    let answer = caller.post(ONE, &body).await;
    assert_eq!(answer.status, 422);
    let mut pointers: Vec<String> = answer.faults().into_iter().map(|fault| fault.1).collect();
    pointers.sort();
    let all = [
        "/energy_consumption",
        "/extra",
        "/location",
        "/meter_id",
        "/power_factor",
        "/timestamp",
    ];
    assert_eq!(pointers, all);
}

#[tokio::test]
async fn refuses_a_reading_from_the_future_to_the_microsecond() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let now = server.clock().now();
    let at = |micros: i64| {
        json!({ "meter_id": "m1", "energy_consumption": 1,
                "timestamp": now.saturating_add_micros(micros).to_string() })
    };
    let late = caller.post(ONE, &at(1)).await;
    assert_eq!(
        late.faults(),
        [(None, "/timestamp".into(), "future_timestamp".into())]
    );
    assert_eq!(caller.post(ONE, &at(0)).await.status, 201);

    let server = TestServer::builder()
        .set("readings.clock_skew", "5s")
        .start()
        .await;
    let caller = server.admin().await;
    let now = server.clock().now();
    let at = |micros: i64| {
        json!({ "meter_id": "m1", "energy_consumption": 1,
                "timestamp": now.saturating_add_micros(micros).to_string() })
    };
    assert_eq!(caller.post(ONE, &at(5 * SECOND + 1)).await.status, 422);
    assert_eq!(caller.post(ONE, &at(5 * SECOND)).await.status, 201);
}

#[tokio::test]
async fn a_broken_line_is_one_bad_row() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let good = row("location", "\"a\"");
    let cases = [
        (
            "application/x-ndjson",
            format!(
                "{good}\n{{\"meter_id\":\n{}\n",
                good.replace("00:00:00", "01:00:00")
            ),
        ),
        (
            "text/csv",
            "meter_id,timestamp,energy_consumption\n\
             m1,2020-01-01T02:00:00Z,1\nm1,2020-01-01T03:00:00Z\nm1,2020-01-01T04:00:00Z,1\n"
                .to_owned(),
        ),
    ];
    for (media_type, body) in cases {
        let answer = caller.send(BATCH, media_type, body).await;
        let counts =
            (&answer.json()["accepted"], &answer.json()["rejected"]) == (&json!(2), &json!(1));
        assert!(
            answer.status == 200 && counts,
            "{media_type}: {}",
            answer.text()
        );
        assert_eq!(answer.faults()[0].0, Some(1), "{media_type}");
    }
}

#[tokio::test]
async fn a_table_without_its_columns_stores_nothing() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    for header in [
        "meter_id,timestamp",
        "meter_id,timestamp,energy_consumption,voltage",
        "meter_id,meter_id,timestamp,energy_consumption",
    ] {
        let cells = vec!["1"; header.split(',').count()].join(",");
        let answer = caller
            .send(BATCH, "text/csv", format!("{header}\n{cells}\n"))
            .await;
        assert!(
            matches!(answer.status, 400 | 422),
            "{header}: {}",
            answer.text()
        );
    }
    stored_nothing(&caller).await;
}

#[tokio::test]
async fn only_the_media_types_of_a_route_are_taken() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let body = row("location", "\"a\"");
    for (path, media_type) in [
        (ONE, "text/plain"),
        (ONE, "text/csv"),
        (ONE, "application/x-ndjson"),
        (ONE, "application/json; charset=latin-1"),
        (BATCH, "application/xml"),
        (BATCH, "application/x-www-form-urlencoded"),
    ] {
        let answer = caller.send(path, media_type, body.clone()).await;
        assert_eq!(
            verdict(&answer),
            (415, "unsupported_media_type".into()),
            "{media_type}"
        );
    }
    let untyped = Answer::of(caller.request("POST", ONE).body(body.clone())).await;
    assert_eq!(verdict(&untyped), (415, "unsupported_media_type".into()));
    for coding in ["br", "deflate", "gzip, gzip"] {
        let request = caller
            .request("POST", BATCH)
            .header("content-type", "application/json");
        let answer = Answer::of(
            request
                .header("content-encoding", coding)
                .body(body.clone()),
        )
        .await;
        assert_eq!(
            verdict(&answer),
            (415, "unsupported_media_type".into()),
            "{coding}"
        );
    }
    let request = caller
        .request("POST", BATCH)
        .header("content-type", "application/json");
    let broken = Answer::of(request.header("content-encoding", "gzip").body("no gzip")).await;
    assert_eq!(verdict(&broken), (400, "malformed".into()));
    stored_nothing(&caller).await;
}

#[tokio::test]
async fn a_body_past_a_limit_is_refused_whole() {
    let builder = TestServer::builder()
        .set("limits.body_bytes", "5KiB")
        .set("limits.expanded_bytes", "20KiB")
        .set("limits.batch_rows", "100");
    let server = builder.start().await;
    let caller = server.admin().await;
    let rows = |count: usize| format!("[{}]", vec![row("location", "\"a\""); count].join(","));
    let large = (413, "payload_too_large".to_owned());
    let row_bytes = rows(2).len() - rows(1).len();
    // Past 5 KiB as sent, within the number of rows.
    let count = 5_120 / row_bytes + 1;
    assert!(count <= 100, "{count}");
    let answer = caller.send(BATCH, "application/json", rows(count)).await;
    assert_eq!(verdict(&answer), large);
    // A row too many: written short, so that it is within the bytes.
    let table = |count: usize| {
        format!(
            "meter_id,timestamp,energy_consumption\n{}",
            "m1,2020-01-01T00:00:00Z,1\n".repeat(count)
        )
    };
    assert_eq!(
        verdict(&caller.send(BATCH, "text/csv", table(101)).await),
        large
    );
    // Small as sent, past 20 KiB once decompressed.
    let bomb = zstd::encode_all(&vec![b' '; 100_000][..], 3).unwrap();
    assert!(bomb.len() < 1000);
    let request = caller
        .request("POST", BATCH)
        .header("content-type", "application/json");
    let answer = Answer::of(request.header("content-encoding", "zstd").body(bomb)).await;
    assert_eq!(verdict(&answer), large);
    stored_nothing(&caller).await;
    assert_eq!(caller.send(BATCH, "text/csv", table(100)).await.status, 200);
}

#[tokio::test]
async fn a_query_that_cannot_be_meant_is_refused() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    caller
        .send(ONE, "application/json", row("location", "\"a\""))
        .await;
    let usage = "/api/v1/analytics/usage?meter_id=m1";
    for path in [
        "/api/v1/data/m1?start=2020-01-02T00:00:00Z&end=2020-01-01T00:00:00Z".to_owned(),
        "/api/v1/data/m1?start=2020-01-01T00:00:00Z&end=2020-01-01T00:00:00Z".to_owned(),
        "/api/v1/data/m1?start=yesterday".to_owned(),
        "/api/v1/data/m1?start=2020-01-01T00:00:00".to_owned(),
        "/api/v1/data/m1?end=10000-01-01T00:00:00Z".to_owned(),
        "/api/v1/data/m1?limit=0".to_owned(),
        "/api/v1/data/m1?limit=10001".to_owned(),
        "/api/v1/data/m1?limit=-1".to_owned(),
        "/api/v1/data/m1?limit=1e2".to_owned(),
        "/api/v1/data/m1?limit=1&limit=2".to_owned(),
        "/api/v1/data/m1?order=desc".to_owned(),
        "/api/v1/data/m1?cursor=%ff".to_owned(),
        "/api/v1/meters?limit=1001".to_owned(),
        "/api/v1/meters?prefix=a%20b".to_owned(),
        "/api/v1/analytics/usage".to_owned(),
        format!("{usage}&interval=1s"),
        format!("{usage}&timezone=Europe/Atlantis"),
        format!("{usage}&start=2020-01-02T00:00:00Z&end=2020-01-01T00:00:00Z"),
        // 8,029 years of quarters of an hour: 281 million buckets.
        format!("{usage}&interval=15m&start=1970-01-01T00:00:00Z&end=9999-01-01T00:00:00Z"),
    ] {
        let answer = caller.get(&path).await;
        assert_eq!(
            verdict(&answer),
            (400, "invalid_parameter".into()),
            "{path}"
        );
    }
    let answer = caller
        .send(&format!("{BATCH}?atomic=yes"), "application/json", "[]")
        .await;
    assert_eq!(verdict(&answer), (400, "invalid_parameter".into()));
    let empty: Value = caller.send(BATCH, "application/json", "[]").await.json();
    assert_eq!(empty["accepted"], json!(0));
}
