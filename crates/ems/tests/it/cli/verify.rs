//! `ems verify`.

use std::{fmt::Write as _, fs};

use ems_api::client::{Body, Coding, Format};
use ems_testkit::{Signal, files};

use serde_json::Value;

use super::Home;

/// What was read, without how long it took.
fn counts(report: &Value) -> Value {
    let mut report = report.clone();
    let fields = report.as_object_mut().unwrap();
    fields.retain(|name, _| !name.contains("second"));
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn is_clean_after_a_drain_and_names_what_was_damaged() {
    let home = Home::new();
    let server = home.serve();
    let mut csv = "meter_id,timestamp,energy_consumption\n".to_owned();
    for day in 1..=28 {
        let _ = writeln!(csv, "m-1,2013-02-{day:02}T00:00:00Z,{day}");
    }
    let body = Body {
        format: Format::Csv,
        coding: Coding::Identity,
        bytes: csv.into(),
    };
    server.admin().await.unwrap().batch(body).await.unwrap();
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
    let clean = home.run("verify --json", &[]);
    assert_eq!(clean.code, 0, "{}", clean.stderr);
    assert_eq!(
        (&clean.json()["clean"], &clean.json()["readings"]),
        (&true.into(), &28.into())
    );
    assert!(clean.json()["ledger_entries"].as_u64().unwrap() > 2);

    // A flipped byte is named, or lies where nothing is kept: it never costs a reading unnoticed.
    let mut named = 0;
    for (path, content) in files(&home.dir().join("data")).unwrap() {
        let written: Vec<usize> = (0..content.len()).filter(|at| content[*at] != 0).collect();
        for at in written.iter().step_by((written.len() / 16).max(1)) {
            let mut damaged = content.clone();
            damaged[*at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let ran = home.run("verify --json", &[]);
            let place = format!("{} at {at}: {}{}", path.display(), ran.stdout, ran.stderr);
            if ran.code == 0 {
                assert_eq!(counts(&ran.json()), counts(&clean.json()), "{place}");
            } else {
                assert_eq!(ran.code, 1, "{place}");
                assert!(!ran.stderr.trim().is_empty(), "{place}");
                named += 1;
            }
        }
        fs::write(&path, &content).unwrap();
    }
    assert!(named >= 3, "{named}");
    assert_eq!(home.run("verify", &[]).code, 0, "as it was again");
}
