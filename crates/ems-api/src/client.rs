//! The typed client: what the command line, the tests and the benches speak to a server with.
//!
//! One client, three ways to reach a server: over the network (TLS, trusting a given authority),
//! over the local admin socket, and within the process. It follows no redirect and uses no proxy,
//! so that a credential goes to the server that was named and nowhere else.

mod accounts;
mod alert;
mod bans;
mod error;
mod keyring;
mod readings;
mod security;
mod sessions;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use reqwest::{Certificate, Url, header};
pub use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use serde::{Serialize, de::DeserializeOwned};

pub use self::{
    error::{Error, Result},
    readings::{Body, Coding, Download, Format, Span, UsageQuery},
    security::Suspect,
};
use crate::SecretText;

/// Time to reach a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence within an answer.
const READ_TIMEOUT: Duration = Duration::from_mins(2);

/// Answers a request within the process.
pub trait InProcess: Send + Sync {
    /// Answers it.
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<Bytes>>;
}

#[derive(Clone)]
enum Transport {
    Network(reqwest::Client),
    InProcess(Arc<dyn InProcess>),
}

/// What a client proves itself with. Never shown.
#[derive(Debug, Clone, Default)]
pub enum Credential {
    /// Nothing.
    #[default]
    None,
    /// An access token, for `Authorization: Bearer`.
    Bearer(SecretText),
    /// An API key, for `X-API-Key`.
    ApiKey(SecretText),
}

/// A client of one server. Clones share their connections.
#[derive(Clone)]
pub struct Client {
    base: Url,
    transport: Transport,
    credential: Credential,
}

impl Client {
    /// A client of the server at `base`, such as `https://127.0.0.1:8000`. It trusts the
    /// authorities in `ca_pem` alone, or those of the system without it.
    pub fn new(base: &str, ca_pem: Option<&[u8]>) -> Result<Self> {
        let mut builder = builder();
        if let Some(pem) = ca_pem {
            let authorities = Certificate::from_pem_bundle(pem).map_err(|_| {
                Error::Setup("the authority's file holds no PEM certificate".into())
            })?;
            builder = builder.tls_certs_only(authorities);
        }
        Self::with(base, builder)
    }

    /// A client of the server whose admin socket lies at `path`.
    pub fn unix(path: &Path) -> Result<Self> {
        Self::with("http://localhost", builder().unix_socket(path))
    }

    /// A client of a server within the process.
    pub fn in_process(server: Arc<dyn InProcess>) -> Result<Self> {
        Ok(Self {
            base: base_url("http://localhost")?,
            transport: Transport::InProcess(server),
            credential: Credential::None,
        })
    }

    fn with(base: &str, builder: reqwest::ClientBuilder) -> Result<Self> {
        Ok(Self {
            base: base_url(base)?,
            transport: Transport::Network(builder.build()?),
            credential: Credential::None,
        })
    }

    /// The same client with another credential.
    #[must_use]
    pub fn with_credential(&self, credential: Credential) -> Self {
        Self {
            credential,
            ..self.clone()
        }
    }

    /// The same client with an access token.
    #[must_use]
    pub fn with_bearer(&self, token: &str) -> Self {
        self.with_credential(Credential::Bearer(SecretText::new(token.to_owned())))
    }

    /// The same client with an API key.
    #[must_use]
    pub fn with_api_key(&self, key: &str) -> Self {
        self.with_credential(Credential::ApiKey(SecretText::new(key.to_owned())))
    }

    /// What it proves itself with.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Where the server is.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Sends a request and hands its answer over as it is, whatever the status.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let mut url = self.base.clone();
        let (path, query) = match request.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.target.as_str(), None),
        };
        url.set_path(path);
        url.set_query(query);
        let mut made = http::Request::builder()
            .method(request.method)
            .uri(url.as_str());
        if let Some(headers) = made.headers_mut() {
            headers.extend(request.headers);
            self.prove(headers)?;
        }
        let made = made.body(request.body);
        let made = made.map_err(|error| Error::Setup(error.to_string()))?;
        match &self.transport {
            Transport::Network(network) => Ok(network.execute(made.try_into()?).await?),
            Transport::InProcess(server) => Ok(server.call(made).await.into()),
        }
    }

    fn prove(&self, headers: &mut HeaderMap) -> Result<()> {
        let (name, value) = match &self.credential {
            Credential::None => return Ok(()),
            Credential::Bearer(token) => {
                (header::AUTHORIZATION, format!("Bearer {}", token.expose()))
            }
            Credential::ApiKey(key) => (
                header::HeaderName::from_static("x-api-key"),
                key.expose().to_owned(),
            ),
        };
        let mut value = header::HeaderValue::try_from(value)
            .map_err(|_| Error::Setup("the credential holds a character it cannot have".into()))?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    }

    /// Sends a request; a status of 400 and above is [`Error::Refused`].
    pub async fn ask(&self, request: Request) -> Result<Response> {
        error::refusal(self.send(request).await?).await
    }

    /// Sends a request and reads the JSON of its answer.
    pub async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        let body = self.ask(request).await?.bytes().await?;
        serde_json::from_slice(&body).map_err(|error| Error::Unexpected(error.to_string()))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// A request: method, target, header fields, body.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// A request for a target such as `/api/v1/meters?prefix=a`, written as it goes over the wire.
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// A request for a path whose segments and query are escaped here.
    pub fn to(method: Method, segments: &[&str], query: &[(&str, &str)]) -> Result<Self> {
        let mut url = base_url("http://localhost")?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        Ok(Self::new(method, target))
    }

    /// With a header field beside those it has.
    ///
    /// # Errors
    /// [`Error::Setup`] where the value cannot be one.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self> {
        let value = header::HeaderValue::from_str(value)
            .map_err(|_| Error::Setup(format!("{name} cannot have this value")))?;
        let name = header::HeaderName::from_bytes(name.as_bytes());
        let name = name.map_err(|error| Error::Setup(error.to_string()))?;
        self.headers.append(name, value);
        Ok(self)
    }

    /// With a body as it is.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With a JSON body.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        let body = serde_json::to_vec(value).map_err(|error| Error::Setup(error.to_string()))?;
        Ok(self.header("content-type", "application/json")?.body(body))
    }
}

fn base_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| Error::Setup(format!("{text:?} is no http or https URL")))
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .user_agent(concat!("ems/", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl InProcess for Echo {
        fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, http::Response<Bytes>> {
            let key = request.headers().get("x-api-key").cloned();
            let said = format!("{} {} {key:?}", request.method(), request.uri());
            Box::pin(async move { http::Response::new(said.into()) })
        }
    }

    #[tokio::test]
    async fn escapes_a_path_and_proves_itself_without_showing_how() {
        let client = Client::in_process(Arc::new(Echo))
            .unwrap()
            .with_api_key("ems_x");
        let request = Request::to(
            Method::GET,
            &["api", "v1", "users", "a/b?"],
            &[("start", "2013-01-01T00:00:00+01:00")],
        );
        let answer = client
            .ask(request.unwrap())
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(
            answer,
            "GET http://localhost/api/v1/users/a%2Fb%3F?start=2013-01-01T00%3A00%3A00%2B01%3A00 \
             Some(Sensitive)"
        );
        assert!(!format!("{client:?} {:?}", client.credential()).contains("ems_x"));
    }

    #[test]
    fn refuses_a_base_that_is_no_http_url() {
        for base in ["", "localhost:8000", "ftp://x", "https://"] {
            assert!(
                matches!(Client::new(base, None), Err(Error::Setup(_))),
                "{base:?}"
            );
        }
    }
}
