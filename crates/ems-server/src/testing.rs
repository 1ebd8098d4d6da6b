//! An instance in a directory of its own, asked without a socket: for tests of layers and routes.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use axum::{Router, body::Body, response::Response};
use ems_store::{Batch, Commit, Outcome};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{
    admin::local,
    app::{App, SystemClock},
    config::{Environment, Loaded, Settings},
    listener::Peer,
    router::router,
};

/// The password of every user made here.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

pub(crate) struct Instance {
    pub(crate) app: Arc<App>,
    router: Router,
    _files: Files,
}

/// A directory with secrets and settings.
pub(crate) struct Files {
    dir: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let base64_of_32_zeros = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for (name, text) in [
            ("root.key", "5a".repeat(32)),
            ("token.key", format!("{base64_of_32_zeros}\n")),
            ("pepper", format!("1:{base64_of_32_zeros}\n")),
        ] {
            files.write(name, &text);
        }
        let text = "[server]\ntls = \"off\"\nmetrics_listen = \"\"\n\
            [store]\nroot_key_file = \"root.key\"\n\
            [auth]\ntoken_key_file = \"token.key\"\npepper_file = \"pepper\"\n\
            api_keys_file = \"api_keys.json\"\n";
        files.write("ems.toml", text);
        files
    }

    /// Writes a file that is its owner's alone.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The settings with these over them, as flags have them.
    pub(crate) fn load(&self, settings: &[(&str, &str)]) -> Loaded {
        let flags: Vec<(String, String)> = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Settings::load(
            Some(&self.path("ems.toml")),
            &Environment::default(),
            &flags,
        )
        .unwrap()
    }
}

struct CutOff;

#[async_trait]
impl Commit for CutOff {
    async fn commit(&self, _: Batch) -> ems_store::Result<Outcome> {
        self.fresh().await.map(|()| Outcome::default())
    }

    async fn fresh(&self) -> ems_store::Result<()> {
        Err(ems_store::Error::Unavailable("nobody answers".into()))
    }

    async fn close(&self) -> ems_store::Result<()> {
        Ok(())
    }
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }
}

impl Instance {
    /// An instance with these settings, as flags have them.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        Self::of(Files::new(), settings)
    }

    /// An instance of files that are there.
    pub(crate) fn of(files: Files, settings: &[(&str, &str)]) -> Self {
        let app = App::open(files.load(settings), Arc::new(SystemClock)).unwrap();
        Self {
            router: router(Arc::clone(&app)),
            app,
            _files: files,
        }
    }

    /// An instance whose store cannot learn what other processes committed.
    pub(crate) fn cut_off() -> Self {
        let files = Files::new();
        let app = App::open(files.load(&[]), Arc::new(SystemClock)).unwrap();
        let mut app = Arc::into_inner(app).unwrap();
        app.store.commit = Arc::new(CutOff);
        let app = Arc::new(app);
        Self {
            router: router(Arc::clone(&app)),
            app,
            _files: files,
        }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        read(self.router.clone().oneshot(request).await.unwrap()).await
    }

    /// Sends a request from an address over the network.
    pub(crate) async fn ask(
        &self,
        method_and_path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        self.ask_from("198.51.100.7", method_and_path, headers, body)
            .await
    }

    pub(crate) async fn ask_from(
        &self,
        address: &str,
        method_and_path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let (method, path) = method_and_path.split_once(' ').unwrap();
        let client = address.parse().unwrap();
        let peer = Peer {
            socket: (client, 40_000).into(),
            client,
            via_proxy: false,
            tls: false,
        };
        let mut request = Request::builder().method(method).uri(path).extension(peer);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Sends JSON.
    pub(crate) async fn ask_json(
        &self,
        method_and_path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/json"));
        self.ask(method_and_path, &headers, body.to_string()).await
    }

    /// Sends JSON as the local administrator.
    pub(crate) async fn administer(&self, method_and_path: &str, body: &Value) -> Answer {
        let (method, path) = method_and_path.split_once(' ').unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let routes = local(self.router.clone(), 0);
        read(routes.oneshot(request).await.unwrap()).await
    }

    /// Makes a user and logs it in; the `Authorization` value.
    pub(crate) async fn user(&self, name: &str, role: &str) -> String {
        let body = json!({"username": name, "password": PASSWORD, "role": role, "meters": ["*"]});
        let made = self.administer("POST /api/v1/users", &body).await;
        assert_eq!(made.status, 201, "{:?}", made.json());
        let tokens = self.log_in(name, PASSWORD).await;
        assert_eq!(tokens.status, 200, "{:?}", tokens.json());
        bearer(&tokens)
    }

    pub(crate) async fn log_in(&self, name: &str, password: &str) -> Answer {
        let body = json!({"username": name, "password": password});
        self.ask_json("POST /api/v1/auth/token", &[], &body).await
    }
}

/// The `Authorization` value of a pair of tokens.
pub(crate) fn bearer(tokens: &Answer) -> String {
    format!("Bearer {}", tokens.json()["access_token"].as_str().unwrap())
}

async fn read(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}
