//! A server on a store with a damaged block: that window is 503, the rest is served, loudly.

use std::{fmt::Write as _, fs, path::Path};

use ems_api::client::{Body, Coding, Format};
use ems_testkit::{ADMIN, Signal};
use serde_json::json;

use crate::cli::Home;

/// Readings that do not compress, so that their segment fills most of the file.
fn rows(meter: &str, month: u32, count: u32) -> String {
    let mut csv = String::new();
    let mut seed = 7_u64;
    for row in 0..count {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let kwh = f64::from(u32::try_from(seed >> 33).unwrap()) / 1e6;
        let (day, hour, minute) = (1 + row / 1440, row / 60 % 24, row % 60);
        let _ = writeln!(
            csv,
            "{meter},2020-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z,{kwh}"
        );
    }
    csv
}

/// Flips a bit here and there until `verify` names one segment and nothing else.
fn damage_a_segment(home: &Home, file: &Path) {
    let content = fs::read(file).unwrap();
    let hit = (0..content.len()).step_by(40_009).any(|at| {
        let mut damaged = content.clone();
        damaged[at] ^= u8::from(content[at] != 0);
        fs::write(file, damaged).unwrap();
        let found = home.run("verify --json", &[]).json();
        let faults = found["faults"].as_array().cloned().unwrap_or_default();
        faults.len() == 1 && faults[0].as_str().unwrap().contains("segment")
    });
    assert!(hit, "no byte of a segment was flipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_damaged_window_is_503_and_all_else_is_served() {
    let home = Home::new();
    let server = home.serve();
    let csv = format!(
        "meter_id,timestamp,energy_consumption\n{}{}{}",
        rows("m-1", 1, 30_000),
        rows("m-1", 2, 300),
        rows("m-2", 1, 300)
    );
    let body = Body {
        format: Format::Csv,
        coding: Coding::Identity,
        bytes: csv.into(),
    };
    server.admin().await.unwrap().batch(body).await.unwrap();
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
    damage_a_segment(&home, &home.dir().join("data/engine.redb"));

    let server = home.serve();
    let client = server.client().unwrap();
    let token = client.login(ADMIN.0, ADMIN.1).await.unwrap().access_token;
    let caller = server.nobody().unwrap().bearer(token.expose());
    let january = caller
        .get("/api/v1/data/m-1?end=2020-02-01T00:00:00Z&limit=10")
        .await;
    assert_eq!(january.verdict(), (503, "unavailable".into()));
    assert_eq!(january.header("retry-after"), "5");
    assert!(!january.text().contains("segment"), "{}", january.text());
    for path in ["m-1?start=2020-02-01T00:00:00Z&limit=500", "m-2?limit=500"] {
        let page = caller.get(&format!("/api/v1/data/{path}")).await.json();
        assert_eq!(page["readings"].as_array().unwrap().len(), 300, "{path}");
    }
    let put = async |meter: &str, at: &str| {
        let row = json!({ "meter_id": meter, "timestamp": at, "energy_consumption": 1 });
        caller.post("/api/v1/data", &row).await.status
    };
    assert_eq!(put("m-2", "2020-01-01T00:00:30Z").await, 201);
    assert_eq!(put("m-1", "2021-01-01T00:00:00Z").await, 201);
    assert_eq!(put("m-1", "2020-01-05T00:00:30Z").await, 503);
    let stopped = server.stop(Signal::TERM).unwrap();
    assert_eq!(stopped, 0, "it folds, and ends well");

    let log = fs::read_to_string(home.dir().join("log/security.log")).unwrap();
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("\"damaged_data\""))
        .collect();
    assert!(!told.is_empty(), "{log}");
    assert!(told.iter().all(|line| line.contains("segment")), "{told:?}");
    let ran = home.run("verify --json", &[]);
    assert_eq!(
        (ran.code, ran.json()["faults"].as_array().unwrap().len()),
        (1, 1)
    );
    assert_eq!(ran.json()["readings"], 30_602);
}
