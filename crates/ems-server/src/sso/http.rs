//! How the provider is spoken to: briefly, to the address that was named and no further, and with
//! an answer that is read only so far.

use std::time::Duration;

use http::{Request, Response};
use reqwest::{Client, redirect::Policy};

use crate::config::Sso;

/// The most that a request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const MOST: usize = 256 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no answer: {0}")]
    Transport(#[from] reqwest::Error),
    #[error("an answer of more than 256 KiB")]
    TooLong,
    #[error("an answer that is none: {0}")]
    Form(#[from] http::Error),
}

/// A client for one provider. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http(Client);

impl Http {
    pub(super) fn new(sso: &Sso) -> Result<Self, String> {
        let client = Client::builder()
            .timeout(PATIENCE)
            .redirect(Policy::none())
            .no_proxy();
        let client = match sso.authorities()? {
            Some(authorities) => client.tls_certs_only(authorities),
            None => client,
        };
        let client = client.build().map_err(|error| error.to_string())?;
        Ok(Self(client))
    }

    pub(super) async fn send(
        self,
        request: Request<Vec<u8>>,
    ) -> Result<Response<Vec<u8>>, Failure> {
        let request = reqwest::Request::try_from(request)?;
        let mut answer = self.0.execute(request).await?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MOST {
                return Err(Failure::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body)?)
    }
}
