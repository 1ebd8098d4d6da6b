//! Alerts, to receivers that are there, fail, lie, or are where they must not be.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use ems_crypto::hash::Signer;
use ems_testkit::{
    ADMIN, TestServer,
    receiver::{Answered, HttpReceiver, Identity, MailServer, Received, SyslogReceiver},
    secret_file,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{Home, binary};

const SECRET: &str = "a secret of the receiver's";

/// A directory with a receiver's certificate and the secrets of channels.
struct Desk {
    dir: TempDir,
    identity: Identity,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let identity = Identity::new(dir.path()).unwrap();
        secret_file(&dir.path().join("secret"), SECRET).unwrap();
        secret_file(&dir.path().join("password"), "correct horse").unwrap();
        Self { dir, identity }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn http(&self, at: Option<SocketAddr>) -> HttpReceiver {
        HttpReceiver::start(&self.identity, at, |_| None)
            .await
            .unwrap()
    }

    /// A webhook as a channel of the settings.
    fn webhook(&self, name: &str, to: SocketAddr, allow_private: bool) -> String {
        format!(
            "{{ name = \"{name}\", kind = \"webhook\", url = \"https://localhost:{}/hook?k=1\", \
             secret_file = \"{}\", ca_file = \"{}\", allow_private = {allow_private} }}",
            to.port(),
            self.path("secret").display(),
            self.identity.ca().display()
        )
    }

    fn mail(&self, to: SocketAddr) -> String {
        format!(
            "{{ name = \"mail\", kind = \"email\", server = \"smtp://localhost:{}\", \
             user = \"ems\", password_file = \"{}\", from = \"EMS <ems@example.org>\", \
             to = [\"soc@example.org\"], ca_file = \"{}\" }}",
            to.port(),
            self.path("password").display(),
            self.identity.ca().display()
        )
    }
}

fn rule(event: &str, channels: &[&str], least: u32) -> String {
    let channels = json!(channels);
    format!("[{{ name = \"r\", events = [\"{event}\"], channels = {channels}, least = {least} }}]")
}

/// A server with channels, and a rule over failed logins that tells all of `told`.
async fn server(channels: &str, told: &[&str], least: u32) -> TestServer {
    TestServer::builder()
        .set("alerts.channels", &format!("[{channels}]"))
        .set("alerts.rules", &rule("login_failed", told, least))
        .set("alerts.instance", "plant7")
        .start()
        .await
}

async fn fail_to_log_in(server: &TestServer, times: usize) {
    let login = json!({ "username": ADMIN.0, "password": "not the password" });
    for _ in 0..times {
        let answer = server.nobody().post("/api/v1/auth/token", &login).await;
        assert_eq!(answer.status, 401);
    }
}

/// Whether a request is signed under a secret: as its receiver would find out.
fn is_signed(request: &Received, secret: &str) -> bool {
    let (at, signature) = request.headers["x-ems-signature"]
        .split_once(",v1=")
        .unwrap();
    let at = at.strip_prefix("t=").unwrap();
    let parts = [at.as_bytes(), b".", &request.body];
    HEXLOWER.encode(&Signer::new(secret.as_bytes()).sign(&parts)) == signature
}

async fn list(server: &TestServer) -> Value {
    let answer = server.admin().await.get("/api/v1/security/alerts").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["channels"].clone()
}

async fn try_channel(server: &TestServer, channel: &str) -> Value {
    let admin = server.admin().await;
    let body = json!({ "channel": channel });
    let answer = admin.post("/api/v1/security/alerts/test", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["results"][0].clone()
}

/// Asks again until an answer fits.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_rule_that_holds_is_told_by_a_signed_post_and_once_until_the_end_of_the_quiet_time() {
    let desk = Desk::new();
    let receiver = desk.http(None).await;
    let channel = desk.webhook("soc", receiver.address(), true);
    let server = server(&channel, &["soc"], 3).await;
    fail_to_log_in(&server, 5).await;
    let first = receiver.wait_for(1).await.remove(0);
    assert!(is_signed(&first, SECRET));
    assert!(!is_signed(&first, "another secret of nobody's"));
    assert_eq!(first.path, "/hook?k=1");
    let alert = first.json();
    assert_eq!(alert["id"], first.headers["x-ems-delivery"]);
    let told = |alert: &Value| {
        [
            "reason", "rule", "event", "count", "address", "user", "instance",
        ]
        .map(|name| alert[name].to_string().replace('"', ""))
        .join(" ")
    };
    assert_eq!(told(&alert), "alert r login_failed 3 127.0.0.1 root plant7");
    assert!(
        alert["request_id"]
            .as_str()
            .is_some_and(|id| !id.is_empty())
    );
    let text = String::from_utf8(first.body).unwrap();
    assert!(!text.contains("not the password"), "{text}");
    let figure = "ems_alerts_total{channel=\"soc\",outcome=\"deduplicated\"} 2";
    let metrics = server.metrics_url().unwrap();
    until("what came meanwhile is counted", async || {
        let page = reqwest::get(&metrics).await.ok()?.text().await.ok()?;
        page.contains(figure).then_some(())
    })
    .await;
    // The end of the process ends the quiet time: the other two are told.
    server.stop().await.unwrap();
    let requests = receiver.stop();
    assert_eq!(requests.len(), 2);
    assert_eq!(
        told(&requests[1].json()),
        "repeated r login_failed 2 127.0.0.1 root plant7"
    );
}

#[tokio::test]
async fn it_is_tried_again_with_the_same_id_over_errors_resets_and_redirects_that_nobody_follows() {
    let desk = Desk::new();
    let (receiver, elsewhere) = (desk.http(None).await, desk.http(None).await);
    let away = format!("https://localhost:{}/", elsewhere.address().port());
    receiver.will([
        Answered::Status(500),
        Answered::Reset,
        Answered::With(307, "location", away),
    ]);
    let server = server(&desk.webhook("soc", receiver.address(), true), &["soc"], 1).await;
    fail_to_log_in(&server, 1).await;
    // One of the answers is a reset, which is none.
    let requests = receiver.wait_for(3).await;
    let statuses: Vec<u16> = requests.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [500, 0, 307, 200]);
    for request in &requests {
        assert_eq!(
            request.headers["x-ems-delivery"],
            requests[0].headers["x-ems-delivery"]
        );
        assert_eq!(request.body, requests[0].body);
        assert!(is_signed(request, SECRET));
    }
    assert!(elsewhere.received().is_empty());
    let channel = until("it is counted as sent", async || {
        let channel = list(&server).await[0].clone();
        (channel["sent"] == 1).then_some(channel)
    })
    .await;
    let figures = ["retried", "dead", "waiting"].map(|name| channel[name].clone());
    assert_eq!(figures, [json!(3), json!(0), json!(0)]);
    assert!(
        channel["last_error"]
            .as_str()
            .unwrap()
            .contains("answered 307")
    );
    assert!(!channel.to_string().contains("k=1"), "{channel}");
}

#[tokio::test]
async fn a_place_within_our_own_network_is_not_called_unless_it_is_allowed() {
    let desk = Desk::new();
    let receiver = desk.http(None).await;
    let channels = [
        desk.webhook("closed", receiver.address(), false),
        desk.webhook("open", receiver.address(), true),
    ];
    let server = server(&channels.join(","), &["closed"], 1).await;
    let closed = try_channel(&server, "closed").await;
    assert_eq!(closed["sent"], false);
    let detail = closed["detail"].as_str().unwrap();
    assert!(detail.contains("no public address"), "{detail}");
    assert!(receiver.received().is_empty());
    let open = try_channel(&server, "open").await;
    assert_eq!(
        (&open["sent"], receiver.received().len()),
        (&json!(true), 1)
    );
    assert_eq!(receiver.received()[0].json()["reason"], "test");
    let admin = server.admin().await;
    let path = "/api/v1/security/alerts/test";
    let unknown = admin.post(path, &json!({"channel": "nobody"})).await;
    assert_eq!(unknown.verdict(), (422, "invalid_request".into()));
}

#[tokio::test]
async fn a_receiver_that_another_authority_vouches_for_is_told_nothing() {
    let (desk, other) = (Desk::new(), Desk::new());
    let receiver = other.http(None).await;
    let server = server(&desk.webhook("soc", receiver.address(), true), &["soc"], 1).await;
    let refused = try_channel(&server, "soc").await;
    assert_eq!(refused["sent"], false, "{refused}");
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn what_cannot_be_sent_for_too_long_is_a_dead_letter() {
    let desk = Desk::new();
    let gone = desk.http(None).await;
    let address = gone.address();
    drop(gone);
    let server = server(&desk.webhook("soc", address, true), &["soc"], 1).await;
    fail_to_log_in(&server, 1).await;
    until("it is tried again", async || {
        (list(&server).await[0]["retried"].as_u64()? > 0).then_some(())
    })
    .await;
    server.clock().advance(Duration::from_hours(2));
    until("it is given up", async || {
        (list(&server).await[0]["dead"] == 1).then_some(())
    })
    .await;
    assert_eq!(list(&server).await[0]["waiting"], 0);
    let letter = fs::read_to_string(server.dir().join("log/alerts.dead")).unwrap();
    let letter: Value = serde_json::from_str(&letter).unwrap();
    assert_eq!(letter["alert"]["channel"], "soc");
    assert_eq!(letter["alert"]["alert"]["event"], "login_failed");
}

#[tokio::test]
async fn syslog_over_tls_and_udp_and_mail_say_the_same() {
    let desk = Desk::new();
    let tls = SyslogReceiver::start(&desk.identity, None).await.unwrap();
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mail = MailServer::start(&desk.identity, true).unwrap();
    let channels = [
        format!(
            "{{ name = \"tls\", kind = \"syslog\", address = \"tls://localhost:{}\", \
             ca_file = \"{}\" }}",
            tls.address().port(),
            desk.identity.ca().display()
        ),
        format!(
            "{{ name = \"udp\", kind = \"syslog\", address = \"udp://{}\" }}",
            udp.local_addr().unwrap()
        ),
        desk.mail(mail.address()),
    ];
    let server = server(&channels.join(","), &["tls", "udp", "mail"], 2).await;
    fail_to_log_in(&server, 2).await;
    let message = tls.wait_for(1).await.remove(0);
    assert_eq!(tls.faults(), Vec::<String>::new());
    // Facility 10, severity 3.
    assert_eq!(
        (message.priority, &*message.host, &*message.kind),
        (83, "plant7", "alert")
    );
    let fields = ["rule", "event", "count", "address", "user"].map(|name| &*message.fields[name]);
    assert_eq!(fields, ["r", "login_failed", "2", "127.0.0.1", "root"]);
    assert_eq!(message.text, "r: login_failed, 2 from 127.0.0.1");
    let mut datagram = [0; 4096];
    let (length, _) = udp.recv_from(&mut datagram).await.unwrap();
    let datagram = std::str::from_utf8(&datagram[..length]).unwrap();
    assert!(
        datagram.starts_with("<83>1 ") && datagram.contains(" count=\"2\" "),
        "{datagram}"
    );
    let mail = tokio::task::spawn_blocking(move || mail.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (&mail["tls"], &mail["user"], &mail["from"], &mail["to"]),
        (
            &json!(true),
            &json!("ems"),
            &json!("ems@example.org"),
            &json!(["soc@example.org"])
        )
    );
    let data = mail["data"].as_str().unwrap();
    assert!(
        data.contains("Subject: [EMS] r: login_failed, 2 from 127.0.0.1\r\n"),
        "{data}"
    );
    assert!(data.contains("count     2\r\n"), "{data}");
}

#[tokio::test]
async fn a_mail_server_without_starttls_is_told_nothing() {
    let desk = Desk::new();
    let mail = MailServer::start(&desk.identity, false).unwrap();
    let server = server(&desk.mail(mail.address()), &["mail"], 1).await;
    let refused = try_channel(&server, "mail").await;
    assert_eq!(refused["sent"], false, "{refused}");
    assert!(mail.is_empty());
}

/// Settings of a spawned server, with a webhook and a rule over failed logins.
fn variables(channel: &str) -> Vec<(&'static str, String)> {
    vec![
        ("EMS_ALERTS__CHANNELS", format!("[{channel}]")),
        ("EMS_ALERTS__RULES", rule("login_failed", &["soc"], 1)),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    settings
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect()
}

/// What waits in the spool of an instance.
fn spooled(dir: &Path) -> usize {
    let spool = fs::read_to_string(dir.join("log/alerts.spool")).unwrap_or_default();
    spool.matches("{\"waits\":").count() - spool.matches("{\"gone\":").count()
}

#[tokio::test]
async fn an_alert_that_waits_survives_kill_9() {
    let desk = Desk::new();
    let away = desk.http(None).await;
    let address = away.address();
    drop(away);
    let home = Home::new();
    let settings = variables(&desk.webhook("soc", address, true));
    let process = binary().serve(&home.dir(), &borrowed(&settings)).unwrap();
    let login = json!({ "username": ADMIN.0, "password": "not the password" });
    let answer = process
        .nobody()
        .unwrap()
        .post("/api/v1/auth/token", &login)
        .await;
    assert_eq!(answer.status, 401);
    until("it waits on disk", async || {
        (spooled(&home.dir()) == 1).then_some(())
    })
    .await;
    process.kill().unwrap();
    let receiver = desk.http(Some(address)).await;
    let process = binary().serve(&home.dir(), &borrowed(&settings)).unwrap();
    let requests = receiver.wait_for(1).await;
    assert_eq!(requests[0].json()["event"], "login_failed");
    until("it is gone from the disk", async || {
        (spooled(&home.dir()) == 0).then_some(())
    })
    .await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_each_channel_said_and_fails_where_one_did() {
    let desk = Desk::new();
    let receiver = desk.http(None).await;
    let channels = [
        desk.webhook("good", receiver.address(), true),
        desk.webhook("bad", receiver.address(), false),
    ];
    let home = Home::new();
    let settings = [("EMS_ALERTS__CHANNELS", format!("[{}]", channels.join(",")))];
    let run = |words: &[&str]| {
        let dir = home.dir().display().to_string();
        let mut command = binary().command(words.iter().copied().chain(["--dir", &dir]));
        let output = command.envs(borrowed(&settings)).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    // Without a server, and beside one.
    let (code, out, _) = run(&["alert", "test", "--channel", "good"]);
    assert_eq!(
        (code, out.contains("good            ok")),
        (Some(0), true),
        "{out}"
    );
    let _process = binary().serve(&home.dir(), &borrowed(&settings)).unwrap();
    let (code, out, complaint) = run(&["alert", "test"]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("good            ok") && out.contains("bad             failed"),
        "{out}"
    );
    assert!(complaint.contains("1 of 2 channels failed"), "{complaint}");
    let (code, out, _) = run(&["--json", "alert", "list"]);
    let listed: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &listed["channels"][0]["sent"]), (Some(0), &json!(1)));
    let error = listed["channels"][1]["last_error"].as_str().unwrap();
    assert!(error.contains("no public address"), "{error}");
    assert_eq!(receiver.received().len(), 2);
}
