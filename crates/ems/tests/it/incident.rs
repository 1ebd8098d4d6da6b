//! The report on an incident, held against what was done over the wire.

use std::time::Duration;

use ems_api::{
    client::{Client, Suspect},
    incident::{Action, Incident, MeterAct},
};
use ems_core::{clock::Clock as _, role::Role, time::Timestamp};
use ems_testkit::{ADMIN, Answer, Caller, TestServer};
use serde_json::{Value, json};

pub(crate) const HERE: &str = "198.51.100.7";
pub(crate) const ELSEWHERE: &str = "203.0.113.9";
const MINUTE: Duration = Duration::from_mins(1);

/// A server that believes what this machine says of addresses.
pub(crate) async fn server() -> TestServer {
    let local = r#"["127.0.0.1/32"]"#;
    TestServer::builder()
        // What is played here would be told by name as well.
        .set("guard.key_networks", "0")
        .set("guard.many_accounts", "0")
        .set("server.trusted_proxies", local)
        .start()
        .await
}

/// Asks from an address.
pub(crate) async fn from(
    address: &str,
    caller: &Caller,
    request: &str,
    body: Option<&Value>,
) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    let request = caller
        .request(method, path)
        .header("x-forwarded-for", address);
    Answer::of(match body {
        Some(body) => request.json(body),
        None => request,
    })
    .await
}

/// Rows of a meter, one an hour of a day long ago.
fn rows(meter: &str, count: usize) -> Value {
    let row = |hour| {
        json!({
            "meter_id": meter,
            "timestamp": format!("2020-01-01T{hour:02}:00:00Z"),
            "energy_consumption": 1,
        })
    };
    (0..count).map(row).collect()
}

pub(crate) fn owner(server: &TestServer) -> Client {
    Client::unix(&server.dir().join("run/admin.sock")).unwrap()
}

/// What there is before: three meters of a plant, two of them one customer's, and one of another.
async fn furnish(admin: &Caller) {
    for (meter, count) in [
        ("plant7-a", 10),
        ("plant7-b", 20),
        ("plant7-c", 5),
        ("plant8-x", 3),
    ] {
        let profile = match meter {
            "plant7-c" => json!({}),
            "plant8-x" => json!({ "customer_id": "c-2" }),
            _ => json!({ "customer_id": "c-1", "location": "Hall 7" }),
        };
        assert_eq!(
            admin
                .put(&format!("/api/v1/meters/{meter}"), &profile)
                .await
                .status,
            201
        );
        let stored = admin.post("/api/v1/data/batch", &rows(meter, count)).await;
        assert_eq!(stored.json()["accepted"], count);
    }
}

/// What the key does, a minute each; the instants of its first and last act.
async fn play(server: &TestServer, key: &Caller, other: &Caller) -> (Timestamp, Timestamp) {
    let begin = server.clock().now();
    let new = json!({ "meter_id": "plant7-c", "timestamp": "2020-01-02T00:00:00Z", "energy_consumption": 2 });
    let profile = json!({ "site": "gate 4" });
    let acts: [(&str, &str, Option<&Value>, u16); 15] = [
        (HERE, "GET /api/v1/data/plant7-a", None, 200),
        (HERE, "GET /api/v1/data/plant7-a", None, 200),
        (ELSEWHERE, "GET /api/v1/data/plant7-b?limit=15", None, 200),
        (
            HERE,
            "GET /api/v1/analytics/usage?meter_id=plant7-*",
            None,
            200,
        ),
        (HERE, "GET /api/v1/meters", None, 200),
        (HERE, "GET /api/v1/meters/plant7-a", None, 200),
        (HERE, "POST /api/v1/data", Some(&new), 201),
        (HERE, "PUT /api/v1/meters/plant7-c", Some(&profile), 200),
        (HERE, "DELETE /api/v1/data/plant7-c", None, 200),
        (HERE, "PUT /api/v1/meters/plant8-x", Some(&profile), 403),
        (HERE, "DELETE /api/v1/data/plant8-x", None, 403),
        (ELSEWHERE, "GET /api/v1/keyring", None, 403),
        (HERE, "GET /api/v1/data/plant8-x", None, 404),
        (HERE, "GET /api/v1/users", None, 200),
        (
            HERE,
            "GET /api/v1/data/plant7-a?start=2021-01-01T00:00:00Z",
            None,
            200,
        ),
    ];
    let mut last = begin;
    for (address, request, body, status) in acts {
        let answer = from(address, key, request, body).await;
        assert_eq!(answer.status, status, "{request}: {}", answer.text());
        last = server.clock().now();
        // Somebody else, meanwhile.
        assert_eq!(
            from(HERE, other, "GET /api/v1/data/plant8-x", None)
                .await
                .status,
            200
        );
        server.clock().advance(MINUTE);
    }
    let stream = key.request("GET", "/api/v1/data/plant7-b");
    let stream = stream
        .header("accept", "text/csv")
        .header("x-forwarded-for", HERE);
    assert_eq!(Answer::of(stream).await.text().lines().count(), 21);
    assert!(last < server.clock().now());
    last = server.clock().now();
    server.clock().advance(MINUTE);
    (begin, last)
}

/// The acts on a meter: action, table, times, records, shared records.
fn acts(incident: &Incident, meter: Option<&str>) -> Vec<(String, String, u64, u64, u64)> {
    let meter = incident
        .meters
        .iter()
        .find(|known| known.meter_id.as_deref() == meter);
    let told = |act: &MeterAct| {
        let (action, table) = (act.action.clone(), act.table.clone());
        (
            action,
            table,
            act.sum.times,
            act.sum.records,
            act.shared_records,
        )
    };
    let mut acts: Vec<_> = meter.unwrap().acts.iter().map(told).collect();
    acts.sort();
    acts
}

fn act(action: &str, table: &str, figures: (u64, u64, u64)) -> (String, String, u64, u64, u64) {
    (action.into(), table.into(), figures.0, figures.1, figures.2)
}

fn actions(incident: &Incident) -> Vec<(&str, &str, &str, u64, u64)> {
    let told = incident.actions.iter().map(|done| {
        (
            &*done.action,
            &*done.table,
            &*done.effect,
            done.sum.times,
            done.sum.records,
        )
    });
    told.collect()
}

fn refused(incident: &Incident) -> Vec<(&str, &str, Option<u16>, u64)> {
    let told = incident
        .refused
        .iter()
        .map(|one| (&*one.kind, &*one.what, one.status, one.sum.times));
    told.collect()
}

/// What the key did, whenever it is asked.
fn check_key(incident: &Incident, begin: Timestamp) {
    assert_eq!(
        actions(incident),
        [
            ("analyze", "readings", "left", 1, 35),
            ("create", "readings", "changed", 1, 1),
            ("delete", "readings", "changed", 1, 6),
            ("read", "meters", "left", 2, 4),
            ("read", "readings", "left", 5, 10 + 10 + 15 + 20),
            ("read", "users", "left", 1, 2),
            ("update", "meters", "changed", 1, 1),
        ]
    );
    assert_eq!(
        refused(incident),
        [
            ("request", "DELETE /api/v1/data/{meter_id}", Some(403), 1),
            ("request", "GET /api/v1/data/{meter_id}", Some(404), 1),
            ("request", "GET /api/v1/keyring", Some(403), 1),
            ("request", "PUT /api/v1/meters/{meter_id}", Some(403), 1),
            ("violation", "out_of_scope", None, 2),
            ("violation", "permission_denied", None, 1),
        ]
    );
    let peers: Vec<_> = incident
        .peers
        .iter()
        .map(|peer| (&*peer.name, peer.acts, peer.refusals))
        .collect();
    assert_eq!(peers, [(HERE, 11, 5), (ELSEWHERE, 1, 2)]);
    assert_eq!(
        acts(incident, Some("plant7-a")),
        [
            act("analyze", "readings", (1, 0, 35)),
            act("read", "meters", (2, 2, 0)),
            act("read", "readings", (3, 20, 0)),
        ]
    );
    assert_eq!(
        acts(incident, Some("plant7-c")),
        [
            act("analyze", "readings", (1, 0, 35)),
            act("delete", "readings", (1, 6, 0)),
            act("read", "meters", (1, 1, 0)),
            act("update", "meters", (1, 1, 0)),
        ]
    );
    assert!(
        !incident
            .meters
            .iter()
            .any(|meter| meter.meter_id.as_deref() == Some("plant8-x"))
    );
    let effect = incident.effect;
    assert!(
        effect.data_left
            && effect.data_changed
            && effect.attempts_refused
            && !effect.only_attempted
    );
    // The first violation is the tenth act: nine minutes after the first.
    let detected = begin.saturating_add_micros(9 * 60_000_000);
    let hours = |count: i64| detected.saturating_add_micros(count * 3_600_000_000);
    let deadlines = &incident.deadlines;
    assert_eq!(
        (deadlines.detected, &*deadlines.detected_by),
        (detected, "first_violation")
    );
    assert_eq!(
        (deadlines.early_warning, deadlines.notification),
        (hours(24), hours(72))
    );
    let extent = incident.extent;
    assert_eq!(
        (extent.records_left, extent.records_changed),
        (35 + 4 + 55 + 2, 1 + 6 + 1)
    );
    // 7 whole looks and changes, 5 reads, and the second entry of the stream.
    assert_eq!(incident.basis.entries_matched, 13);
    assert!(incident.basis.log_complete);
    assert_eq!(incident.to_fill, ems_api::incident::ToFill::default());
}

/// An incident that was played.
struct Played {
    server: TestServer,
    suspect: Suspect,
    begin: Timestamp,
    last: Timestamp,
}

impl Played {
    async fn new() -> Self {
        let server = server().await;
        furnish(&server.admin().await).await;
        let secret = server.key_for(Role::Admin, &["plant7-*"]).await;
        let name = format!("key:{}", secret.split('_').nth(1).unwrap());
        let key = server.nobody().api_key(&secret);
        // What came before is not of the period, though near enough to be read.
        assert_eq!(key.get("/api/v1/data/plant7-a").await.status, 200);
        server.clock().advance(MINUTE);
        let other = server.user(Role::Analyst).await;
        let (begin, last) = play(&server, &key, &other).await;
        Self {
            server,
            suspect: Suspect::Principal(name),
            begin,
            last,
        }
    }

    /// The report, in which all that the key did is as it was done.
    async fn report(&self) -> Incident {
        let period = (self.begin, Some(self.last.saturating_add_micros(1)));
        let client = owner(&self.server);
        let incident = client.incident(&self.suspect, period, None).await.unwrap();
        check_key(&incident, self.begin);
        incident
    }
}

/// Meters, those of them that are gone, customers, data subjects.
fn subjects(incident: &Incident) -> [u64; 4] {
    let extent = incident.extent;
    [
        extent.meters,
        extent.meters_gone,
        extent.customers,
        extent.data_subjects,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_says_exactly_what_a_key_did_and_whose_meters_it_saw() {
    let played = Played::new().await;
    let report = played.report().await;
    let about = &report.about;
    assert_eq!(
        (about.role.as_deref(), about.active),
        (Some("admin"), Some(true))
    );
    assert_eq!(about.scope, ["plant7-*"]);
    let of_b = [
        act("analyze", "readings", (1, 0, 35)),
        act("read", "meters", (1, 1, 0)),
        act("read", "readings", (2, 35, 0)),
    ];
    assert_eq!(acts(&report, Some("plant7-b")), of_b);
    assert_eq!(subjects(&report), [3, 0, 1, 2]);
    let customer = &report.customers[0];
    assert_eq!((&*customer.customer_id, customer.meters), ("c-1", 2));
    let is = |action: &&Action| action.table == "readings" && action.action == "read";
    let sum = report.actions.iter().find(is).unwrap().sum;
    assert_eq!((sum.first, sum.last), (played.begin, played.last));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_the_same_after_a_restart_and_an_erased_meter_stays_unnamed_in_it() {
    let mut played = Played::new().await;
    let first = played.report().await;
    played.server = played.server.restart().await.unwrap();
    let again = played.report().await;
    assert_eq!((&again.meters, &again.peers), (&first.meters, &first.peers));

    owner(&played.server)
        .destroy_meter_key("plant7-b")
        .await
        .unwrap();
    let erased = played.report().await;
    let gone: Vec<_> = erased
        .meters
        .iter()
        .filter(|meter| meter.meter_id.is_none())
        .collect();
    assert_eq!(gone.len(), 1);
    assert!(gone[0].pseudonym.starts_with("m_") && gone[0].customer_id.is_none());
    assert_eq!(acts(&erased, None), acts(&first, Some("plant7-b")));
    assert_eq!(subjects(&erased), [3, 1, 1, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_itself_in_the_ledger_and_an_erasure_is_one_act() {
    let played = Played::new().await;
    played.report().await;
    played.report().await;
    let owner = owner(&played.server);
    owner.destroy_meter_key("plant7-b").await.unwrap();
    let suspect = Suspect::Principal(format!("local:{}", uid()));
    let looks = owner
        .incident(&suspect, (played.last, None), None)
        .await
        .unwrap();
    let expected = [
        ("destroy_key", "meters", "changed", 1, 20),
        ("report", "incidents", "left", 2, 13 * 2),
    ];
    assert_eq!(actions(&looks), expected);
    assert!(looks.actions.iter().all(|action| action.without_end == 0));
}

/// The user that the tests run as.
fn uid() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// A server at which one address was used by a key, by a user, and by somebody who guessed.
async fn shared_address() -> (TestServer, Timestamp) {
    let server = server().await;
    furnish(&server.admin().await).await;
    let key = server.key_for(Role::Viewer, &["plant7-*"]).await;
    let key = server.nobody().api_key(&key);
    let other = server.user(Role::Analyst).await;
    server.clock().advance(MINUTE);
    let begin = server.clock().now();
    let nobody = server.nobody();
    for (caller, request, status) in [
        (&key, "GET /api/v1/data/plant7-a", 200),
        (&other, "GET /api/v1/data/plant8-x", 200),
        (&other, "GET /api/v1/users", 403),
        (&nobody, "GET /api/v1/meters", 401),
    ] {
        let answer = from(HERE, caller, request, None).await;
        assert_eq!(answer.status, status, "{request}");
    }
    let wrong = json!({ "username": "analyst", "password": "not the password" });
    let right = json!({ "username": "analyst", "password": ADMIN.1 });
    for (login, status) in [(&wrong, 401), (&wrong, 401), (&right, 200)] {
        let answer = from(HERE, &nobody, "POST /api/v1/auth/token", Some(login)).await;
        assert_eq!(answer.status, status);
    }
    let forged = nobody.clone().api_key("ems_zzzzzzzz_0");
    let answer = from(ELSEWHERE, &forged, "GET /api/v1/meters", None).await;
    assert_eq!(answer.status, 401);
    let answer = from("192.0.2.50", &key, "GET /api/v1/data/plant7-a", None).await;
    assert_eq!(answer.status, 200);
    (server, begin)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_on_an_address_names_who_used_it_and_what_was_only_tried() {
    let (server, begin) = shared_address().await;
    let report = async |address: &str| {
        let suspect = Suspect::Address(address.to_owned());
        owner(&server)
            .incident(&suspect, (begin, None), Some(begin))
            .await
            .unwrap()
    };
    let here = report(HERE).await;
    assert_eq!(
        actions(&here),
        [
            ("login", "sessions", "session", 1, 1),
            ("read", "readings", "left", 2, 13)
        ]
    );
    assert_eq!(
        refused(&here),
        [
            ("authentication", "login", None, 2),
            ("request", "GET /api/v1/meters", Some(401), 1),
            ("request", "GET /api/v1/users", Some(403), 1),
            ("request", "POST /api/v1/auth/token", Some(401), 2),
            ("violation", "permission_denied", None, 1),
        ]
    );
    let mut peers: Vec<_> = here
        .peers
        .iter()
        .map(|peer| (&*peer.name, peer.acts, peer.refusals))
        .collect();
    peers.sort_unstable();
    assert_eq!(peers[0], ("analyst", 2, 4));
    assert_eq!(peers[1], ("anonymous", 0, 3));
    assert!(peers[2].0.starts_with("key:") && peers[2].1 == 1 && peers.len() == 3);
    assert_eq!((here.logins.len(), &*here.logins[0].user), (1, "analyst"));
    assert_eq!(
        (here.deadlines.detected, &*here.deadlines.detected_by),
        (begin, "given")
    );
    let names: Vec<_> = here
        .meters
        .iter()
        .map(|meter| meter.meter_id.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["plant7-a", "plant8-x"]);
    assert_eq!((here.extent.data_subjects, here.extent.customers), (2, 2));

    let elsewhere = report(ELSEWHERE).await;
    assert!(
        elsewhere.effect.only_attempted
            && elsewhere.actions.is_empty()
            && elsewhere.meters.is_empty()
    );
    assert!(!report("192.0.2.51").await.effect.attempts_refused);
    // Only who owns the process may ask.
    let path = format!("/api/v1/security/incident?address={HERE}&since=2020-01-01T00:00:00Z");
    let admin = server.admin().await;
    assert_eq!(admin.get(&path).await.status, 403);
}
