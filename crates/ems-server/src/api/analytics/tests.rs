//! Usage, through every layer.

use std::fmt::Write;

use ems_core::time::Timestamp;
use serde_json::{Value, json};

use crate::testing::{Answer, Instance, PASSWORD, bearer};

/// An instance with half-hours of 0.5 kWh at `m1` over the days around both shifts of London's
/// clock in 2013, and of 0.25 kWh at `m2` on the day of the first.
async fn instance() -> (Instance, String) {
    let server = Instance::new(&[]);
    let token = server.user("ada", "analyst").await;
    let mut rows = String::from("meter_id,timestamp,energy_consumption\n");
    for (meter, kwh, start, count) in [
        ("m1", 0.5, "2013-03-30T00:00:00Z", 48 * 3),
        ("m1", 0.5, "2013-10-26T00:00:00+01:00", 48 * 3),
        ("m2", 0.25, "2013-03-31T00:00:00Z", 46),
    ] {
        let start = Timestamp::parse(start).unwrap();
        for step in 0..count {
            let at = start.saturating_add_micros(step * 1_800_000_000);
            writeln!(rows, "{meter},{at},{kwh}").unwrap();
        }
    }
    let headers = [("authorization", &*token), ("content-type", "text/csv")];
    let answer = server.ask("POST /api/v1/data/batch", &headers, rows).await;
    assert_eq!(answer.json()["accepted"], 48 * 6 + 46);
    (server, token)
}

async fn usage(server: &Instance, token: &str, query: &str) -> Answer {
    let path = format!("GET /api/v1/analytics/usage?{query}");
    server.ask(&path, &[("authorization", token)], "").await
}

fn buckets(answer: &Answer) -> Vec<(String, String, Value, u64)> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let body = answer.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    body["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| {
            let count = bucket["count"].as_u64().unwrap();
            (
                text(&bucket["start"]),
                text(&bucket["end"]),
                bucket["energy_kwh"].clone(),
                count,
            )
        })
        .collect()
}

#[tokio::test]
async fn the_days_of_londons_shifts_have_46_and_50_half_hours() {
    let (server, token) = instance().await;
    for (start, end, count) in [
        (
            "2013-03-31T00:00:00+00:00",
            "2013-04-01T00:00:00+01:00",
            46_u32,
        ),
        ("2013-10-27T00:00:00+01:00", "2013-10-28T00:00:00+00:00", 50),
    ] {
        let query = format!("meter_id=m1&timezone=Europe/London&start={start}&end={end}");
        let answer = usage(&server, &token, &query).await;
        let kwh = json!(f64::from(count) / 2.0);
        let expected = (start.to_owned(), end.to_owned(), kwh, u64::from(count));
        assert_eq!(buckets(&answer), [expected]);
        let body = answer.json();
        assert_eq!(
            (&body["interval"], &body["timezone"]),
            (&json!("1d"), &json!("Europe/London"))
        );
        let bucket = &body["buckets"][0];
        let half = json!(0.5);
        assert_eq!(
            [&bucket["min"], &bucket["max"], &bucket["mean"]],
            [&half; 3]
        );
    }
}

#[tokio::test]
async fn a_gap_is_null_and_the_default_range_is_the_span_of_the_meters() {
    let (server, token) = instance().await;
    let months = usage(&server, &token, "meter_id=m1&interval=1mo").await;
    let found = buckets(&months);
    assert_eq!(found.len(), 8);
    // 30 and 31 March: 96; 1 April: 48. Then nothing until 25 October, 23:00 UTC: 144.
    let counts: Vec<u64> = found.iter().map(|bucket| bucket.3).collect();
    assert_eq!(counts, [96, 48, 0, 0, 0, 0, 0, 144]);
    assert_eq!(found[0].0, "2013-03-30T00:00:00Z");
    assert_eq!(
        (&*found[7].1, &found[2].2),
        ("2013-11-01T00:00:00Z", &Value::Null)
    );
    let gap = &months.json()["buckets"][2];
    assert_eq!([&gap["min"], &gap["max"], &gap["mean"]], [&Value::Null; 3]);
}

#[tokio::test]
async fn several_meters_are_summed_each_once() {
    let (server, token) = instance().await;
    let day = "start=2013-03-31T00:00:00Z&end=2013-03-31T23:00:00Z";
    for meters in [
        "meter_id=m1&meter_id=m2",
        "meter_id=m*",
        "meter_id=*&meter_id=m1",
    ] {
        let answer = usage(&server, &token, &format!("{meters}&{day}")).await;
        let found = buckets(&answer);
        assert_eq!(
            (&found[0].2, found[0].3),
            (&json!(46.0 * 0.75), 92),
            "{meters}"
        );
        let bucket = &answer.json()["buckets"][0];
        assert_eq!(
            [&bucket["min"], &bucket["max"], &bucket["mean"]],
            [0.25, 0.5, 0.375]
        );
    }
}

#[tokio::test]
async fn a_prefix_is_narrowed_to_the_scope_and_a_named_meter_outside_is_404() {
    let (server, token) = instance().await;
    let body =
        json!({"username": "eve", "password": PASSWORD, "role": "analyst", "meters": ["m2"]});
    assert_eq!(
        server.administer("POST /api/v1/users", &body).await.status,
        201
    );
    let eve = bearer(&server.log_in("eve", PASSWORD).await);
    let narrowed = buckets(&usage(&server, &eve, "meter_id=m*").await);
    assert_eq!(narrowed.iter().map(|bucket| bucket.3).sum::<u64>(), 46);
    for query in [
        "meter_id=m1",
        "meter_id=m2&meter_id=m1",
        "meter_id=x*",
        "meter_id=m3",
    ] {
        assert_eq!(
            usage(&server, &eve, query).await.code(),
            "not_found",
            "{query}"
        );
    }
    usage(&server, &token, "meter_id=m*").await;
    let ledger = server.app.store.ledger.range(0, 1000).await.unwrap();
    let event = &ledger.last().unwrap().1;
    assert_eq!(
        (&*event.action, event.subjects.len(), event.record_count),
        ("analyze", 2, 334)
    );
}

#[tokio::test]
async fn what_cannot_be_meant_or_is_too_much_is_400_and_says_which() {
    let (server, token) = instance().await;
    let wide = "start=1970-01-01T00:00:00Z&end=9999-12-31T00:00:00Z";
    for (query, name) in [
        ("", "meter_id"),
        ("meter_id=a*b", "meter_id"),
        ("meter_id=m1&interval=1w", "interval"),
        ("meter_id=m1&timezone=Nowhere", "timezone"),
        (
            "meter_id=m1&start=2013-01-02T00:00:00Z&end=2013-01-01T00:00:00Z",
            "end",
        ),
        ("meter_id=m1&start=yesterday", "start"),
        ("meter_id=m1&foo=1", "foo"),
        (&format!("meter_id=m1&interval=15m&{wide}"), "interval"),
        (&format!("meter_id=m1&interval=1d&{wide}"), "interval"),
        (&"&meter_id=m1".repeat(201), "meter_id"),
    ] {
        let answer = usage(&server, &token, query).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.code()),
            (400, "invalid_parameter"),
            "{query}"
        );
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("'{name}'")), "{detail}");
    }
    // The whole of time in months is within bounds.
    let months = usage(&server, &token, &format!("meter_id=m1&interval=1mo&{wide}")).await;
    assert_eq!(buckets(&months).len(), 8030 * 12);
}

#[tokio::test]
async fn meters_without_a_reading_have_no_buckets() {
    let (server, token) = instance().await;
    let headers = [
        ("authorization", &*token),
        ("content-type", "application/json"),
    ];
    assert_eq!(
        server
            .ask("PUT /api/v1/meters/empty", &headers, "{}")
            .await
            .status,
        201
    );
    assert_eq!(buckets(&usage(&server, &token, "meter_id=empty").await), []);
    let range = "start=2013-01-01T00:00:00Z&end=2013-01-02T00:00:00Z";
    let asked = buckets(&usage(&server, &token, &format!("meter_id=empty&{range}")).await);
    assert_eq!((asked.len(), &asked[0].2, asked[0].3), (1, &Value::Null, 0));
}
