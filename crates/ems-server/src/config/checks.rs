//! What must hold between settings, and the bounds of single ones.
//!
//! A setting that this build cannot honour is refused here too: one that is silently ignored may
//! be an open door.

use std::time::Duration;

use ems_core::policy::TABLE;
use ems_crypto::tls::ServerIdentity;
use ems_guard::inspect::{CATEGORIES, rule};
use ems_store::shared::redis_fits;
use ipnet::IpNet;

use super::{
    ConfigErrors, MongoUri, notify,
    settings::{Backend, Guard, Server, Settings, TlsMode},
};

/// Ranges nobody on the Internet can send from (RFC 1918, 6598, 3927, 4193, 4291; loopback).
const PRIVATE: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];
/// Ranges for documentation (RFC 5737, 3849), which nobody sends from either.
const DOCUMENTATION: [&str; 4] = [
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001:db8::/32",
];
/// The highest threshold of the guard.
const MOST_COUNTED: u64 = 10_000;
/// The longest time in which failures count, and for which an address is shut out the first time.
const LONGEST_GUARDED: Duration = Duration::from_hours(24);
/// The longest life of an access token.
const LONGEST_ACCESS: Duration = Duration::from_hours(24);

/// Checks the settings, each by itself and against one another.
pub(super) fn settings(settings: &Settings, errors: &mut ConfigErrors) {
    server(&settings.server, errors);
    bounds(settings, errors);
    bodies(settings, errors);
    tokens(settings, errors);
    root_key(settings, errors);
    super::sso::check(&settings.sso, errors);
    match settings.store.backend {
        Backend::Embedded => embedded(settings, errors),
        Backend::Mongo => mongo(settings, errors),
    }
    shared(settings, errors);
    notify::check(settings, errors);
}

fn server(server: &Server, errors: &mut ConfigErrors) {
    let loopback = server.listen.ip().to_canonical().is_loopback();
    if server.tls == TlsMode::Off && !loopback && !server.behind_proxy {
        errors.add(
            "server.tls",
            "is \"off\" on an address that others reach: listen on 127.0.0.1, or set \
             server.behind_proxy = true if a proxy in front ends TLS",
        );
    }
    if server.tls == TlsMode::On {
        for (key, path) in [("server.cert", &server.cert), ("server.key", &server.key)] {
            if path.is_none() {
                errors.add(
                    key,
                    "TLS is on and needs it: name the PEM file (`ems init` makes one)",
                );
            }
        }
    }
    for network in &server.trusted_proxies {
        if is_public(network) {
            errors.add(
                "server.trusted_proxies",
                format!(
                    "{network} is a public range, from which strangers could claim any address: name your \
                     proxies one by one, or a private network of theirs"
                ),
            );
        }
    }
    if server.proxy_protocol && server.trusted_proxies.is_empty() {
        errors.add(
            "server.trusted_proxies",
            "is empty while server.proxy_protocol = true: no connection could be taken",
        );
    }
    if server.metrics_listen == Some(server.listen) && server.listen.port() != 0 {
        errors.add(
            "server.metrics_listen",
            "is the address of the API: choose another port",
        );
    }
}

/// Whether others than the operator's own machines can send from a network: a public one, unless it
/// is a single address.
fn is_public(network: &IpNet) -> bool {
    let ours = PRIVATE
        .iter()
        .chain(&DOCUMENTATION)
        .filter_map(|range| range.parse::<IpNet>().ok())
        .any(|range| range.contains(network));
    !ours && network.prefix_len() < network.max_prefix_len()
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Single settings and their least and greatest value.
fn bounds(settings: &Settings, errors: &mut ConfigErrors) {
    counts(settings, errors);
    thresholds(&settings.guard, errors);
    allow_rules(&settings.guard, errors);
    sizes(settings, errors);
    times(settings, errors);
}

fn counts(settings: &Settings, errors: &mut ConfigErrors) {
    let server = &settings.server;
    let count = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    for (key, value, least, greatest) in [
        (
            "server.max_connections",
            count(server.max_connections),
            1,
            1_000_000,
        ),
        ("server.max_streams", server.max_streams.into(), 1, 10_000),
        (
            "server.header_fields",
            count(server.header_fields),
            16,
            1_000,
        ),
        (
            "guard.threshold",
            settings.guard.threshold.into(),
            1,
            all_rules(),
        ),
        ("log.keep", settings.log.keep.into(), 1, 10_000),
        (
            "network.ssh_port",
            settings.network.ssh_port.into(),
            1,
            65_535,
        ),
    ] {
        if !(least..=greatest).contains(&value) {
            errors.add(key, format!("is {value}; it may be {least} to {greatest}"));
        }
    }
}

/// The score of a request in which every rule finds something: a threshold above is never reached.
fn all_rules() -> u64 {
    let rules = CATEGORIES.iter().flat_map(|category| category.rules);
    rules.map(|rule| u64::from(rule.score)).sum()
}

/// Rules and routes that are allowed have to be there, or nothing is.
fn allow_rules(guard: &Guard, errors: &mut ConfigErrors) {
    for allow in &guard.allow_rules {
        if rule(&allow.rule).is_none() {
            let why = format!(
                "'{}' is no rule: docs/reference/rules.md has them",
                allow.rule
            );
            errors.add("guard.allow_rules", why);
        }
        let route = allow.route.as_deref();
        if route.is_some_and(|route| TABLE.iter().all(|row| row.path != route)) {
            let why = format!("'{}' is no route", route.unwrap_or_default());
            errors.add("guard.allow_rules", why);
        }
    }
}

/// The thresholds of the guard. What is too high would be no threshold, and 0 says so better; one
/// that a single mistake reaches would shut everybody out.
fn thresholds(guard: &Guard, errors: &mut ConfigErrors) {
    for (key, limit, least) in [
        ("guard.failed_logins", guard.failed_logins, 1),
        ("guard.ban_score", guard.ban_score, 1),
        ("guard.many_accounts", guard.many_accounts, 2),
        ("guard.many_addresses", guard.many_addresses, 2),
        ("guard.burst_401", guard.burst_401, 2),
        ("guard.burst_403", guard.burst_403, 2),
        ("guard.burst_404", guard.burst_404, 2),
        ("guard.key_networks", guard.key_networks, 1),
        ("guard.scope_probes", guard.scope_probes, 2),
        ("guard.proxy_principals", guard.proxy_principals, 2),
        ("guard.reading_jump", guard.reading_jump, 2),
    ] {
        let fits = |value| (least..=MOST_COUNTED).contains(&value);
        if let Some(value) = limit.get().filter(|value| !fits(*value)) {
            errors.add(
                key,
                format!("is {value}; it may be {least} to {MOST_COUNTED}, or 0 for never"),
            );
        }
    }
    for (key, span) in [
        ("guard.failed_login_window", guard.failed_login_window),
        ("guard.block_time", guard.block_time),
    ] {
        if span.get() > LONGEST_GUARDED {
            errors.add(key, format!("is {span}; it may be 24h at most"));
        }
    }
}

fn sizes(settings: &Settings, errors: &mut ConfigErrors) {
    let server = &settings.server;
    let store = &settings.store;
    for (key, size, least, greatest) in [
        ("server.header_bytes", server.header_bytes, 4 * KIB, MIB),
        ("server.uri_bytes", server.uri_bytes, KIB, 64 * KIB),
        (
            "store.checkpoint_bytes",
            store.checkpoint_bytes,
            MIB,
            KIB * MIB,
        ),
        (
            "store.key_cache_bytes",
            store.key_cache_bytes,
            64 * KIB,
            KIB * MIB,
        ),
        (
            "log.rotate_bytes",
            settings.log.rotate_bytes,
            64 * KIB,
            16 * KIB * MIB,
        ),
    ] {
        if !(least..=greatest).contains(&size.get()) {
            let (least, greatest) = (super::ByteSize::new(least), super::ByteSize::new(greatest));
            errors.add(key, format!("is {size}; it may be {least} to {greatest}"));
        }
    }
}

fn times(settings: &Settings, errors: &mut ConfigErrors) {
    let server = &settings.server;
    for (key, span) in [
        ("server.handshake_timeout", server.handshake_timeout),
        ("server.header_timeout", server.header_timeout),
        ("server.body_idle_timeout", server.body_idle_timeout),
        ("server.write_timeout", server.write_timeout),
        ("server.idle_timeout", server.idle_timeout),
        ("server.drain_timeout", server.drain_timeout),
        ("auth.access_ttl", settings.auth.access_ttl),
        ("auth.session_ttl", settings.auth.session_ttl),
        (
            "guard.failed_login_window",
            settings.guard.failed_login_window,
        ),
        ("guard.block_time", settings.guard.block_time),
    ] {
        if span.limit().is_none() {
            errors.add(key, "is zero: a time is needed here");
        }
    }
}

fn bodies(settings: &Settings, errors: &mut ConfigErrors) {
    let limits = &settings.limits;
    if server_target_exceeds_head(&settings.server) {
        errors.add(
            "server.uri_bytes",
            "is more than server.header_bytes, which it is part of",
        );
    }
    for (key, size) in [
        ("limits.expanded_bytes", limits.expanded_bytes),
        ("limits.inflight_bytes", limits.inflight_bytes),
    ] {
        let below = match (size.limit(), limits.body_bytes.limit()) {
            (Some(size), Some(body)) => size < body,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if below {
            errors.add(
                key,
                "is less than limits.body_bytes: one such body could never pass",
            );
        }
    }
}

fn server_target_exceeds_head(server: &Server) -> bool {
    server.uri_bytes > server.header_bytes
}

fn tokens(settings: &Settings, errors: &mut ConfigErrors) {
    let auth = &settings.auth;
    if auth.access_ttl.get() > LONGEST_ACCESS {
        errors.add(
            "auth.access_ttl",
            format!("is {}; 24h at most", auth.access_ttl),
        );
    } else if auth.session_ttl < auth.access_ttl {
        errors.add(
            "auth.session_ttl",
            "is less than auth.access_ttl: tokens would outlive their session",
        );
    }
    for (key, text) in [
        ("auth.issuer", &auth.issuer),
        ("auth.audience", &auth.audience),
    ] {
        if text.trim().is_empty() {
            errors.add(
                key,
                "is empty: tokens of other systems could not be told from ours",
            );
        }
    }
}

fn embedded(settings: &Settings, errors: &mut ConfigErrors) {
    let store = &settings.store;
    if store.keyring_dir.starts_with(&store.dir) || store.dir.starts_with(&store.keyring_dir) {
        errors.add(
            "store.keyring_dir",
            "must be apart from store.dir: keys kept with the data could not be destroyed without it",
        );
    }
    if let Some(file) = &store.root_key_file
        && (file.starts_with(&store.dir) || file.starts_with(&store.keyring_dir))
    {
        errors.add(
            "store.root_key_file",
            "lies within store.dir or store.keyring_dir: whoever copies those would have the key",
        );
    }
}

fn mongo(settings: &Settings, errors: &mut ConfigErrors) {
    match &settings.store.mongo_uri {
        None => errors.add(
            "store.mongo_uri",
            "is missing, and store.backend is \"mongo\": name the file that holds it in \
             store.mongo_uri_file or EMS_STORE__MONGO_URI_FILE",
        ),
        Some(uri) => {
            if let Err(fault) = MongoUri::parse(uri.expose()) {
                errors.add("store.mongo_uri", fault);
            }
        }
    }
}

fn shared(settings: &Settings, errors: &mut ConfigErrors) {
    let shared = &settings.shared;
    if let Some(url) = &shared.redis_url
        && let Err(fault) = redis_fits(url.expose(), shared.ca_file.as_deref())
    {
        errors.add(fault.setting, fault.why);
    }
}

fn root_key(settings: &Settings, errors: &mut ConfigErrors) {
    let store = &settings.store;
    if store.root_key_file.is_some() && store.root_key_credential.is_some() {
        errors.add(
            "store.root_key_credential",
            "is set, and so is store.root_key_file: keep one",
        );
    }
}

/// Checks that certificate and key can be read, belong together, and that nobody else reads the key.
pub(super) fn certificate(server: &Server, errors: &mut ConfigErrors) {
    let (TlsMode::On, Some(cert), Some(key)) = (server.tls, &server.cert, &server.key) else {
        return;
    };
    if let Err(error) = ServerIdentity::load(cert, key) {
        let named = match &error {
            ems_crypto::Error::Mode { path, .. }
            | ems_crypto::Error::Io { path, .. }
            | ems_crypto::Error::Certificate { path, .. }
                if path == key =>
            {
                "server.key"
            }
            _ => "server.cert",
        };
        errors.add(named, error.to_string());
    }
}
