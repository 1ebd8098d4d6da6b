//! `ems import`.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use ems_api::domain::Role;
use ems_testkit::{Ran, TestProcess};

use super::{Home, binary, text};

const HEAD: &str = "meter_id,timestamp,energy_consumption,power_factor,location\n";

/// A server, and a key to import with.
struct Place {
    home: Home,
    server: TestProcess,
    key: PathBuf,
}

impl Place {
    async fn new() -> Self {
        let home = Home::new();
        let server = home.serve();
        let key = home
            .key_file(&server.admin().await.unwrap(), Role::MeterReader)
            .await;
        Self { home, server, key }
    }

    fn args(&self, file: &Path) -> Vec<String> {
        let ca = self.home.dir().join("tls/ca.pem");
        let args = [
            "import",
            "--json",
            &text(file),
            "--url",
            self.server.url(),
            "--ca",
            &text(&ca),
        ];
        let args = args.iter().map(|arg| (*arg).to_owned());
        args.chain(["--key-file".to_owned(), text(&self.key)])
            .collect()
    }

    fn import(&self, file: &Path) -> Ran {
        binary().run(self.args(file))
    }
}

/// Accepted, unchanged, corrected, rejected.
fn counts(ran: &Ran) -> [u64; 4] {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let json = ran.json();
    ["accepted", "unchanged", "corrected", "rejected"].map(|name| json[name].as_u64().unwrap())
}

/// A row for each minute, beginning with the first of 2013.
fn row(meter: &str, minute: u64, kwh: &str) -> String {
    let (day, hour, minute) = (1 + minute / 1440, minute / 60 % 24, minute % 60);
    format!("{meter},2013-01-{day:02}T{hour:02}:{minute:02}:00Z,{kwh},0.9,\"Hall, 2\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rejected_row_lands_in_the_file_with_every_reason() {
    let place = Place::new().await;
    let file = place.home.path("readings.csv");
    // Of 1,200 rows every fourth breaks two rules: 300 rows, 600 rules, six answers' worth.
    let mut csv = HEAD.to_owned();
    for minute in 0..1200 {
        let bad = minute % 4 == 3;
        csv.push_str(
            &row("m-1", minute, if bad { "-1" } else { "0.5" })
                .replace("0.9", if bad { "7" } else { "0.9" }),
        );
    }
    csv.push_str("m-1,2013-02-01T00:00:00Z,1,\"a\"b,\n\nm-1,2013-02-01T00:00:00Z,2,,\n");
    fs::write(&file, csv).unwrap();
    let ran = place.import(&file);
    assert_eq!(counts(&ran), [901, 0, 0, 302]);
    let rejected = PathBuf::from(ran.json()["rejected_file"].as_str().unwrap());
    assert_eq!(rejected, place.home.path("readings.csv.rejected.csv"));
    let mut reader = csv::Reader::from_path(&rejected).unwrap();
    let rows: Vec<[String; 3]> = reader.deserialize().map(Result::unwrap).collect();
    let lines: Vec<u64> = rows
        .iter()
        .map(|[line, ..]| line.parse().unwrap())
        .collect();
    let expected: Vec<u64> = (0..300)
        .map(|bad| 2 + 4 * bad + 3)
        .chain([1202, 1203])
        .collect();
    assert_eq!(lines, expected);
    for [_, reasons, row] in rows.iter().take(300) {
        assert!(
            reasons.contains("energy_consumption out_of_range: "),
            "{reasons}"
        );
        assert!(reasons.contains("power_factor out_of_range: "), "{reasons}");
        assert!(row.ends_with(",-1,7,\"Hall, 2\""), "{row}");
    }
    assert!(rows[300][1].starts_with("malformed: "), "{}", rows[300][1]);
    assert!(!place.home.path("readings.csv.ems-resume").exists());

    let again = place.import(&file);
    assert_eq!(counts(&again), [0, 901, 0, 302]);
    let corrected = row("m-1", 0, "0.75");
    fs::write(&file, format!("{HEAD}{corrected}")).unwrap();
    assert_eq!(counts(&place.import(&file)), [0, 0, 1, 0]);
    assert!(
        !rejected.exists(),
        "a list of an earlier import is not left to mislead"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn takes_ndjson_from_stdin_and_zstd_and_a_key_from_the_environment() {
    let place = Place::new().await;
    let mut ndjson = String::new();
    for minute in 0..5 {
        let _ = writeln!(
            ndjson,
            "{{\"meter_id\":\"m-2\",\"timestamp\":\"2013-01-01T00:0{minute}:00+01:00\",\"energy_consumption\":0.1}}"
        );
    }
    let packed = zstd::encode_all(ndjson.as_bytes(), 1).unwrap();
    let mut command = binary().command(["import", "--json", "-", "--dir"]);
    command
        .arg(place.home.dir())
        .env("EMS_URL", place.server.url());
    command.env("EMS_API_KEY", fs::read_to_string(&place.key).unwrap());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&packed).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["accepted"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_goes_on_where_it_stopped() {
    let place = Place::new().await;
    let file = place.home.path("long.csv");
    let mut csv = HEAD.to_owned();
    for minute in 0..40_000 {
        csv.push_str(&row("m-3", minute, "0.5"));
    }
    csv.push_str("m-3,never,1,,\n");
    fs::write(&file, &csv).unwrap();
    let resume = place.home.path("long.csv.ems-resume");
    let mut child = binary()
        .command(place.args(&file))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !resume.exists() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was killed"
        );
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = place.import(&file);
    assert!(ran.stderr.contains("going on at line "), "{}", ran.stderr);
    let [accepted, unchanged, corrected, rejected] = counts(&ran);
    // What was acknowledged and not yet noted is sent again, and unchanged.
    assert_eq!((accepted + unchanged, corrected, rejected), (40_000, 0, 1));
    assert!(
        ran.json()["rows"].as_u64().unwrap() <= 30_001,
        "{}",
        ran.stdout
    );
    assert!(!resume.exists());

    // A state that does not fit the file is not believed.
    fs::write(&resume, "{\"server\": 1").unwrap();
    assert_eq!(counts(&place.import(&file)), [0, 40_000, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_is_missing_and_fails_where_nobody_answers() {
    let place = Place::new().await;
    let file = place.home.path("one.csv");
    fs::write(&file, format!("{HEAD}{}", row("m-4", 0, "1"))).unwrap();
    let without_key = place.home.run("import", &[&text(&file)]);
    assert_eq!(without_key.code, 64);
    assert!(
        without_key.stderr.contains("--key-file"),
        "{}",
        without_key.stderr
    );
    let mut args = place.args(&file);
    // Nobody listens on the discard port.
    args.iter_mut()
        .filter(|arg| arg.starts_with("https"))
        .for_each(|url| "https://127.0.0.1:9".clone_into(url));
    let nobody = binary().run(&args);
    assert_eq!(
        (nobody.code, nobody.stderr.lines().count()),
        (1, 1),
        "{}",
        nobody.stderr
    );
    let mut args = place.args(&file);
    let other = Home::new();
    let untrusted = text(&other.dir().join("tls/ca.pem"));
    let at = args.iter().position(|arg| arg == "--ca").unwrap();
    args[at + 1] = untrusted;
    assert_eq!(
        binary().run(&args).code,
        1,
        "the authority of another instance"
    );
    let mut args = place.args(&file);
    args.extend(["--format".to_owned(), "xml".to_owned()]);
    assert_eq!(binary().run(&args).code, 64);
    fs::write(&file, "meter,when\na,b\n").unwrap();
    let header = place.import(&file);
    assert_eq!(header.code, 1);
    assert!(header.stderr.contains("no such field"), "{}", header.stderr);
}
