//! The settings as types: a struct for each section of `config/ems.default.toml`, field for field.
//!
//! What a key means is said once, in the comments of that file; here is its type. Settings that
//! come out of [`Settings::load`](super::Settings::load) have passed every check, so nobody asks again.

use std::{fmt, net::SocketAddr, path::PathBuf};

use ems_core::role::Role;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use super::notify::{AlertRule, Alerts, Channel, Ship, ShippedLog};
use super::{
    sso::Sso,
    units::{ByteSize, Limit, Timespan},
};

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The listener.
    pub server: Server,
    /// How much one caller may ask for.
    pub limits: Limits,
    /// Who callers are.
    pub auth: Auth,
    /// Single sign-on.
    pub sso: Sso,
    /// What readings are taken.
    pub readings: Readings,
    /// Attacks and what follows.
    pub guard: Guard,
    /// State that several processes share.
    pub shared: Shared,
    /// Where everything is kept.
    pub store: Store,
    /// The logs.
    pub log: Log,
    /// Firewall rules and outbound calls.
    pub network: Network,
    /// Who is told of security events.
    pub alerts: Alerts,
    /// Where the logs are shipped.
    pub ship: Ship,
}

/// `[server]`: where requests come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Server {
    pub listen: SocketAddr,
    pub tls: TlsMode,
    #[serde(with = "blank")]
    pub cert: Option<PathBuf>,
    #[serde(with = "blank")]
    pub key: Option<PathBuf>,
    pub behind_proxy: bool,
    pub trusted_proxies: Vec<IpNet>,
    pub proxy_protocol: bool,
    #[serde(with = "blank")]
    pub metrics_listen: Option<SocketAddr>,
    pub admin_socket: PathBuf,
    pub handshake_timeout: Timespan,
    pub header_timeout: Timespan,
    pub body_idle_timeout: Timespan,
    pub body_min_rate: ByteSize,
    pub body_grace: Timespan,
    pub write_timeout: Timespan,
    pub write_min_rate: ByteSize,
    pub idle_timeout: Timespan,
    pub drain_timeout: Timespan,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub max_streams: u32,
    pub header_bytes: ByteSize,
    pub header_fields: usize,
    pub uri_bytes: ByteSize,
}

/// `server.tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// TLS 1.2 and 1.3.
    On,
    /// Plain HTTP.
    Off,
}

/// `[limits]`: how much one caller may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Limits {
    pub key_per_hour: Limit,
    pub address_per_hour: Limit,
    pub user_per_hour: Limit,
    pub readings_per_hour: Limit,
    pub batch_rows: Limit,
    pub body_bytes: ByteSize,
    pub expanded_bytes: ByteSize,
    pub anonymous_body_bytes: ByteSize,
    pub inflight_bytes: ByteSize,
}

/// `[auth]`: who callers are, and how they prove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Auth {
    pub algorithm: Algorithm,
    pub access_ttl: Timespan,
    pub session_ttl: Timespan,
    pub require_mfa: bool,
    pub key_file_role: Role,
    pub issuer: String,
    pub audience: String,
    #[serde(with = "blank")]
    pub token_key_file: Option<PathBuf>,
    #[serde(with = "blank")]
    pub pepper_file: Option<PathBuf>,
    #[serde(with = "blank")]
    pub api_keys_file: Option<PathBuf>,
    pub key_overlap: Timespan,
}

/// `auth.algorithm`: the signature of access tokens (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// `[readings]`: what readings are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Readings {
    pub clock_skew: Timespan,
    pub auto_register: bool,
    pub new_meters_per_hour: Limit,
    pub correction_window: Timespan,
}

/// `[guard]`: attacks and what follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Guard {
    pub inspection: Inspection,
    pub threshold: u32,
    pub allow_rules: Vec<AllowRule>,
    pub ban_allow: Vec<IpNet>,
    pub failed_logins: Limit,
    pub failed_login_window: Timespan,
    pub block_time: Timespan,
    pub ban_score: Limit,
    pub many_accounts: Limit,
    pub many_addresses: Limit,
    pub burst_401: Limit,
    pub burst_403: Limit,
    pub burst_404: Limit,
    pub key_networks: Limit,
    pub scope_probes: Limit,
    pub proxy_principals: Limit,
    pub reading_jump: Limit,
}

/// One of `guard.allow_rules`: a rule that does not count, on a route and in a field where they are
/// named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct AllowRule {
    pub rule: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// `guard.inspection`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inspection {
    /// Attacks are refused.
    Block,
    /// Attacks are logged.
    Detect,
    /// Nothing is looked at.
    Off,
}

/// `[shared]`: state that several processes share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Shared {
    #[serde(with = "blank")]
    pub redis_url: Option<SecretUrl>,
    #[serde(with = "blank")]
    pub ca_file: Option<PathBuf>,
}

/// `[store]`: where everything is kept, and the keys it is sealed under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Store {
    pub backend: Backend,
    pub dir: PathBuf,
    #[serde(with = "blank")]
    pub mongo_uri: Option<SecretUrl>,
    #[serde(with = "blank")]
    pub root_key_file: Option<PathBuf>,
    #[serde(with = "blank")]
    pub root_key_credential: Option<String>,
    pub keyring_dir: PathBuf,
    pub checkpoint_bytes: ByteSize,
    pub key_cache_bytes: ByteSize,
    pub reserve_bytes: ByteSize,
}

/// `store.backend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In this process, in `store.dir`.
    Embedded,
    /// In MongoDB, at `store.mongo_uri`.
    Mongo,
}

/// `[log]`: `security.log`, `audit.log` and stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Log {
    pub dir: PathBuf,
    pub format: LogFormat,
    pub level: Level,
    pub rotate_bytes: ByteSize,
    pub keep: u32,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// The security guide's field names.
    Guide,
    /// The Open Cybersecurity Schema Framework.
    Ocsf,
}

/// `log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are the levels of every logger")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// The name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// `[network]`: firewall rules and outbound calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Network {
    pub ssh_port: u16,
    pub api_from: Vec<IpNet>,
    pub db_from: Vec<IpNet>,
    pub restricted: bool,
}

/// A URL that may hold a password; shown and serialised without it.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The whole URL, for the driver that connects.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            return f.write_str("***");
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A password may itself hold '/', unescaped by mistake: the last '@' of the whole decides.
        let Some((user_info, place)) = rest.rsplit_once('@') else {
            return write!(f, "{scheme}://{}", rest.get(..end).unwrap_or_default());
        };
        let user = user_info.split(':').next().unwrap_or_default();
        let place = place.split(['?', '#']).next().unwrap_or_default();
        write!(f, "{scheme}://{user}:***@{place}")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<String> for SecretUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<SecretUrl> for String {
    fn from(url: SecretUrl) -> Self {
        url.to_string()
    }
}

impl std::str::FromStr for SecretUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// An optional value in a file without null: `""` is none.
pub(super) mod blank {
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[expect(clippy::ref_option, reason = "the signature that serde's `with` calls")]
    pub(in crate::config) fn serialize<T: Serialize, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => value.serialize(serializer),
            None => serializer.serialize_str(""),
        }
    }

    pub(in crate::config) fn deserialize<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: std::fmt::Display>,
        D: Deserializer<'de>,
    {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://:hunter2@cache:6379/1", "redis://:***@cache:6379/1"),
            (
                "mongodb://ems:a/b@c@db1,db2/ems?tls=true",
                "mongodb://ems:***@db1,db2/ems",
            ),
            ("redis://cache/?password=hunter2", "redis://cache"),
            ("hunter2", "***"),
        ] {
            let url = SecretUrl::from(url.to_owned());
            assert_eq!(format!("{url} {url:?}"), format!("{shown} {shown}"));
        }
    }
}
