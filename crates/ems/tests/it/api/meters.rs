//! Meters: described, listed, removed.

use ems_testkit::TestServer;
use serde_json::{Value, json};

#[tokio::test]
async fn a_meter_tells_what_was_said_of_it_and_what_its_readings_span() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let said = json!({ "location": "Hall 7", "timezone": "Europe/London", "site": "Plant 7" });
    let made = caller.put("/api/v1/meters/m1", &said).await;
    assert_eq!((made.status, &made.json()["readings"]), (201, &json!(0)));
    let rows = json!([
        { "meter_id": "m1", "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 1 },
        { "meter_id": "m1", "timestamp": "2021-06-01T00:00:00+02:00", "energy_consumption": 1 },
    ]);
    assert_eq!(caller.post("/api/v1/data/batch", &rows).await.status, 200);
    let expected = json!({
        "meter_id": "m1", "location": "Hall 7", "timezone": "Europe/London", "site": "Plant 7",
        "first_reading": "2020-01-01T00:00:00Z", "last_reading": "2021-05-31T22:00:00Z",
        "readings": 2,
    });
    assert_eq!(caller.get("/api/v1/meters/m1").await.json(), expected);
    // What is not said again is gone.
    let again = caller
        .put("/api/v1/meters/m1", &json!({ "site": "Plant 8" }))
        .await;
    assert_eq!((again.status, again.json().get("location")), (200, None));
    let refused = caller
        .put(
            "/api/v1/meters/m1",
            &json!({ "timezone": "Mars/Base", "x": 1 }),
        )
        .await;
    assert_eq!(refused.status, 422);
    let mut faults = refused.faults();
    faults.sort();
    assert_eq!(
        faults,
        [
            (None, "/timezone".into(), "invalid_format".into()),
            (None, "/x".into(), "unknown_field".into()),
        ]
    );
}

#[tokio::test]
async fn meters_are_listed_by_id_page_by_page() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let names: Vec<String> = (0..25)
        .map(|index| format!("a{index:02}"))
        .chain(["b".into()])
        .collect();
    for name in names.iter().rev() {
        assert_eq!(
            caller
                .put(&format!("/api/v1/meters/{name}"), &json!({}))
                .await
                .status,
            201
        );
    }
    let (mut found, mut path) = (Vec::new(), "/api/v1/meters?prefix=a&limit=10".to_owned());
    loop {
        let page = caller.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        found.extend(
            items
                .iter()
                .map(|meter| meter["meter_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/meters?prefix=a&limit=10&cursor={next}");
    }
    assert_eq!(found, names[..25]);
}

#[tokio::test]
async fn a_removed_meter_is_gone_with_its_readings() {
    let server = TestServer::start().await;
    let caller = server.admin().await;
    let row =
        json!({ "meter_id": "m1", "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 1 });
    caller.post("/api/v1/data", &row).await;
    assert_eq!(caller.delete("/api/v1/meters/m1").await.status, 204);
    for path in ["/api/v1/meters/m1", "/api/v1/data/m1"] {
        assert_eq!(caller.get(path).await.verdict(), (404, "not_found".into()));
    }
    assert_eq!(caller.delete("/api/v1/meters/m1").await.status, 404);
    // The same id again is a new meter.
    let stored = caller.post("/api/v1/data", &row).await.json();
    assert_eq!(stored["accepted"], json!(1));
    let readings = caller.get("/api/v1/data/m1").await.json()["readings"].clone();
    assert_eq!(readings.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_server_set_to_registered_meters_takes_no_other() {
    let server = TestServer::builder()
        .set("readings.auto_register", "false")
        .start()
        .await;
    let caller = server.admin().await;
    assert_eq!(
        caller.put("/api/v1/meters/known", &json!({})).await.status,
        201
    );
    let row = |meter: &str| -> Value {
        json!({ "meter_id": meter, "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": 1 })
    };
    let refused = caller.post("/api/v1/data", &row("unknown")).await;
    assert_eq!(refused.verdict(), (403, "out_of_scope".into()));
    let answer = caller
        .post("/api/v1/data/batch", &json!([row("unknown"), row("known")]))
        .await;
    assert_eq!(answer.json()["accepted"], json!(1));
    assert_eq!(
        answer.faults(),
        [(Some(0), "/meter_id".into(), "out_of_scope".into())]
    );
}
