//! What `deploy/prometheus` and `deploy/grafana` ship, held by Prometheus' own tools against a real
//! server's page.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use ems_core::role::Role;
use ems_testkit::TestServer;
use serde_json::{Value, json};

/// Figures whose labels come from the settings: on the page of a server that names a channel or a
/// receiver. The tests of those look at them.
const ONCE_CONFIGURED: &[&str] = &[
    "ems_alerts_total",
    "ems_ship_lines_total",
    "ems_ship_behind_bytes",
];

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy")
        .join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(shipped(name)).unwrap()
}

/// Runs promtool in the directory of the rules.
fn promtool(args: &[&str], input: &str) {
    let mut tool = Command::new("promtool");
    tool.args(args).current_dir(shipped("prometheus"));
    tool.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = tool.spawn();
    let missing = "promtool is missing: install Debian's package prometheus";
    assert!(child.is_ok(), "{missing}");
    let mut child = child.unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let ran = child.wait_with_output().unwrap();
    let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(ran.status.success(), "promtool {args:?}: {}", said.concat());
}

/// Words of a text that begin with `ems_`.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("ems_")).collect()
}

/// The expressions of the dashboard's panels, with the dashboard's variables filled in.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("grafana/ems.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut exprs = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{panel}");
            let expr = target["expr"].as_str().unwrap();
            exprs.push(
                expr.replace("$__rate_interval", "5m")
                    .replace("$instance", ".*"),
            );
        }
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let of_type = |kind: &str| variables.iter().any(|variable| variable["type"] == kind);
    assert!(of_type("datasource") && exprs.len() > 20);
    exprs
}

/// The page of a server that has answered something.
async fn page(server: &TestServer) -> String {
    assert_eq!(
        server
            .user(Role::Analyst)
            .await
            .get("/api/v1/meters")
            .await
            .status,
        200
    );
    let url = server.metrics_url().unwrap();
    let answer = server.client().get(url).send().await.unwrap();
    answer.text().await.unwrap()
}

/// The page in the older text form, which is the one that promtool reads.
fn in_text_form(page: &str) -> String {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let (Some("#"), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
            return (!line.starts_with('#')).then(|| line.to_owned());
        };
        let rest: Vec<&str> = words.collect();
        let is = |of: &str| page.contains(&format!("# TYPE {name} {of}\n"));
        let name = match (is("counter"), is("info")) {
            (true, _) => format!("{name}_total"),
            (_, true) => format!("{name}_info"),
            _ => name.to_owned(),
        };
        let rest = rest.join(" ").replace("info", "gauge");
        (kind != "UNIT").then(|| format!("# {kind} {name} {rest}"))
    };
    let lines: Vec<String> = page.lines().filter_map(line).collect();
    lines.join("\n") + "\n"
}

#[test]
fn each_alert_fires_where_it_is_meant_to_and_is_silent_else() {
    promtool(&["check", "rules", "ems.rules.yml"], "");
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["test", "rules", "ems.rules.test.yml"], "");
    let (rules, tests) = (
        read("prometheus/ems.rules.yml"),
        read("prometheus/ems.rules.test.yml"),
    );
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        for state in ["silent", "firing"] {
            assert!(
                tests.contains(&format!("- name: {alert}, {state}\n")),
                "{alert} {state}"
            );
        }
    }
}

#[test]
fn every_panel_is_a_query_that_prometheus_understands() {
    let rules: Vec<Value> = (0..)
        .zip(panels())
        .map(|(number, expr)| json!({ "record": format!("panel:{number}"), "expr": expr }))
        .collect();
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("panels.yml");
    // JSON is YAML.
    fs::write(
        &file,
        json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string(),
    )
    .unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()], "");
}

#[tokio::test]
async fn every_metric_of_a_rule_or_a_panel_is_on_a_servers_page() {
    let server = TestServer::start().await;
    let page = page(&server).await;
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    let counted: BTreeSet<&str> = samples
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let (rules, panels) = (read("prometheus/ems.rules.yml"), panels().join("\n"));
    let used: BTreeSet<&str> = names(&rules).into_iter().chain(names(&panels)).collect();
    let missing: Vec<&&str> = used
        .iter()
        .filter(|name| !counted.contains(**name) && !ONCE_CONFIGURED.contains(name))
        .collect();
    assert!(
        missing.is_empty() && used.len() > 8,
        "{missing:?} of {used:?}"
    );
}

#[tokio::test]
async fn a_servers_page_has_nothing_that_prometheus_would_complain_of() {
    let server = TestServer::start().await;
    let page = page(&server).await;
    let text = in_text_form(&page);
    assert!(
        text.contains("# TYPE ems_http_requests_total counter\n"),
        "{text}"
    );
    promtool(&["check", "metrics"], &text);
}
