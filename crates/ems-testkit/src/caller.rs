//! Someone who calls a server, with a credential or without; and what comes back.

use anyhow::{Context, Result};
use bytes::Bytes;
use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;

/// Someone who calls. Every method panics where the server does not answer at all: in a test that
/// is a failure.
#[derive(Debug, Clone)]
pub struct Caller {
    client: Client,
    base: String,
    credentials: Vec<(&'static str, String)>,
}

impl Caller {
    pub(crate) fn new(client: Client, base: String) -> Self {
        Self {
            client,
            base,
            credentials: Vec::new(),
        }
    }

    /// The same with an access token besides what it has.
    #[must_use]
    pub fn bearer(mut self, token: &str) -> Self {
        self.credentials
            .push(("authorization", format!("Bearer {token}")));
        self
    }

    /// The same with an API key besides what it has.
    #[must_use]
    pub fn api_key(mut self, key: &str) -> Self {
        self.credentials.push(("x-api-key", key.to_owned()));
        self
    }

    /// The same, as a proxy forwards it of a client: for servers that trust 127.0.0.1.
    #[must_use]
    pub fn forwarded_for(mut self, client: &str) -> Self {
        self.credentials
            .push(("x-forwarded-for", client.to_owned()));
        self
    }

    /// A request to a path, to be changed before it goes.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let request = self.client.request(method, format!("{}{path}", self.base));
        self.credentials
            .iter()
            .fold(request, |request, (name, value)| {
                request.header(*name, value)
            })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request("DELETE", path)).await
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request("POST", path).json(body)).await
    }

    /// PUT of JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request("PUT", path).json(body)).await
    }

    /// PATCH of JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request("PATCH", path).json(body)).await
    }

    /// POST of a body as it is.
    pub async fn send(
        &self,
        path: &str,
        media_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let request = self.request("POST", path).header(CONTENT_TYPE, media_type);
        Answer::of(request.body(body)).await
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Sends a request and reads what comes back.
    ///
    /// # Panics
    /// Where there is no answer.
    #[expect(clippy::panic, reason = "a server that does not answer fails the test")]
    pub async fn of(request: RequestBuilder) -> Self {
        match Self::read(request).await {
            Ok(answer) => answer,
            Err(error) => panic!("no answer: {error:#}"),
        }
    }

    async fn read(request: RequestBuilder) -> Result<Self> {
        let answer = request.send().await.context("send")?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.context("read the body")?;
        Ok(Self {
            status: status.as_u16(),
            headers,
            body,
        })
    }

    /// Whether it is a success.
    pub fn is_success(&self) -> bool {
        StatusCode::from_u16(self.status).is_ok_and(|status| status.is_success())
    }

    /// Its body as text, what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The `code` of a problem; empty where it is none.
    pub fn code(&self) -> String {
        self.json()
            .get("code")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }

    /// A header field; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Status and code.
    pub fn verdict(&self) -> (u16, String) {
        (self.status, self.code())
    }

    /// Every entry of `errors`, as (index, pointer, code).
    pub fn faults(&self) -> Vec<(Option<u64>, String, String)> {
        let errors = self.json();
        let errors = errors
            .get("errors")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let text = |error: &Value, name: &str| {
            error
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        errors
            .iter()
            .map(|error| {
                let index = error.get("index").and_then(Value::as_u64);
                (index, text(error, "pointer"), text(error, "code"))
            })
            .collect()
    }
}
