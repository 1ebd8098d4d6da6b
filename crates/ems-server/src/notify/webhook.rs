//! Webhooks: an alert as a signed POST. To public addresses alone unless told otherwise, with no
//! redirect followed, so that an alert makes no request within our own network.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use data_encoding::HEXLOWER;
use ems_core::time::Timestamp;
use ems_crypto::hash::Signer;
use reqwest::{Certificate, Client, Url, redirect::Policy};

use super::{
    message,
    place::{Guarded, is_public},
    spool::Waiting,
};

const USER_AGENT: &str = concat!("ems/", env!("CARGO_PKG_VERSION"));

/// A webhook's receiver.
#[derive(Clone)]
pub(crate) struct Webhook {
    url: Url,
    signer: Signer,
    client: Client,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhook")
    }
}

impl Webhook {
    /// A receiver; what is wrong with its settings otherwise.
    pub(super) fn new(
        url: &str,
        secret: &[u8],
        allow_private: bool,
        ca: Option<&Path>,
    ) -> Result<Self, String> {
        let url = checked(url, allow_private)?;
        if secret.len() < 16 {
            return Err("secret_file holds less than 16 bytes".into());
        }
        let resolver = Guarded { allow_private };
        Ok(Self {
            url,
            signer: Signer::new(secret),
            client: client(ca, Some(resolver))?,
        })
    }

    /// Scheme and host: a path or a query may hold a secret.
    pub(super) fn place(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Posts an alert; what went wrong otherwise.
    pub(super) async fn send(
        &self,
        waiting: &Waiting,
        instance: &str,
        now: Timestamp,
    ) -> Result<(), String> {
        let body = message::json(waiting, instance);
        let at = now.as_seconds().to_string();
        let signature = self.signer.sign(&[at.as_bytes(), b".", body.as_bytes()]);
        let signature = format!("t={at},v1={}", HEXLOWER.encode(&signature));
        let posted = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("x-ems-signature", signature)
            .header("x-ems-delivery", &waiting.id)
            .body(body)
            .send()
            .await;
        let answer = posted.map_err(told)?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(format!("answered {}", answer.status().as_u16()))
    }
}

/// A URL that may be called.
fn checked(text: &str, allow_private: bool) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|_| "the url is none".to_owned())?;
    let host = url.host_str().unwrap_or_default();
    let literal: Option<IpAddr> = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok();
    let here = host == "localhost" || literal.is_some_and(|address| address.is_loopback());
    if url.scheme() != "https" && !(url.scheme() == "http" && allow_private && here) {
        return Err("the url must begin with https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the url holds a user: leave it out".into());
    }
    // Names are looked at when they are resolved; an address is not resolved.
    if literal.is_some_and(|address| !is_public(address)) && !allow_private {
        return Err(
            "the url names an address that is not public, and allow_private is false".into(),
        );
    }
    Ok(url)
}

/// An HTTP client that goes where it is told and nowhere else.
pub(super) fn client(ca: Option<&Path>, resolver: Option<Guarded>) -> Result<Client, String> {
    let mut builder = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(30))
        .user_agent(USER_AGENT);
    if let Some(resolver) = resolver {
        // Each connection is made anew, so that each is looked at.
        builder = builder
            .dns_resolver(Arc::new(resolver))
            .pool_max_idle_per_host(0);
    }
    if let Some(ca) = ca {
        builder = builder.tls_certs_only(authorities(ca)?);
    }
    builder.build().map_err(|error| error.to_string())
}

fn authorities(ca: &Path) -> Result<Vec<Certificate>, String> {
    let pem = std::fs::read(ca).map_err(|error| format!("ca_file {}: {error}", ca.display()))?;
    let found = Certificate::from_pem_bundle(&pem).ok();
    found
        .filter(|found| !found.is_empty())
        .ok_or_else(|| format!("ca_file {} holds no PEM certificate", ca.display()))
}

/// An error of the client without its URL, which may hold a secret.
pub(super) fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_places_over_tls_are_called_unless_told_otherwise() {
        for url in [
            "http://hooks.example/x",
            "https://127.0.0.1/x",
            "https://2130706433/x",
            "https://[::1]/x",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest",
            "https://0x7f.1/",
            "https://user:pw@hooks.example/",
            "ftp://hooks.example/",
            "hooks",
        ] {
            assert!(checked(url, false).is_err(), "{url}");
        }
        assert!(checked("https://hooks.example/x?key=1", false).is_ok());
        for url in [
            "https://10.0.0.1/x",
            "http://127.0.0.1:1/x",
            "http://localhost/x",
        ] {
            assert!(checked(url, true).is_ok(), "{url}");
        }
        assert!(
            checked("http://10.0.0.1/x", true).is_err(),
            "plain text over a network"
        );
    }

    #[test]
    fn a_short_secret_is_refused_and_the_place_shows_no_path() {
        let new = |secret: &[u8]| Webhook::new("https://h.example:8443/k?s=1", secret, false, None);
        assert!(new(b"fifteen bytes..").unwrap_err().contains("16 bytes"));
        assert_eq!(new(&[7; 16]).unwrap().place(), "https://h.example:8443");
    }
}
