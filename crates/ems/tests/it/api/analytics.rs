//! Usage over a calendar that has days of 23 and of 25 hours.

use ems_testkit::{Caller, TestServer};
use serde_json::{Value, json};

/// A reading of 0.5 kWh every half-hour, from an instant of UTC on (hours since a day's midnight).
fn half_hours(meter: &str, day: &str, from: usize, count: usize) -> Vec<Value> {
    (from..from + count)
        .map(|half| {
            let at = format!("{day}T{:02}:{:02}:00Z", half / 2, half % 2 * 30);
            json!({ "meter_id": meter, "timestamp": at, "energy_consumption": 0.5 })
        })
        .collect()
}

async fn stored(caller: &Caller, rows: &[Value]) {
    let answer = caller.post("/api/v1/data/batch", &json!(rows)).await;
    assert_eq!(
        answer.json()["accepted"],
        json!(rows.len()),
        "{}",
        answer.text()
    );
}

async fn usage(caller: &Caller, query: &str) -> Vec<Value> {
    let answer = caller
        .get(&format!("/api/v1/analytics/usage?{query}"))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["buckets"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_days_that_summer_time_begins_and_ends_have_46_and_50_half_hours() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    // London, 2013: on March 31 at 01:00 UTC the clock goes to 02:00; on October 27 it goes back.
    for (days, expected, start, end) in [
        (
            ["2013-03-30", "2013-03-31"],
            46,
            "2013-03-31T00:00:00+00:00",
            "2013-04-01T00:00:00+01:00",
        ),
        (
            ["2013-10-26", "2013-10-27"],
            50,
            "2013-10-27T00:00:00+01:00",
            "2013-10-28T00:00:00+00:00",
        ),
    ] {
        for day in days {
            stored(&caller, &half_hours("m1", day, 0, 48)).await;
        }
        let query = format!(
            "meter_id=m1&timezone=Europe/London&interval=1d&start={}&end={}",
            start.replace('+', "%2B"),
            end.replace('+', "%2B"),
        );
        let buckets = usage(&caller, &query).await;
        assert_eq!(buckets.len(), 1);
        assert_eq!(buckets[0]["count"], expected);
        let kwh = f64::from(expected) * 0.5;
        assert_eq!(buckets[0]["energy_kwh"], json!(kwh));
        let ends = [&buckets[0]["start"], &buckets[0]["end"]].map(|at| at.as_str().unwrap());
        // UTC itself may be written as Z.
        assert_eq!(ends.map(|at| at.replace('Z', "+00:00")), [start, end]);
    }
}

#[tokio::test]
async fn a_gap_is_null_and_never_zero() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    stored(&caller, &half_hours("m1", "2020-01-01", 0, 2)).await;
    stored(&caller, &half_hours("m1", "2020-01-01", 4, 1)).await;
    let range = "start=2020-01-01T00:00:00Z&end=2020-01-01T03:00:00Z";
    let buckets = usage(&caller, &format!("meter_id=m1&interval=1h&{range}")).await;
    let found: Vec<_> = buckets
        .iter()
        .map(|b| (&b["energy_kwh"], &b["count"], &b["mean"]))
        .collect();
    assert_eq!(
        found,
        [
            (&json!(1.0), &json!(2), &json!(0.5)),
            (&Value::Null, &json!(0), &Value::Null),
            (&json!(0.5), &json!(1), &json!(0.5)),
        ]
    );
}

#[tokio::test]
async fn the_first_and_last_bucket_are_cut_to_the_range() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    stored(&caller, &half_hours("m1", "2020-01-31", 0, 48)).await;
    stored(&caller, &half_hours("m1", "2020-02-01", 0, 48)).await;
    let range = "start=2020-01-31T22:30:00Z&end=2020-02-01T01:00:00Z";
    let buckets = usage(&caller, &format!("meter_id=m1&interval=1mo&{range}")).await;
    // 22:30, 23:00 and 23:30; then 00:00 and 00:30.
    let counts: Vec<_> = buckets
        .iter()
        .map(|bucket| bucket["count"].clone())
        .collect();
    assert_eq!(counts, [json!(3), json!(2)]);
    assert_eq!(buckets[0]["end"], buckets[1]["start"]);
}

#[tokio::test]
async fn several_meters_are_summed_and_a_prefix_means_those_in_scope() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    for (meter, count) in [("p1-a", 4), ("p1-b", 4), ("p2-a", 4)] {
        stored(&caller, &half_hours(meter, "2020-01-01", 0, count)).await;
    }
    let sum =
        async |caller: &Caller, meters: &str| usage(caller, meters).await[0]["energy_kwh"].clone();
    assert_eq!(
        sum(&caller, "meter_id=p1-a&meter_id=p2-a").await,
        json!(4.0)
    );
    assert_eq!(sum(&caller, "meter_id=p1-*").await, json!(4.0));
    assert_eq!(sum(&caller, "meter_id=*&meter_id=p1-a").await, json!(6.0));
    let key = server
        .key_for(ems_core::role::Role::Analyst, &["p1-a"])
        .await;
    let narrow = server.nobody().api_key(&key);
    assert_eq!(sum(&narrow, "meter_id=*").await, json!(2.0));
    let outside = narrow
        .get("/api/v1/analytics/usage?meter_id=p1-a&meter_id=p1-b")
        .await;
    assert_eq!(outside.status, 404);
}
