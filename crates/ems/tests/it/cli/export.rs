//! `ems export`.

use std::fs;

use ems_api::{
    client::{Body, Coding, Format},
    domain::Role,
};

use super::{Home, text};

const RANGE: [&str; 4] = [
    "--start",
    "2013-01-01T00:00:00Z",
    "--end",
    "2014-01-01T00:00:00Z",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_went_in_comes_out_as_csv_and_ndjson() {
    let home = Home::new();
    let server = home.serve();
    let admin = server.admin().await.unwrap();
    let csv = "meter_id,timestamp,energy_consumption,power_factor,location\n\
               m-1,2013-01-01T01:00:00+01:00,0.1,0.97,\"Hall, 2\"\n\
               m-1,2013-06-01T00:00:00.25Z,1e-7,,\n\
               m-1,2014-01-01T00:00:00Z,1,,\n";
    let body = Body {
        format: Format::Csv,
        coding: Coding::Identity,
        bytes: csv.into(),
    };
    assert_eq!(admin.batch(body).await.unwrap().accepted, 3);
    let key = text(&home.key_file(&admin, Role::Viewer).await);
    let mut args = vec!["m-1", "--key-file", &key, "--url", server.url()];
    args.extend(RANGE);
    let ran = home.run("export", &args);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows: Vec<String> = csv::Reader::from_reader(ran.stdout.as_bytes())
        .records()
        .map(|row| row.unwrap().iter().collect::<Vec<_>>().join("|"))
        .collect();
    assert_eq!(rows[0], "m-1|2013-01-01T00:00:00Z|0.1|0.97|Hall, 2");
    assert!(
        rows[1].starts_with("m-1|2013-06-01T00:00:00.25Z|"),
        "{}",
        rows[1]
    );
    assert_eq!(rows[1].split('|').nth(2).unwrap().parse(), Ok(1e-7));
    assert_eq!(rows.len(), 2, "the end is not part of the range");

    let ran = home.run("export --json", &args);
    let first: serde_json::Value =
        serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(
        (ran.stdout.lines().count(), &first["energy_consumption"]),
        (2, &0.1.into())
    );

    let file = home.path("out.csv");
    let out = text(&file);
    args.extend(["--output", &out]);
    assert_eq!(home.run("export", &args).code, 0);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 3);
    assert!(!home.path("out.csv.part").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meter_that_is_not_there_and_a_range_that_is_none_fail() {
    let home = Home::new();
    let server = home.serve();
    let key = text(
        &home
            .key_file(&server.admin().await.unwrap(), Role::Viewer)
            .await,
    );
    let url = server.url();
    let mut args = vec!["nothing", "--key-file", &key, "--url", url];
    args.extend(RANGE);
    let ran = home.run("export", &args);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("404 not_found"), "{}", ran.stderr);
    let reversed = [
        "m",
        "--key-file",
        &key,
        "--url",
        url,
        "--start",
        RANGE[3],
        "--end",
        RANGE[1],
    ];
    let ran = home.run("export", &reversed);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("400 invalid_parameter"),
        "{}",
        ran.stderr
    );
}
