//! Shipping of the logs: every line of the files is with the receiver, whatever happened on the way.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ems_testkit::{
    ADMIN, Caller, Signal, TestProcess, TestServer,
    receiver::{
        Answered, Behaviour, HttpReceiver, Identity, Received, SyslogMessage, SyslogReceiver,
    },
    secret_file,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::{Home, binary};

const LOGS: [&str; 2] = ["security", "audit"];

/// An instance whose logs are shipped; small files, so that many are set aside.
struct Site {
    home: Home,
    keys: TempDir,
    identity: Identity,
    settings: Vec<(&'static str, String)>,
}

impl Site {
    fn new(to: (&'static str, String)) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let identity = Identity::new(keys.path()).unwrap();
        let settings = vec![
            to,
            ("EMS_SHIP__CA_FILE", identity.ca().display().to_string()),
            ("EMS_SHIP__CONFIRM", "300ms".into()),
            ("EMS_SHIP__TIMEOUT", "1s".into()),
            ("EMS_LOG__ROTATE_BYTES", "64KiB".into()),
            ("EMS_LOG__KEEP", "1000".into()),
            ("EMS_LIMITS__ADDRESS_PER_HOUR", "0".into()),
            ("EMS_LIMITS__USER_PER_HOUR", "0".into()),
        ];
        Self {
            home: Home::new(),
            keys,
            identity,
            settings,
        }
    }

    fn serve(&self) -> TestProcess {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        binary().serve(&self.home.dir(), &settings).unwrap()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.home.dir().join("log").join(name)
    }

    /// The lines of a log in all its files.
    fn lines(&self, log: &str) -> Vec<String> {
        lines(&self.home.dir().join("log"), log)
    }
}

fn lines(dir: &Path, log: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("{log}.log"))
        {
            let text = fs::read_to_string(entry.path()).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    lines
}

/// Someone who is logged in.
async fn log_in(process: &TestProcess) -> Caller {
    let nobody = process.nobody().unwrap();
    let login = json!({ "username": ADMIN.0, "password": ADMIN.1 });
    let tokens = nobody.post("/api/v1/auth/token", &login).await.json();
    nobody.bearer(tokens["access_token"].as_str().unwrap())
}

/// Requests that make lines in both logs.
async fn ask(caller: &Caller, times: usize) {
    for _ in 0..times {
        assert_eq!(caller.get("/api/v1/users").await.status, 200);
        assert_eq!(caller.get("/api/v1/meters/none").await.status, 404);
    }
}

/// Requests beside one another, so many that the audit log is set aside a few times.
async fn ask_much(caller: &Caller) {
    let asking = (0..8).map(|_| async {
        for _ in 0..100 {
            assert_eq!(caller.get("/api/v1/users").await.status, 200);
        }
    });
    join_all(asking).await;
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(90), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a receiver has of a log: texts and ids, each once.
fn kept(messages: &[SyslogMessage], log: &str) -> (BTreeSet<String>, usize) {
    let of_log = messages.iter().filter(|it| it.kind == log);
    let (texts, ids): (BTreeSet<_>, HashSet<_>) = of_log
        .map(|it| (it.text.clone(), it.fields["id"].clone()))
        .unzip();
    (texts, ids.len())
}

fn set(lines: &[String]) -> BTreeSet<String> {
    lines.iter().cloned().collect()
}

/// Both logs of a site, line for line, are what a receiver has: none is missing, and each has one id
/// however often it came.
fn assert_whole(site: &Site, messages: &[SyslogMessage]) {
    for log in LOGS {
        let lines = site.lines(log);
        let (texts, ids) = kept(messages, log);
        let missing: Vec<_> = set(&lines).difference(&texts).cloned().collect();
        assert!(
            missing.is_empty(),
            "{log}: {} of {} missing: {missing:?}",
            missing.len(),
            lines.len()
        );
        assert_eq!(texts, set(&lines));
        assert_eq!(ids, lines.len(), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_over_a_receiver_that_is_away_resets_or_stops_and_a_server_that_is_killed()
{
    let probe = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let to = format!("tls://localhost:{}", address.port());
    let site = Site::new(("EMS_SHIP__SYSLOG", to));
    let mut messages = Vec::new();

    // Nobody is there at first.
    let process = site.serve();
    ask(&log_in(&process).await, 40).await;
    let receiver = SyslogReceiver::start(&site.identity, Some(address))
        .await
        .unwrap();
    for behaviour in [
        Behaviour::ResetsAfter(3),
        Behaviour::StopsAfter(5),
        Behaviour::ResetsAfter(1),
    ] {
        receiver.will(behaviour);
        ask(&log_in(&process).await, 5).await;
    }
    receiver.wait_for(60).await;
    // Killed in the middle of it, the server first and then the receiver.
    process.kill().unwrap();
    let process = site.serve();
    let caller = log_in(&process).await;
    ask_much(&caller).await;
    messages.extend(receiver.messages());
    assert_eq!(receiver.faults(), Vec::<String>::new());
    drop(receiver);
    // Another program moves a log away, and says so.
    fs::rename(site.log("security.log"), site.log("security.log-moved")).unwrap();
    ask(&caller, 5).await;
    process.signal(Signal::HUP).unwrap();
    ask_much(&caller).await;
    let receiver = SyslogReceiver::start(&site.identity, Some(address))
        .await
        .unwrap();
    receiver.will(Behaviour::ResetsAfter(7));
    ask(&log_in(&process).await, 5).await;
    until("both logs are with the receiver", || {
        let mut all = messages.clone();
        all.extend(receiver.messages());
        LOGS.iter()
            .all(|log| set(&site.lines(log)).is_subset(&kept(&all, log).0))
    })
    .await;
    assert_eq!(process.stop(Signal::TERM).unwrap(), 0);
    messages.extend(receiver.messages());
    assert_eq!(receiver.faults(), Vec::<String>::new());
    assert!(
        site.lines("security").len() > 150,
        "{}",
        site.lines("security").len()
    );
    assert!(site.log("audit.log.3").exists(), "files were set aside");
    assert!(
        site.log("security.log").exists(),
        "a moved one was begun anew"
    );
    assert_whole(&site, &messages);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_of_a_server_that_stops_are_shipped_and_none_comes_twice_after() {
    let site = Site::new(("EMS_SHIP__CONFIRM", "10s".into()));
    let receiver = SyslogReceiver::start(&site.identity, None).await.unwrap();
    let to = format!("tls://localhost:{}", receiver.address().port());
    let mut site = site;
    site.settings.push(("EMS_SHIP__SYSLOG", to));
    for _ in 0..2 {
        let process = site.serve();
        ask(&log_in(&process).await, 3).await;
        assert_eq!(process.stop(Signal::TERM).unwrap(), 0);
    }
    let messages = receiver.messages();
    assert_whole(&site, &messages);
    let lines: usize = LOGS.iter().map(|log| site.lines(log).len()).sum();
    let said = fs::read_to_string(site.home.path("instance.stderr")).unwrap();
    assert_eq!(messages.len(), lines, "none came twice: {said}");
    let audit = messages.iter().find(|it| it.kind == "audit").unwrap();
    // Facility 13, severity 6.
    assert_eq!((audit.priority, &*audit.fields["log"]), (110, "audit"));
}

/// Whether a request to an OTLP receiver holds a line with this text.
fn holds(request: &Received, text: &str) -> bool {
    String::from_utf8_lossy(&request.body).contains(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn otlp_goes_on_at_a_yes_alone_and_keeps_the_one_line_that_is_refused_for_ever() {
    let keys = tempfile::tempdir().unwrap();
    let identity = Identity::new(keys.path()).unwrap();
    // One line in particular is never taken.
    let judge =
        |request: &Received| holds(request, "/api/v1/auth/me").then_some(Answered::Status(400));
    let receiver = HttpReceiver::start(&identity, None, judge).await.unwrap();
    receiver.will([
        Answered::With(503, "retry-after", "1".into()),
        Answered::Reset,
        Answered::Status(401),
        Answered::Status(429),
    ]);
    let token = secret_file(&keys.path().join("token"), "a token of the receiver's").unwrap();
    let server = TestServer::builder()
        .set(
            "ship.otlp",
            &format!("https://localhost:{}", receiver.address().port()),
        )
        .set("ship.ca_file", &identity.ca().display().to_string())
        .set("ship.token_file", &token.display().to_string())
        .set("log.format", "ocsf")
        .start()
        .await;
    let admin = server.admin().await;
    ask(&admin, 30).await;
    assert_eq!(admin.get("/api/v1/auth/me").await.status, 200);
    ask(&admin, 10).await;
    let metrics = server.metrics_url().unwrap();
    let dir = server.dir().join("log");
    until("the refused line is put aside", || {
        dir.join("ship.dead").exists()
    })
    .await;
    let page = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
    let figure = "ems_ship_lines_total{log=\"security\",to=\"otlp\",outcome=\"dead\"} 1";
    assert!(page.contains(figure), "{page}");
    let place = server.stop().await.unwrap();
    let dir = place.path().join("instance/log");

    let requests = receiver.stop();
    assert!(requests.iter().all(|it| it.path == "/v1/logs"));
    assert!(
        requests
            .iter()
            .all(|it| it.headers["authorization"] == "Bearer a token of the receiver's")
    );
    let mut kept: Vec<(String, String)> = Vec::new();
    for request in requests.iter().filter(|it| it.status == 200) {
        let body = request.json();
        let records = body
            .pointer("/resourceLogs/0/scopeLogs/0/logRecords")
            .unwrap();
        for record in records.as_array().unwrap() {
            assert_ne!(record["timeUnixNano"], "0000");
            let text = |at: &str| record.pointer(at).unwrap().as_str().unwrap().to_owned();
            assert_eq!(text("/attributes/0/key"), "log.record.uid");
            kept.push((
                text("/attributes/0/value/stringValue"),
                text("/body/stringValue"),
            ));
        }
    }
    let texts: BTreeSet<String> = kept.iter().map(|(_, text)| text.clone()).collect();
    let letter = fs::read_to_string(dir.join("ship.dead")).unwrap();
    let letters: Vec<Value> = letter
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(letters.len(), 1);
    let mut expected = set(&lines(&dir, "security"));
    expected.extend(lines(&dir, "audit"));
    assert!(expected.remove(letters[0]["line"].as_str().unwrap()));
    assert_eq!(texts, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_rotation_removed_unshipped_are_told_of_and_counted() {
    let keys = tempfile::tempdir().unwrap();
    let identity = Identity::new(keys.path()).unwrap();
    let away = SocketAddr::from(([127, 0, 0, 1], 1));
    let server = TestServer::builder()
        .set("ship.syslog", &format!("tls://{away}"))
        .set("ship.ca_file", &identity.ca().display().to_string())
        .set("log.rotate_bytes", "64KiB")
        .set("log.keep", "2")
        .start()
        .await;
    let admin = server.admin().await;
    let metrics = server.metrics_url().unwrap();
    let dir = server.dir().join("log");
    let began = Instant::now();
    loop {
        ask_much(&admin).await;
        let page = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
        let told = lines(&dir, "security")
            .iter()
            .any(|it| it.contains("logs_not_shipped"));
        if told && page.contains("outcome=\"missed\"") && page.contains("ems_ship_behind_bytes{") {
            break;
        }
        assert!(began.elapsed() < Duration::from_mins(1), "{page}");
    }
    server.stop().await.unwrap();
}

/// `rsyslogd` with TLS, as this user.
struct Rsyslog(Child);

impl Rsyslog {
    fn start(site: &Site, address: SocketAddr, dir: &Path) -> Self {
        let (identity, out) = (&site.identity, dir.join("received"));
        let text = format!(
            "global(workDirectory=\"{dir}\" maxMessageSize=\"64k\" \
             defaultNetstreamDriver=\"ossl\" defaultNetstreamDriverCAFile=\"{ca}\" \
             defaultNetstreamDriverCertFile=\"{certificate}\" defaultNetstreamDriverKeyFile=\"{key}\")\n\
             module(load=\"imtcp\" StreamDriver.Name=\"ossl\" StreamDriver.Mode=\"1\" \
             StreamDriver.AuthMode=\"anon\")\n\
             template(name=\"all\" type=\"string\" string=\"%msgid%\\t%structured-data%\\t%msg%\\n\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             action(type=\"omfile\" file=\"{out}\" template=\"all\")\n",
            dir = dir.display(),
            ca = identity.ca().display(),
            certificate = identity.certificate().display(),
            key = identity.key().display(),
            port = address.port(),
            out = out.display(),
        );
        let conf = dir.join("rsyslog.conf");
        fs::write(&conf, text).unwrap();
        let mut command = Command::new("/usr/sbin/rsyslogd");
        command.arg("-n").arg("-f").arg(conf);
        command.arg("-i").arg(dir.join("pid")).stdin(Stdio::null());
        // `cargo xtask setup` installs it.
        Self(command.spawn().unwrap())
    }

    /// Lets it finish.
    fn stop(mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").arg(pid).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rsyslog_has_every_line_though_it_was_restarted_midway() {
    let probe = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let to = format!("tls://localhost:{}", address.port());
    let site = Site::new(("EMS_SHIP__SYSLOG", to));
    let dir = site.keys.path().join("rsyslog");
    fs::create_dir(&dir).unwrap();
    let process = site.serve();
    ask(&log_in(&process).await, 10).await;
    let rsyslog = Rsyslog::start(&site, address, &dir);
    ask_much(&log_in(&process).await).await;
    let received = || -> BTreeSet<String> {
        let text = fs::read_to_string(dir.join("received")).unwrap_or_default();
        let line = |line: &str| {
            line.splitn(3, '\t')
                .nth(2)
                .map(|it| it.trim_start().to_owned())
        };
        text.lines().filter_map(line).collect()
    };
    let all = || {
        let mut all = set(&site.lines("security"));
        all.extend(site.lines("audit"));
        all
    };
    until("lines come", || !received().is_empty()).await;
    rsyslog.stop();
    ask(&log_in(&process).await, 20).await;
    let rsyslog = Rsyslog::start(&site, address, &dir);
    until("every line is there", || all().is_subset(&received())).await;
    assert_eq!(process.stop(Signal::TERM).unwrap(), 0);
    until("the last ones too", || all().is_subset(&received())).await;
    rsyslog.stop();
    let strange: Vec<_> = received().difference(&all()).cloned().collect();
    assert!(strange.is_empty(), "{strange:?}");
}
