//! Readings in, out and away, through every layer.

mod repeat;

use std::{fmt::Write as _, io::Write as _};

use ems_core::{audit::AuditEvent, time::Timestamp};
use serde_json::{Value, json};

use crate::testing::{Answer, Instance, PASSWORD, bearer};

const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
const CSV: (&str, &str) = ("content-type", "text/csv");

struct Api {
    server: Instance,
    token: String,
}

impl Api {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let server = Instance::new(settings);
        let token = server.user("ada", "admin").await;
        Self { server, token }
    }

    /// A login of a new user who is bound to some meters.
    async fn bound_to(&self, name: &str, role: &str, meters: &[&str]) -> String {
        let body = json!({"username": name, "password": PASSWORD, "role": role, "meters": meters});
        assert_eq!(
            self.server
                .administer("POST /api/v1/users", &body)
                .await
                .status,
            201
        );
        bearer(&self.server.log_in(name, PASSWORD).await)
    }

    async fn ask_as(
        &self,
        token: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<axum::body::Body>,
    ) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("authorization", token));
        self.server.ask(path, &headers, body).await
    }

    async fn ask(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<axum::body::Body>,
    ) -> Answer {
        self.ask_as(&self.token, path, headers, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }

    async fn ledger(&self) -> Vec<AuditEvent> {
        let events = self.server.app.store.ledger.range(0, 10_000).await.unwrap();
        events.into_iter().map(|(_, event)| event).collect()
    }

    async fn stored(&self, meter: &str) -> u64 {
        let meter = ems_core::meter::MeterId::parse(meter).unwrap();
        self.server
            .app
            .store
            .segments
            .statistics(&meter)
            .await
            .unwrap()
            .readings
    }
}

fn row(meter: &str, minute: usize, kwh: f64) -> String {
    let at = Timestamp::parse("2013-01-01T00:00:00Z").unwrap();
    let at = at.saturating_add_micros(i64::try_from(minute).unwrap() * 60_000_000);
    format!(r#"{{"meter_id":"{meter}","timestamp":"{at}","energy_consumption":{kwh:?}}}"#)
}

fn lines(meter: &str, count: usize) -> String {
    (0..count)
        .map(|minute| row(meter, minute, 0.5) + "\n")
        .collect()
}

fn counts(answer: &Answer) -> [u64; 4] {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let body = answer.json();
    ["accepted", "unchanged", "corrected", "rejected"].map(|name| body[name].as_u64().unwrap())
}

fn errors(answer: &Answer) -> Vec<(String, String, Option<u64>)> {
    let body = answer.json();
    let errors = body["errors"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    errors
        .map(|error| {
            (
                text(&error["pointer"]),
                text(&error["code"]),
                error["index"].as_u64(),
            )
        })
        .collect()
}

#[tokio::test]
async fn one_reading_is_accepted_then_unchanged_then_corrected() {
    let api = Api::new(&[]).await;
    let send = async |kwh| {
        api.ask("POST /api/v1/data", &[JSON], row("m1", 0, kwh))
            .await
    };
    for (kwh, expected) in [(0.5, [1, 0, 0]), (0.5, [0, 1, 0]), (0.75, [0, 0, 1])] {
        let answer = send(kwh).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        let [accepted, unchanged, corrected] = expected;
        let body = json!({"accepted": accepted, "unchanged": unchanged, "corrected": corrected});
        assert_eq!(answer.json(), body);
    }
    let page = api.get("/api/v1/data/m1").await.json();
    let readings = json!([{"timestamp": "2013-01-01T00:00:00Z", "energy_consumption": 0.75}]);
    assert_eq!(page, json!({"meter_id": "m1", "readings": readings}));
}

/// A body for one reading; the status and the code it gets; where the fault is.
type Bad = (String, u16, &'static str, &'static str);

#[rustfmt::skip]
fn bad_input() -> Vec<Bad> {
    let with = |kwh: &str| row("m1", 0, 1.0).replace("1.0", kwh);
    let at = |at: &str| row("m1", 0, 1.0).replace("2013-01-01T00:00:00Z", at);
    let long = "x".repeat(1_000_000);
    let nested = |depth: usize| with(&("[".repeat(depth - 1) + &"]".repeat(depth - 1)));
    vec![
        (String::new(), 400, "malformed", ""),
        ("{".to_owned(), 400, "malformed", ""),
        (with("NaN"), 400, "malformed", ""),
        (with("Infinity"), 400, "malformed", ""),
        (with("1e400"), 400, "malformed", ""),
        (nested(129), 400, "malformed", ""),
        (row("m1", 0, 1.0) + " x", 400, "malformed", ""),
        (nested(128), 422, "wrong_type", "/energy_consumption"),
        (format!("[{}]", row("m1", 0, 1.0)), 422, "wrong_type", ""),
        (with("\"1\""), 422, "wrong_type", "/energy_consumption"),
        (with("null"), 422, "wrong_type", "/energy_consumption"),
        (with("-0.1"), 422, "out_of_range", "/energy_consumption"),
        (with("100000.1"), 422, "out_of_range", "/energy_consumption"),
        (with("1,\"power_factor\":1.5"), 422, "out_of_range", "/power_factor"),
        (with("1,\"voltage\":230"), 422, "unknown_field", "/voltage"),
        (with("1,\"meter_id\":\"m1\""), 422, "duplicate_field", "/meter_id"),
        (with("1,\"location\":\"a\\u0000b\""), 422, "invalid_format", "/location"),
        (with(&format!("1,\"location\":\"{long}\"")), 422, "too_long", "/location"),
        (row(&"m".repeat(51), 0, 1.0), 422, "too_long", "/meter_id"),
        (row("a b", 0, 1.0), 422, "invalid_format", "/meter_id"),
        (row("batch", 0, 1.0), 422, "reserved", "/meter_id"),
        (at("2013-01-01T00:00:00"), 422, "invalid_format", "/timestamp"),
        (at("2013-01-01T00:00:00.0000001Z"), 422, "invalid_format", "/timestamp"),
        (at("2013-02-30T00:00:00Z"), 422, "invalid_format", "/timestamp"),
        (at("9999-12-31T00:00:00Z"), 422, "future_timestamp", "/timestamp"),
        (at("1969-12-31T23:59:59Z"), 422, "out_of_range", "/timestamp"),
        (at("9999-12-31T23:59:59-01:00"), 422, "out_of_range", "/timestamp"),
    ]
}

#[tokio::test]
async fn bad_input_gets_its_problem_and_stores_nothing() {
    let api = Api::new(&[]).await;
    for (body, status, code, pointer) in bad_input() {
        let shown: String = body.chars().take(120).collect();
        let answer = api.ask("POST /api/v1/data", &[JSON], body).await;
        assert_eq!(answer.status, status, "{shown}");
        if status == 422 {
            assert_eq!(answer.code(), "invalid_request", "{shown}");
            let expected = [(pointer.to_owned(), code.to_owned(), None)];
            assert_eq!(errors(&answer), expected, "{shown}");
        } else {
            assert_eq!(answer.code(), code, "{shown}");
        }
    }
    assert_eq!(api.get("/api/v1/data/m1").await.status, 404);
}

#[tokio::test]
async fn a_body_without_a_media_type_of_ours_is_415() {
    let api = Api::new(&[]).await;
    for headers in [vec![], vec![("content-type", "text/plain")], vec![NDJSON]] {
        let answer = api
            .ask("POST /api/v1/data", &headers, row("m1", 0, 1.0))
            .await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (415, "unsupported_media_type")
        );
    }
    let answer = api
        .ask(
            "POST /api/v1/data/batch",
            &[("content-type", "text/html")],
            "",
        )
        .await;
    assert_eq!(answer.status, 415);
    let coded = [NDJSON, ("content-encoding", "br")];
    assert_eq!(
        api.ask("POST /api/v1/data/batch", &coded, "").await.status,
        415
    );
}

#[tokio::test]
async fn a_batch_may_come_in_three_forms_and_compressed() {
    let api = Api::new(&[]).await;
    let body = lines("m1", 500);
    let json = format!("[{}]", body.trim_end().replace('\n', ","));
    let mut csv = String::from("energy_consumption,meter_id,timestamp\r\n");
    for minute in 0..500 {
        let at = Timestamp::parse("2013-01-01T00:00:00Z").unwrap();
        let at = at.saturating_add_micros(minute * 60_000_000);
        write!(csv, "0.5,m1,{at}\r\n").unwrap();
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    let zstd = zstd::encode_all(csv.as_bytes(), 1).unwrap();
    let batch = "POST /api/v1/data/batch";
    let first = api.ask(batch, &[JSON], json).await;
    assert_eq!(counts(&first), [500, 0, 0, 0]);
    assert_eq!(first.json()["errors"], json!([]));
    assert_eq!(
        counts(&api.ask(batch, &[NDJSON], body).await),
        [0, 500, 0, 0]
    );
    assert_eq!(counts(&api.ask(batch, &[CSV], csv).await), [0, 500, 0, 0]);
    let gzip = gzip.finish().unwrap();
    let coded = [NDJSON, ("content-encoding", "gzip")];
    assert_eq!(counts(&api.ask(batch, &coded, gzip).await), [0, 500, 0, 0]);
    let coded = [CSV, ("content-encoding", "zstd")];
    assert_eq!(counts(&api.ask(batch, &coded, zstd).await), [0, 500, 0, 0]);
}

#[tokio::test]
async fn one_bad_row_of_ten_thousand_is_named_and_the_others_stored() {
    let api = Api::new(&[]).await;
    let mut rows: Vec<String> = (0..10_000).map(|minute| row("m1", minute, 0.5)).collect();
    rows[7_777] = "{\"meter_id\":".to_owned();
    let body = rows.join("\n");
    let atomic = api
        .ask(
            "POST /api/v1/data/batch?atomic=true",
            &[NDJSON],
            body.clone(),
        )
        .await;
    assert_eq!(
        (atomic.status.as_u16(), &*atomic.code()),
        (422, "invalid_request")
    );
    let expected = [(String::new(), "malformed".to_owned(), Some(7_777))];
    assert_eq!(errors(&atomic), expected);
    assert_eq!(api.stored("m1").await, 0);
    let answer = api
        .ask("POST /api/v1/data/batch?atomic=false", &[NDJSON], body)
        .await;
    assert_eq!(counts(&answer), [9_999, 0, 0, 1]);
    assert_eq!(errors(&answer), expected);
    assert!(answer.json().get("errors_truncated").is_none());
    assert_eq!(api.stored("m1").await, 9_999);
}

#[tokio::test]
async fn a_broken_array_stores_nothing() {
    let api = Api::new(&[]).await;
    let body = format!("[{},{}", row("m1", 0, 1.0), row("m1", 1, 1.0));
    let answer = api.ask("POST /api/v1/data/batch", &[JSON], body).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (400, "malformed")
    );
    assert_eq!(api.stored("m1").await, 0);
}

#[tokio::test]
async fn past_a_limit_is_413_and_nothing_is_stored() {
    let settings = [
        ("limits.batch_rows", "100"),
        ("limits.body_bytes", "64KiB"),
        ("limits.expanded_bytes", "128KiB"),
    ];
    let api = Api::new(&settings).await;
    let zstd = |text: String| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let coded = [NDJSON, ("content-encoding", "zstd")];
    let batch = "POST /api/v1/data/batch";
    for answer in [
        api.ask(batch, &[NDJSON], lines("m1", 101)).await,
        api.ask("POST /api/v1/data/validate", &[NDJSON], lines("m1", 101))
            .await,
        api.ask(batch, &[NDJSON], "x".repeat(64 * 1024 + 1)).await,
        api.ask(batch, &coded, zstd("\n".repeat(128 * 1024 + 1)))
            .await,
    ] {
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (413, "payload_too_large")
        );
    }
    assert_eq!(api.stored("m1").await, 0);
    assert_eq!(
        counts(&api.ask(batch, &coded, zstd(lines("m1", 100))).await),
        [100, 0, 0, 0]
    );
}

#[tokio::test]
async fn a_check_stores_nothing_and_answers_as_a_batch_does() {
    let api = Api::new(&[("limits.readings_per_hour", "1")]).await;
    let body = lines("m1", 3) + "x\n";
    let answer = api.ask("POST /api/v1/data/validate", &[NDJSON], body).await;
    assert_eq!(counts(&answer), [3, 0, 0, 1]);
    assert_eq!(api.stored("m1").await, 0);
}

#[tokio::test]
async fn a_device_writes_and_reads_its_own_meters_only() {
    let api = Api::new(&[]).await;
    api.ask("POST /api/v1/data", &[JSON], row("other", 0, 1.0))
        .await;
    let device = api.bound_to("device", "meter_reader", &["plant7-*"]).await;
    let answer = api
        .ask_as(&device, "POST /api/v1/data", &[JSON], row("other", 1, 1.0))
        .await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (403, "out_of_scope")
    );
    let body = [row("plant7-a", 0, 1.0), row("other", 1, 1.0)].join("\n");
    let answer = api
        .ask_as(&device, "POST /api/v1/data/batch", &[NDJSON], body)
        .await;
    assert_eq!(counts(&answer), [1, 0, 0, 1]);
    assert_eq!(
        errors(&answer),
        [("/meter_id".to_owned(), "out_of_scope".to_owned(), Some(1))]
    );
    assert_eq!(api.stored("other").await, 1);
    for (path, status) in [
        ("plant7-a", 200),
        ("other", 404),
        ("plant7-none", 404),
        ("a.b", 404),
    ] {
        let path = format!("GET /api/v1/data/{path}");
        assert_eq!(
            api.ask_as(&device, &path, &[], "").await.status,
            status,
            "{path}"
        );
    }
    let deleted = api
        .ask_as(&device, "DELETE /api/v1/data/plant7-a", &[], "")
        .await;
    assert_eq!(deleted.code(), "insufficient_permissions");
}

#[tokio::test]
async fn an_unknown_meter_is_refused_where_meters_are_registered() {
    let api = Api::new(&[("readings.auto_register", "false")]).await;
    let answer = api
        .ask("POST /api/v1/data", &[JSON], row("m1", 0, 1.0))
        .await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (403, "out_of_scope")
    );
    assert_eq!(
        api.ask("PUT /api/v1/meters/m1", &[JSON], "{}").await.status,
        201
    );
    let body = [row("m2", 0, 1.0), row("m1", 0, 1.0)].join("\n");
    let answer = api.ask("POST /api/v1/data/batch", &[NDJSON], body).await;
    assert_eq!(counts(&answer), [1, 0, 0, 1]);
    assert_eq!(
        errors(&answer),
        [("/meter_id".to_owned(), "out_of_scope".to_owned(), Some(0))]
    );
}

#[tokio::test]
async fn windows_bound_readings_and_new_meters() {
    let settings = [
        ("limits.readings_per_hour", "10"),
        ("readings.new_meters_per_hour", "2"),
    ];
    let api = Api::new(&settings).await;
    let batch = async |body: String| api.ask("POST /api/v1/data/batch", &[NDJSON], body).await;
    let answer = batch(lines("m1", 11)).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.code()),
        (429, "rate_limited")
    );
    assert!(answer.has("ratelimit") && answer.has("ratelimit-policy"));
    // What is refused costs nothing; what is already there costs no new meter.
    assert_eq!(counts(&batch(lines("m1", 3)).await), [3, 0, 0, 0]);
    assert_eq!(counts(&batch(row("m1", 0, 0.5)).await), [0, 1, 0, 0]);
    assert_eq!(
        batch([row("m2", 0, 1.0), row("m3", 0, 1.0)].join("\n"))
            .await
            .status,
        429
    );
    assert_eq!(counts(&batch(row("m2", 0, 0.5)).await), [1, 0, 0, 0]);
    assert_eq!(api.stored("m3").await, 0);
}

#[tokio::test]
async fn a_correction_comes_within_its_window_or_not_at_all() {
    let api = Api::new(&[("readings.correction_window", "1h")]).await;
    let batch = async |body: String| api.ask("POST /api/v1/data/batch", &[NDJSON], body).await;
    assert_eq!(counts(&batch(lines("m1", 3)).await), [3, 0, 0, 0]);
    let body = [row("m1", 0, 0.5), row("m1", 1, 0.75), row("m1", 9, 1.0)].join("\n");
    let answer = batch(body).await;
    assert_eq!(counts(&answer), [1, 1, 0, 1]);
    assert_eq!(
        errors(&answer),
        [("/timestamp".to_owned(), "out_of_range".to_owned(), Some(1))]
    );
    let answer = api
        .ask("POST /api/v1/data", &[JSON], row("m1", 2, 0.75))
        .await;
    assert_eq!(
        (answer.status.as_u16(), &*errors(&answer)[0].1),
        (422, "out_of_range")
    );
    let now = api.server.app.clock.now();
    for kwh in [1.0, 2.0] {
        let fresh = row("m1", 0, kwh).replace("2013-01-01T00:00:00Z", &now.to_string());
        let answer = api.ask("POST /api/v1/data", &[JSON], fresh).await;
        assert_eq!(answer.status, 201);
    }
}

#[tokio::test]
async fn doubles_come_back_exactly_as_they_were() {
    let api = Api::new(&[]).await;
    let values = [
        0.1,
        1e-300,
        5e-324,
        0.300_000_000_000_000_04,
        99_999.999_999_999_99,
        1.0 / 3.0,
    ];
    let body: String = values
        .iter()
        .enumerate()
        .map(|(minute, kwh)| row("m1", minute, *kwh) + "\n")
        .collect();
    api.ask("POST /api/v1/data/batch", &[NDJSON], body).await;
    let page: ems_api::reading::Readings =
        serde_json::from_slice(&api.get("/api/v1/data/m1").await.body).unwrap();
    let back: Vec<u64> = page
        .readings
        .iter()
        .map(|reading| reading.energy_consumption.to_bits())
        .collect();
    assert_eq!(back, values.map(f64::to_bits));
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap_and_end() {
    let api = Api::new(&[]).await;
    api.ask("POST /api/v1/data/batch", &[NDJSON], lines("m1", 25))
        .await;
    let query = "start=2013-01-01T00:01:00Z&end=2013-01-01T01:20:00%2B01:00&limit=5";
    let mut minutes = Vec::new();
    let mut cursor = String::new();
    for _ in 0..4 {
        let page = api
            .get(&format!("/api/v1/data/m1?{query}{cursor}"))
            .await
            .json();
        for reading in page["readings"].as_array().unwrap() {
            let at = Timestamp::parse(reading["timestamp"].as_str().unwrap()).unwrap();
            minutes.push(at.as_seconds() / 60 % 1440);
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => cursor.clear(),
        }
    }
    assert_eq!(minutes, (1..20).collect::<Vec<_>>());
    assert_eq!(cursor, "");
    // A page that ends with the range says nothing of a next one.
    let page = api.get("/api/v1/data/m1?limit=25").await.json();
    assert!(page.get("next_cursor").is_none());
    assert_eq!(page["readings"].as_array().unwrap().len(), 25);
}

#[tokio::test]
async fn a_forged_or_foreign_cursor_and_an_absurd_range_are_400() {
    let api = Api::new(&[]).await;
    for meter in ["m1", "m2"] {
        api.ask("POST /api/v1/data/batch", &[NDJSON], lines(meter, 3))
            .await;
    }
    let page = api.get("/api/v1/data/m1?limit=1").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let other = api.bound_to("viewer", "viewer", &["*"]).await;
    let foreign = format!("GET /api/v1/data/m1?limit=1&cursor={cursor}");
    assert_eq!(
        api.ask_as(&other, &foreign, &[], "").await.code(),
        "invalid_parameter"
    );
    for query in [
        "m1?cursor=AAAA",
        &format!("m1?cursor={cursor}A"),
        &format!("m2?cursor={cursor}"),
        &format!("m1?start=2013-01-01T00:00:00Z&cursor={cursor}"),
        "m1?start=2013-01-02T00:00:00Z&end=2013-01-01T00:00:00Z",
        "m1?start=2013-01-01T00:00:00Z&end=2013-01-01T00:00:00Z",
        "m1?start=2013-01-01",
        "m1?start=10000-01-01T00:00:00Z",
        "m1?start=-1",
        "m1?limit=0",
        "m1?limit=10001",
        "m1?limit=1&limit=2",
        "m1?page=2",
    ] {
        let answer = api.get(&format!("/api/v1/data/{query}")).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (400, "invalid_parameter"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_whole_range_streams_as_csv_or_ndjson() {
    let api = Api::new(&[]).await;
    let body = lines("m1", 40_000);
    assert_eq!(
        counts(
            &api.ask("POST /api/v1/data/batch", &[NDJSON], body.clone())
                .await
        )[0],
        40_000
    );
    let ndjson = api
        .ask(
            "GET /api/v1/data/m1",
            &[("accept", "application/x-ndjson")],
            "",
        )
        .await;
    assert_eq!(ndjson.header("content-type"), "application/x-ndjson");
    assert!(ndjson.body == body.as_bytes());
    let path = "GET /api/v1/data/m1?start=2013-01-01T00:01:00Z&end=2013-01-01T00:03:00Z";
    let csv = api
        .ask(
            path,
            &[("accept", "text/csv;q=0.9, application/json;q=0.1")],
            "",
        )
        .await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let expected = "meter_id,timestamp,energy_consumption,power_factor,location\r\n\
        m1,2013-01-01T00:01:00Z,0.5,,\r\nm1,2013-01-01T00:02:00Z,0.5,,\r\n";
    assert_eq!(String::from_utf8(csv.body).unwrap(), expected);
    let refused = api
        .ask("GET /api/v1/data/m1", &[("accept", "image/png")], "")
        .await;
    assert_eq!(
        (refused.status.as_u16(), &*refused.code()),
        (406, "not_acceptable")
    );
    let paged = api
        .ask("GET /api/v1/data/m1?limit=5", &[("accept", "text/csv")], "")
        .await;
    assert_eq!(paged.code(), "invalid_parameter");
}

#[tokio::test]
async fn the_ledger_has_a_stream_from_intent_to_outcome_by_pseudonym() {
    let api = Api::new(&[]).await;
    api.ask("POST /api/v1/data/batch", &[NDJSON], lines("meter-x", 3))
        .await;
    api.ask("GET /api/v1/data/meter-x", &[("accept", "text/csv")], "")
        .await;
    let events = api.ledger().await;
    let [.., ingest, begun, completed] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((&*ingest.action, ingest.record_count), ("create", 3));
    assert_eq!(ingest.filters["accepted"], 3);
    assert_eq!(ingest.filters["sha256"].as_str().unwrap().len(), 64);
    assert!(ingest.subjects.is_empty());
    assert_eq!(
        (&begun.filters["stream"], begun.record_count),
        (&json!("begun"), 0)
    );
    assert_eq!(
        (&completed.filters["stream"], completed.record_count),
        (&json!("completed"), 3)
    );
    assert_eq!(begun.subjects.len(), 1);
    assert!(begun.subjects[0].starts_with("m_"));
    assert_eq!(begun.request_id, completed.request_id);
    assert!(!serde_json::to_string(&events).unwrap().contains("meter-x"));
}

#[tokio::test]
async fn a_stream_that_nobody_takes_is_noted_as_aborted() {
    let api = Api::new(&[]).await;
    api.ask("POST /api/v1/data/batch", &[NDJSON], lines("m1", 70_000))
        .await;
    // HEAD: the answer's body is dropped unread.
    let before = api.ledger().await.len();
    let answer = api
        .ask("HEAD /api/v1/data/m1", &[("accept", "text/csv")], "")
        .await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    let mut durable = api.server.app.store.ledger.durable();
    let enough = u64::try_from(before).unwrap() + 2;
    durable.wait_for(|length| *length >= enough).await.unwrap();
    let events = api.ledger().await;
    assert_eq!(events[before].filters["stream"], "begun");
    assert_eq!(events[before + 1].filters["stream"], "aborted");
}

#[tokio::test]
async fn deleting_counts_what_it_removed_and_leaves_the_meter() {
    let api = Api::new(&[]).await;
    api.ask("POST /api/v1/data/batch", &[NDJSON], lines("m1", 10))
        .await;
    let delete = async |query: &str| {
        api.ask(&format!("DELETE /api/v1/data/{query}"), &[], "")
            .await
    };
    let some = delete("m1?start=2013-01-01T00:02:00Z&end=2013-01-01T00:05:00Z").await;
    assert_eq!(
        (some.status.as_u16(), some.json()),
        (200, json!({"deleted": 3}))
    );
    let events = api.ledger().await;
    let event = events.last().unwrap();
    assert_eq!(
        (&*event.action, event.record_count, event.subjects.len()),
        ("delete", 3, 1)
    );
    assert_eq!(delete("m1").await.json(), json!({"deleted": 7}));
    assert_eq!(
        api.get("/api/v1/data/m1").await.json()["readings"],
        json!([])
    );
    assert_eq!(delete("none").await.status, 404);
    let narrow = api.bound_to("second", "admin", &["m2"]).await;
    let outside = api.ask_as(&narrow, "DELETE /api/v1/data/m1", &[], "").await;
    assert_eq!(
        (outside.status.as_u16(), &*outside.code()),
        (403, "out_of_scope")
    );
}
