//! A server of a test: made, served, stopped.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use ems_api::SecretText;
use ems_core::role::Role;
use ems_crypto::random;
use ems_server::{
    app::SystemClock,
    config::{Environment, Settings},
    instance::{self, Database, NewStore},
    roles,
    serve::Server,
};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Caller, TestClock,
    mongo::{ReplicaSet, in_database},
};

/// The first admin of every test server, and its password.
pub const ADMIN: (&str, &str) = ("root", "correct horse battery staple");

/// Settings of every test server: a port of its own, no limits, and nobody is shut out.
const SETTINGS: [(&str, &str); 8] = [
    ("server.listen", "127.0.0.1:0"),
    ("server.metrics_listen", "127.0.0.1:0"),
    ("limits.key_per_hour", "0"),
    ("limits.address_per_hour", "0"),
    ("limits.user_per_hour", "0"),
    ("readings.new_meters_per_hour", "0"),
    ("guard.failed_logins", "0"),
    ("guard.ban_score", "0"),
];

/// The variable that has every server of a process keep its data on a replica set: the connection
/// string of an account with the role `root`. Each gets a database of its own.
pub const MONGO_URI: &str = "EMS_TEST_MONGO_URI";

/// A server to be.
#[derive(Debug, Default)]
pub struct Builder {
    settings: Vec<(String, String)>,
    mongo: Option<String>,
    embedded: bool,
}

impl Builder {
    /// Sets `section.key`, as an environment variable would.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Has it keep its data on a replica set, in a database of its own.
    #[must_use]
    pub fn on(mut self, set: &ReplicaSet) -> Self {
        self.mongo = Some(set.uri(set.admin()));
        self
    }

    /// Has it keep its data in its directory, whatever [`MONGO_URI`] says: for what only that can do.
    #[must_use]
    pub fn embedded(mut self) -> Self {
        self.embedded = true;
        self
    }

    /// Makes the instance and serves it.
    ///
    /// # Panics
    /// Where that fails: a test cannot go on.
    #[expect(clippy::panic, reason = "a server that does not start fails the test")]
    pub async fn start(self) -> TestServer {
        match self.try_start().await {
            Ok(server) => server,
            Err(error) => panic!("the server did not start: {error:#}"),
        }
    }

    async fn try_start(self) -> Result<TestServer> {
        let place = tempfile::tempdir()?;
        let dir = place.path().join("instance");
        let password = SecretText::new(ADMIN.1.to_owned());
        let (admin, clock) = (Some((ADMIN.0, &password)), Arc::new(SystemClock));
        instance::create(&dir, admin, clock, &self.store()).await?;
        self.serve(place, Arc::new(TestClock::new()))
    }

    fn store(&self) -> NewStore {
        let env = Environment::read();
        let uri = self.mongo.as_deref().or_else(|| env.get(MONGO_URI));
        let Some(uri) = uri.filter(|_| !self.embedded) else {
            return NewStore::Embedded;
        };
        let database = format!("ems_{}", random::base62(12));
        NewStore::Mongo(Database {
            uri: SecretText::new(in_database(uri, &database)),
            owner: None,
            env: Environment::default(),
        })
    }

    fn serve(self, place: TempDir, clock: Arc<TestClock>) -> Result<TestServer> {
        let dir = place.path().join("instance");
        let ours = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let settings: Vec<_> = ours
            .into_iter()
            .chain(self.settings.iter().cloned())
            .collect();
        let file = dir.join(instance::FILE);
        let loaded = Settings::load(Some(&file), &Environment::default(), &settings)?;
        let server = Server::bind(loaded, roles::Role::All, clock.clone())?;
        let (address, metrics) = (server.local_addr()?, server.metrics_addr());
        let ca = fs::read(dir.join("tls/ca.pem"))?;
        let client = trusting(&ca)?;
        let stop = CancellationToken::new();
        let run = tokio::spawn(server.run(stop.clone(), None));
        Ok(TestServer {
            builder: self,
            place,
            address,
            metrics,
            ca,
            client,
            clock,
            stop,
            run,
        })
    }
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct TestServer {
    builder: Builder,
    place: TempDir,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    ca: Vec<u8>,
    client: Client,
    clock: Arc<TestClock>,
    stop: CancellationToken,
    run: JoinHandle<ems_server::Result<()>>,
}

impl TestServer {
    /// A server with no limits.
    pub async fn start() -> Self {
        Builder::default().start().await
    }

    /// A server with other settings.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it answers: `https://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are.
    pub fn metrics_url(&self) -> Option<String> {
        Some(format!("http://{}/metrics", self.metrics?))
    }

    /// The authority that signed its certificate.
    pub fn ca_pem(&self) -> &[u8] {
        &self.ca
    }

    /// The directory of its instance.
    pub fn dir(&self) -> PathBuf {
        self.place.path().join("instance")
    }

    /// Its clock.
    pub fn clock(&self) -> &TestClock {
        &self.clock
    }

    /// An HTTP client that trusts it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Someone without a credential.
    pub fn nobody(&self) -> Caller {
        Caller::new(self.client.clone(), self.base_url())
    }

    /// The first admin, logged in.
    pub async fn admin(&self) -> Caller {
        self.nobody().bearer(&self.log_in(ADMIN.0, ADMIN.1).await)
    }

    /// A new session's access token.
    ///
    /// # Panics
    /// Where the login is refused.
    pub async fn log_in(&self, username: &str, password: &str) -> String {
        let tokens = self.tokens(username, password).await;
        text(&tokens, "access_token")
    }

    /// A new session, as the login answers.
    ///
    /// # Panics
    /// Where the login is refused.
    pub async fn tokens(&self, username: &str, password: &str) -> Value {
        let body = json!({ "username": username, "password": password });
        let answer = self.nobody().post("/api/v1/auth/token", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// An access token of a user of the role, who is made at the first time and sees all meters.
    pub async fn token_for(&self, role: Role) -> String {
        let name = role.as_str();
        let mut user = json!({ "username": name, "password": ADMIN.1, "role": name });
        if role.needs_meters()
            && let Some(fields) = user.as_object_mut()
        {
            fields.insert("meters".to_owned(), json!(["*"]));
        }
        let made = self.admin().await.post("/api/v1/users", &user).await;
        assert!(matches!(made.status, 201 | 409), "{}", made.text());
        self.log_in(name, ADMIN.1).await
    }

    /// Someone of the role who sees all meters.
    pub async fn user(&self, role: Role) -> Caller {
        self.nobody().bearer(&self.token_for(role).await)
    }

    /// A new API key of the role for some meters.
    pub async fn key_for(&self, role: Role, meters: &[&str]) -> String {
        let key = json!({ "name": "A test's", "role": role.as_str(), "meters": meters });
        let made = self.admin().await.post("/api/v1/keys", &key).await;
        assert_eq!(made.status, 201, "{}", made.text());
        text(&made.json(), "key")
    }

    /// Drains and closes it; what stays is the directory.
    ///
    /// # Errors
    /// What failed while it ran or closed.
    pub async fn stop(self) -> Result<TempDir> {
        self.stop.cancel();
        self.run.await.context("the server panicked")??;
        Ok(self.place)
    }

    /// Another server of the same instance, as on another machine: a port, a directory and logs of its
    /// own, and the same secrets, store and clock. The store has to be one that several share.
    ///
    /// # Errors
    /// What failed while it started.
    pub fn beside(&self) -> Result<Self> {
        let place = tempfile::tempdir()?;
        let (from, to) = (self.dir(), place.path().join("instance"));
        for (path, _) in files(&from)? {
            let copy = to.join(path.strip_prefix(&from)?);
            fs::create_dir_all(copy.parent().unwrap_or(&to))?;
            fs::copy(&path, copy)?;
        }
        for empty in ["run", "log"] {
            fs::create_dir_all(to.join(empty))?;
        }
        let builder = Builder {
            settings: self.builder.settings.clone(),
            ..Builder::default()
        };
        builder.serve(place, Arc::clone(&self.clock))
    }

    /// Stops it and serves the same instance again, on another port.
    ///
    /// # Errors
    /// What failed while it stopped or started.
    pub async fn restart(self) -> Result<Self> {
        self.stop.cancel();
        self.run.await.context("the server panicked")??;
        self.builder.serve(self.place, self.clock)
    }
}

/// Every file below a directory, with its content.
///
/// # Errors
/// What cannot be read.
pub fn files(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.is_file() {
            let content = fs::read(&path)?;
            found.push((path, content));
        }
    }
    Ok(found)
}

/// An HTTP client that trusts an authority and no other.
pub(crate) fn trusting(ca: &[u8]) -> Result<Client> {
    let authorities = Certificate::from_pem_bundle(ca)?;
    Ok(Client::builder()
        .tls_certs_only(authorities)
        .no_proxy()
        .build()?)
}

fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn serves_over_tls_and_keeps_what_it_took_across_a_restart() {
        let server = TestServer::start().await;
        let health = server.nobody().get("/health").await;
        assert_eq!(
            (health.status, health.json()),
            (200, json!({ "status": "healthy" }))
        );
        let token = server.token_for(Role::Viewer).await;
        let server = server.restart().await.unwrap();
        let me = server.nobody().bearer(&token).get("/api/v1/auth/me").await;
        assert_eq!((me.status, &me.json()["name"]), (200, &json!("viewer")));
        server.stop().await.unwrap();
    }
}
