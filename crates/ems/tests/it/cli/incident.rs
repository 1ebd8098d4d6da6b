//! `ems incident report`, with and without a server.

use std::fs;

use ems_api::domain::Role;
use ems_testkit::Signal;

use super::{Home, mode, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_the_same_with_and_without_a_server_in_every_form() {
    let home = Home::new();
    let server = home.serve();
    let admin = server.admin().await.unwrap();
    let file = home.key_file(&admin, Role::Viewer).await;
    let secret = fs::read_to_string(&file).unwrap();
    let name = format!("key:{}", secret.split('_').nth(1).unwrap());
    let key = server.client().unwrap().with_api_key(secret.trim());
    assert_eq!(
        key.meter("not-there").await.unwrap_err().status(),
        Some(404)
    );
    assert_eq!(key.keyring().await.unwrap_err().status(), Some(403));
    let ask = |more: &[&str]| {
        let about = [
            "--principal",
            &name,
            "--since",
            "2020-01-01T00:00:00Z",
            "--detected",
            "2026-01-31T12:00:00Z",
        ];
        let ran = home.run("incident report", &[&about, more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran
    };
    let online = ask(&["--json"]).json();
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
    let offline = ask(&["--format", "json"]).json();
    for told in [&online, &offline] {
        assert_eq!(told["effect"]["only_attempted"], true);
        assert_eq!(told["about"]["principal"], name.as_str());
        assert_eq!(told["deadlines"]["notification"], "2026-02-03T12:00:00Z");
        assert_eq!(told["deadlines"]["final_report"], "2026-03-03T12:00:00Z");
        assert_eq!(told["to_fill"]["contact"], serde_json::Value::Null);
    }
    assert_eq!(online["refused"], offline["refused"]);
    assert_eq!(offline["refused"].as_array().unwrap().len(), 3);

    let plain = ask(&[]).stdout;
    for line in [
        "only attempted    yes",
        "GET /api/v1/keyring",
        "measures             [TO BE FILLED IN]",
    ] {
        assert!(plain.contains(line), "{line}\n{plain}");
    }
    let place = home.path("report.md");
    let written = text(&place);
    assert_eq!(ask(&["--format", "md", "--out", &written]).stdout, "");
    assert_eq!(mode(&place), 0o600);
    let page = fs::read_to_string(&place).unwrap();
    assert!(
        page.contains("| request | GET /api/v1/meters/\\{meter\\_id\\} | 404 | 1 |"),
        "{page}"
    );
    // What is there is not written over.
    let again = home.run(
        "incident report",
        &[
            "--address",
            "192.0.2.1",
            "--since",
            "2020-01-01T00:00:00Z",
            "--out",
            &written,
        ],
    );
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert_eq!(fs::read_to_string(&place).unwrap(), page);
    let neither = home.run("incident report", &["--since", "2020-01-01T00:00:00Z"]);
    assert_eq!(neither.code, 64, "{}", neither.stderr);
}
