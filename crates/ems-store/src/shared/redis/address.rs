//! The address of Redis: read at start, so that what is wrong with it is said there.

use std::{net::IpAddr, path::Path};

use ems_crypto::tls::{TlsConnector, client_speaking};
use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion, RedisConnectionInfo,
};

/// What is wrong with a setting. Shows nothing of the URL: what is misplaced in it may be the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {why}")]
pub struct RedisUnfit {
    /// `shared.redis_url` or `shared.ca_file`.
    pub setting: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// Whether an address can be one, and is of TLS with a known authority unless it is this machine's.
///
/// # Errors
/// What is wrong.
pub fn redis_fits(url: &str, ca_file: Option<&Path>) -> Result<(), RedisUnfit> {
    let (secure, info) = read(url)?;
    if !secure && !is_here(&info) {
        return Err(unfit(
            "shared.redis_url",
            "is of another machine and without TLS: use rediss://",
        ));
    }
    if secure && ca_file.is_none() {
        return Err(unfit(
            "shared.ca_file",
            "is missing, and shared.redis_url asks for TLS: name the PEM file of the authority that \
             signed the server's certificate",
        ));
    }
    Ok(())
}

/// Where Redis is and how one logs in there.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Option<TlsConnector>,
    pub(super) login: RedisConnectionInfo,
}

impl Address {
    /// Reads a URL, and the authorities of a `rediss://` one.
    pub(super) fn parse(url: &str, ca_file: Option<&Path>) -> Result<Self, RedisUnfit> {
        redis_fits(url, ca_file)?;
        let (secure, info) = read(url)?;
        let ConnectionAddr::Tcp(host, port) = info.addr() else {
            return Err(unfit("shared.redis_url", "names no host"));
        };
        let login = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let trust = |file| {
            let trusting = client_speaking(file, &[]);
            trusting.map_err(|error| unfit("shared.ca_file", error.to_string()))
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: *port,
            tls: ca_file.filter(|_| secure).map(trust).transpose()?,
            login,
        })
    }
}

/// Whether a URL asks for TLS, and the rest of it.
fn read(url: &str) -> Result<(bool, ConnectionInfo), RedisUnfit> {
    let (secure, rest) = match url.split_once("://") {
        Some(("redis", rest)) => (false, rest),
        Some(("rediss", rest)) => (true, rest),
        _ => {
            return Err(unfit(
                "shared.redis_url",
                "does not begin with redis:// or rediss://",
            ));
        }
    };
    // The driver has TLS of its own or none, and this is ours.
    let info = format!("redis://{rest}").into_connection_info();
    let why = "is not redis://user:password@host:port/database, with whatever is special in a \
               password percent-encoded";
    Ok((secure, info.map_err(|_| unfit("shared.redis_url", why))?))
}

/// Whether it is on this machine.
fn is_here(info: &ConnectionInfo) -> bool {
    let ConnectionAddr::Tcp(host, _) = info.addr() else {
        return false;
    };
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn unfit(setting: &'static str, why: impl Into<String>) -> RedisUnfit {
    let why = why.into();
    RedisUnfit { setting, why }
}
