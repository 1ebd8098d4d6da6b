//! The whole product on MongoDB: the same suites, the binary from `init` to `verify`, several servers
//! over one store, and what is refused at start.

mod gateways;

use std::{env, fs, path::PathBuf, process::Command};

use ems_api::client::{Body, Coding, Format};
use ems_core::role::Role;
use ems_testkit::{
    ADMIN, MONGO_URI, Ran, Signal, TestServer,
    mongo::{ReplicaSet, Standalone},
    secret_file,
};
use serde_json::json;

use crate::cli::{binary, mode, text};

/// What of this binary runs on both backends.
const SUITES: [&str; 4] = ["api::", "policy::", "tokens::", "abuse::"];

#[tokio::test(flavor = "multi_thread")]
async fn the_suites_pass_on_mongodb() {
    let set = ReplicaSet::start().await;
    let mut suites = Command::new(env::current_exe().unwrap());
    suites.args(SUITES).args(["--test-threads", "4"]);
    suites.env(MONGO_URI, set.uri(set.admin()));
    let ran = tokio::task::spawn_blocking(move || suites.output().unwrap());
    let ran = ran.await.unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}");
    let passed = said.split(" passed").next().unwrap();
    let passed = passed.rsplit(' ').next().unwrap();
    assert!(passed.parse::<usize>().unwrap() > 50, "{said}");
}

/// An instance in a directory, and how it is reached.
struct Home {
    place: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self {
            place: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, content: &str) -> String {
        text(&secret_file(&self.place.path().join(name), content).unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.place.path().join("instance")
    }

    fn init(&self, more: &[&str], env: &[(&str, &str)]) -> Ran {
        let password = self.file("admin.password", ADMIN.1);
        let dir = text(&self.dir());
        let mut command = binary().command(["init", "--dir", &dir]);
        command.args(["--admin-password-file", &password]);
        if !more.contains(&"--admin") {
            command.args(["--admin", ADMIN.0]);
        }
        command.args(more);
        command.envs(env.iter().copied());
        ran(command)
    }

    fn run(&self, command: &str, env: &[(&str, &str)]) -> Ran {
        let config = text(&self.dir().join("ems.toml"));
        let words = command.split(' ').chain(["--config", &config]);
        let mut command = binary().command(words);
        command.envs(env.iter().copied());
        ran(command)
    }
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// A password as it stands in an address: letters, digits and '-'.
fn encoded(password: &str) -> String {
    password.replace('-', "%2D")
}

fn csv() -> Body {
    let rows = "meter_id,timestamp,energy_consumption\n\
                m-1,2013-02-01T00:00:00Z,1.5\nm-1,2013-02-02T00:00:00Z,2.5\n";
    Body {
        format: Format::Csv,
        coding: Coding::Identity,
        bytes: rows.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_makes_serves_and_verifies_an_instance_as_users_of_their_roles() {
    let set = ReplicaSet::start().await;
    let accounts = set.with_roles().await;
    let home = Home::new();
    // The service's address without its password, which comes as the guide has it.
    let whole = set.uri_of(&accounts.ems, "ems");
    let bare = whole.replacen(&format!(":{}@", encoded(accounts.ems.password())), "@", 1);
    assert_ne!(whole, bare);
    let service = home.file("service.uri", &bare);
    let owner = home.file("owner.uri", &set.uri_of(&accounts.owner, "ems"));
    let password = ("MONGODB_PASSWORD", accounts.ems.password());
    let file = home.file("password", accounts.ems.password());
    let password_file = ("MONGODB_PASSWORD_FILE", &*file);
    let flags = ["--store", "mongo", "--mongo-uri-file", &service];
    let all = [&flags[..], &["--mongo-owner-uri-file", &owner]].concat();
    let made = home.init(&all, &[password]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let dir = home.dir();
    assert_eq!(mode(&dir.join("secrets/mongo_uri")), 0o600);
    assert!(!dir.join("keyring").exists() && !dir.join("data").exists());
    let shown = home.run("config show", &[password]);
    assert!(
        shown.stdout.contains("backend = \"mongo\""),
        "{}",
        shown.stdout
    );
    assert!(!shown.stdout.contains(accounts.ems.password()));

    let server = binary().serve(&dir, &[password_file]).unwrap();
    let admin = server.admin().await.unwrap();
    assert_eq!(admin.batch(csv()).await.unwrap().accepted, 2);
    assert_eq!(admin.ready().await.unwrap().status, "ready");
    // Beside the server.
    let clean = home.run("verify --json", &[password]);
    assert_eq!(clean.code, 0, "{}{}", clean.stdout, clean.stderr);
    assert_eq!(clean.json()["readings"], 2);
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);

    let server = binary().serve(&dir, &[password]).unwrap();
    let admin = server.admin().await.unwrap();
    assert_eq!(admin.batch(csv()).await.unwrap().unchanged, 2);
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
    let clean = home.run("verify --json", &[password]);
    assert_eq!((clean.code, &clean.json()["readings"]), (0, &2.into()));
    let kept = ems_testkit::files(&dir).unwrap();
    let secret = accounts.ems.password().as_bytes();
    let holds = |content: &[u8]| content.windows(secret.len()).any(|part| part == secret);
    assert!(!kept.iter().any(|(_, content)| holds(content)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_used_is_refused_with_a_line_that_says_why() {
    let (set, alone) = tokio::join!(ReplicaSet::start(), Standalone::start());
    let home = Home::new();
    let good = set.uri_of(set.admin(), "first");
    let uri = home.file("uri", &good);
    let flags = ["--store", "mongo", "--mongo-uri-file", &uri];
    let made = home.init(&flags, &[]);
    assert_eq!(made.code, 0, "{}", made.stderr);

    let password = set.admin().password();
    let wrong = good.replacen(&encoded(password), "wrong", 1);
    assert_ne!(wrong, good);
    let empty = set.uri_of(set.admin(), "empty");
    let lost = good.replacen("tlsCAFile=", "tlsCAFile=%2Fnonexistent", 1);
    for (uri, why) in [
        (&*wrong, "Authentication failed"),
        (
            "mongodb://ems:hunter2@192.0.2.1/ems",
            "must be reached by TLS",
        ),
        (
            "mongodb://ems:hunter2@192.0.2.1/ems?tls=true&tlsInsecure=true",
            "anybody pass for the database",
        ),
        (&alone.uri(), "standalone server"),
        (&*empty, "not initialised: run `ems init --store mongo`"),
        (&*lost, "store.mongo_uri"),
        ("mongodb://", "store.mongo_uri: has no host"),
        ("", "store.mongo_uri: is missing"),
    ] {
        for command in ["serve --listen 127.0.0.1:0", "verify"] {
            let refused = home.run(command, &[("EMS_STORE__MONGO_URI", uri)]);
            refused_with(&refused, why);
            assert!(!refused.stderr.contains("hunter2") && !refused.stderr.contains(password));
        }
    }

    // Another root key than that of the database, and a later version of it.
    let other = Home::new();
    let others = other.init(&flags, &[]);
    refused_with(&others, "is another instance's");
    let root = fs::read(home.dir().join("secrets/root.key")).unwrap();
    fs::copy(
        other.dir().join("secrets/root.key"),
        home.dir().join("secrets/root.key"),
    )
    .unwrap();
    refused_with(&home.run("verify", &[]), "is another instance's");
    fs::write(home.dir().join("secrets/root.key"), root).unwrap();
    set.set_version("first", 2).await;
    let later = home.run("verify", &[]);
    assert_eq!((later.code, later.stderr.lines().count()), (1, 1));
    let why = "the database (v) has format 2; this version reads format 1";
    assert!(later.stderr.contains(why), "{}", later.stderr);
    set.set_version("first", 1).await;
    assert_eq!(home.run("verify", &[]).code, 0);
}

fn refused_with(ran: &Ran, why: &str) {
    assert_eq!((ran.code, &*ran.stdout), (64, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn an_instance_is_not_begun_where_it_could_not_be_made() {
    let home = Home::new();
    let uri = home.file("uri", "mongodb://ems:hunter2@192.0.2.1/ems?tls=true");
    let other = home.file("other", "mongodb://owner:hunter2@192.0.2.1/other?tls=true");
    let broken = home.file("broken", "mongodb://ems:hunter/2@192.0.2.1/ems");
    let mongo = ["--store", "mongo"];
    let named = [&mongo[..], &["--mongo-uri-file", &uri]].concat();
    for (flags, why) in [
        (
            mongo.to_vec(),
            "needs --mongo-uri-file F, or EMS_STORE__MONGO_URI",
        ),
        (vec!["--mongo-uri-file", &uri], "needs --store mongo"),
        (
            [&mongo[..], &["--mongo-uri-file", &broken]].concat(),
            "percent-encoded",
        ),
        (
            [&named[..], &["--mongo-owner-uri-file", &other]].concat(),
            "different databases",
        ),
        (
            [&named[..], &["--admin", "not a name"]].concat(),
            "username",
        ),
    ] {
        let refused = home.init(&flags, &[]);
        refused_with(&refused, why);
        assert!(!home.dir().exists(), "{why}");
        assert!(!refused.stderr.contains("hunter"), "{}", refused.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_acknowledged_holds_at_the_next_request_to_another() {
    let set = ReplicaSet::start().await;
    let one = TestServer::builder().on(&set).start().await;
    let other = one.beside().unwrap();
    let admin = one.admin().await;
    let reading = |kwh: u32| json!({ "meter_id": "m-1", "timestamp": "2020-01-01T00:00:00Z", "energy_consumption": kwh });
    for round in 0..8 {
        // A key and a token that end at one server end at the other, which has just taken them.
        let made = json!({ "name": "ours", "role": "meter_reader", "meters": ["*"] });
        let made = admin.post("/api/v1/keys", &made).await.json();
        let key = other.nobody().api_key(made["key"].as_str().unwrap());
        let stored = key.post("/api/v1/data", &reading(round)).await;
        assert_eq!(stored.status, 201, "{}", stored.text());
        let path = format!("/api/v1/keys/{}", made["id"].as_str().unwrap());
        assert_eq!(admin.delete(&path).await.status, 204);
        let refused = key.get("/api/v1/data/m-1").await;
        assert_eq!(
            refused.verdict(),
            (401, "invalid_api_key".into()),
            "{round}"
        );

        let seen = admin.get("/api/v1/data/m-1").await.json();
        assert_eq!(seen["readings"][0]["energy_consumption"], f64::from(round));

        let token = one.token_for(Role::Viewer).await;
        let viewer = other.nobody().bearer(&token);
        assert_eq!(viewer.get("/api/v1/auth/me").await.status, 200);
        assert_eq!(admin.delete("/api/v1/users/viewer").await.status, 204);
        assert_eq!(viewer.get("/api/v1/auth/me").await.status, 401, "{round}");
    }
    other.stop().await.unwrap();
    one.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_told_by_ready_and_by_no_credential_that_is_wrong() {
    let set = ReplicaSet::start().await;
    let server = TestServer::builder().on(&set).start().await;
    let ready = async || {
        let ready = server.nobody().get("/ready").await;
        (ready.status, ready.json()["dependencies"]["store"].clone())
    };
    assert_eq!(ready().await, (200, json!("up")));
    (0..3).for_each(|member| set.pause(member));
    assert_eq!(ready().await, (503, json!("down")));
    // Neither of these waits for the store.
    assert_eq!(server.nobody().get("/health").await.status, 200);
    assert_eq!(server.nobody().get("/api/v1/meters").await.status, 401);
    (0..3).for_each(|member| set.resume(member));
    set.wait_for_primary().await;
    while ready().await.0 != 200 {}
    server.stop().await.unwrap();
}

/// Makes an instance that is to be filled, with the pepper of the one that fills it.
fn to_be_filled(home: &Home, name: &str, more: &[&str], pepper: &std::path::Path) -> String {
    let dir = text(&home.place.path().join(name));
    let mut command = binary().command(["init", "--no-admin", "--dir", &dir]);
    command.args(more);
    let made = ran(command);
    assert_eq!(made.code, 0, "{}", made.stderr);
    std::fs::copy(pepper, format!("{dir}/secrets/pepper")).unwrap();
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_moves_to_mongodb_and_back_whole() {
    let set = ReplicaSet::start().await;
    let accounts = set.with_roles().await;
    let home = Home::new();
    let made = home.init(&[], &[]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let server = binary().serve(&home.dir(), &[]).unwrap();
    let admin = server.admin().await.unwrap();
    assert_eq!(admin.batch(csv()).await.unwrap().accepted, 2);
    assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
    let pepper = home.dir().join("secrets/pepper");
    let service = home.file("service.uri", &set.uri_of(&accounts.ems, "ems"));
    let owner = home.file("owner.uri", &set.uri_of(&accounts.owner, "ems"));
    let on_mongo = [
        "--store",
        "mongo",
        "--mongo-uri-file",
        &service,
        "--mongo-owner-uri-file",
        &owner,
    ];
    let shared = to_be_filled(&home, "shared", &on_mongo, &pepper);
    let back = to_be_filled(&home, "back", &[], &pepper);
    for (from, to) in [(&text(&home.dir()), &shared), (&shared, &back)] {
        let moved = binary().run(["migrate", "--json", "--from", from, "--to", to]);
        assert_eq!(moved.code, 0, "{}", moved.stderr);
        let told = moved.json();
        assert_eq!(
            (&told["complete"], &told["target"]),
            (&true.into(), &told["source"])
        );
        let clean = binary().run(["verify", "--json", "--dir", to]);
        assert_eq!(clean.code, 0, "{}{}", clean.stdout, clean.stderr);
        assert_eq!(clean.json()["readings"], 2);
        let server = binary().serve(to.as_ref(), &[]).unwrap();
        let client = server.client().unwrap();
        let admin = client.logged_in(ADMIN.0, ADMIN.1).await.unwrap();
        assert_eq!(admin.batch(csv()).await.unwrap().unchanged, 2);
        assert_eq!(server.stop(Signal::TERM).unwrap(), 0);
    }
}
