//! Readings that are sent again under their key.

use super::{Api, JSON, NDJSON};

const A: &str = r#"{"meter_id":"a","timestamp":"2024-01-01T00:00:00Z","energy_consumption":1}"#;
const B: &str = r#"{"meter_id":"a","timestamp":"2024-01-01T00:00:00Z","energy_consumption":2}"#;
const KEY: (&str, &str) = ("idempotency-key", "7c4a8d09-ca37");

#[tokio::test]
async fn one_reading_sent_again_is_answered_as_the_first_time() {
    let api = Api::new(&[]).await;
    let first = api.ask("POST /api/v1/data", &[JSON, KEY], A).await;
    assert_eq!(
        (first.status.as_u16(), first.json()["accepted"].as_u64()),
        (201, Some(1))
    );
    // Another's value in between changes nothing of the answer, and is not undone.
    assert_eq!(
        api.ask("POST /api/v1/data", &[JSON], B).await.json()["corrected"],
        1
    );
    let ledger = api.ledger().await.len();
    let again = api.ask("POST /api/v1/data", &[JSON, KEY], A).await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    assert_eq!(api.ledger().await.len(), ledger, "nothing was done");
    let other = api.ask("POST /api/v1/data", &[JSON, KEY], B).await;
    assert_eq!(
        (other.status.as_u16(), other.code().as_str()),
        (409, "conflict")
    );
    let page = api.get("/api/v1/data/a").await.json();
    assert_eq!(page["readings"][0]["energy_consumption"], 2.0);
}

#[tokio::test]
async fn a_batch_sent_again_names_the_same_rows() {
    let api = Api::new(&[]).await;
    let rows = format!("{A}\nnot a row\n");
    let send = async |headers: &[(&str, &str)], path: &str, rows: &str| {
        api.ask(
            &format!("POST /api/v1/data/batch{path}"),
            headers,
            rows.to_owned(),
        )
        .await
    };
    let first = send(&[NDJSON, KEY], "", &rows).await;
    assert_eq!(
        (
            first.json()["accepted"].as_u64(),
            first.json()["rejected"].as_u64()
        ),
        (Some(1), Some(1))
    );
    assert_eq!(first.json()["errors"][0]["index"], 1);
    let again = send(&[NDJSON, KEY], "", &rows).await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    for (headers, path, rows) in [
        (&[NDJSON, KEY], "", A),
        (&[NDJSON, KEY], "?atomic=true", rows.as_str()),
    ] {
        let other = send(headers, path, rows).await;
        assert_eq!(other.code(), "conflict", "{headers:?} {path}");
    }
    let single = api.ask("POST /api/v1/data", &[JSON, KEY], A).await;
    assert_eq!(single.code(), "conflict", "another route");
    // One of which nothing was stored is remembered too.
    let none = ("idempotency-key", "none");
    let first = send(&[NDJSON, none], "", "{}\n").await;
    assert_eq!(first.json()["rejected"], 1);
    assert_eq!(send(&[NDJSON, none], "", A).await.code(), "conflict");
}

#[tokio::test]
async fn a_key_is_one_callers_and_has_a_form() {
    let api = Api::new(&[]).await;
    let reader = api.bound_to("meter", "meter_reader", &["a"]).await;
    assert_eq!(
        api.ask("POST /api/v1/data", &[JSON, KEY], A).await.status,
        201
    );
    let others = api
        .ask_as(&reader, "POST /api/v1/data", &[JSON, KEY], B)
        .await;
    assert_eq!(others.json()["corrected"], 1, "it is the reader's own");
    let long = "k".repeat(256);
    for bad in ["", "a b", "k\u{e9}", long.as_str()] {
        let answer = api
            .ask("POST /api/v1/data", &[JSON, ("idempotency-key", bad)], A)
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (400, "invalid_parameter"),
            "{bad}"
        );
    }
    let twice = [NDJSON, KEY, ("idempotency-key", "other")];
    assert_eq!(
        api.ask("POST /api/v1/data/batch", &twice, A).await.status,
        400
    );
}
