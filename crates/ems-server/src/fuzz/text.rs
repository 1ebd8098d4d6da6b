//! Fuzz targets: texts that clients and operators write. No cursor opens that was not sealed, no client
//! names its own address, no document or setting makes its reader fall.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use ems_crypto::{hash::IndexKey, seal::DataKey};
use ems_fuzz::{Input, linear};
use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;

use crate::{
    config::{Environment, Settings},
    cursor::Binding,
    forwarded::client_address,
    query::Query,
    strict::{Json, Object},
};

/// The proxies that are ours, nearest to the client first.
const PROXIES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3)),
];
/// Where requests come from.
const CLIENTS: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)),
];
const COMMON: HeaderName = HeaderName::from_static("x-forwarded-for");

/// How a proxy says for whom it speaks.
#[derive(Clone, Copy)]
enum Habit {
    /// `Forwarded`, behind what is there, or in a field of its own.
    Standard { joined: bool },
    /// `X-Forwarded-For`, in the same two ways.
    Common { joined: bool },
}

/// Cursors: a text opens only where it is, to the letter, what was sealed for the very list.
///
/// # Panics
/// Where that does not hold.
pub fn cursor(data: &[u8]) {
    static KEY: LazyLock<IndexKey> =
        LazyLock::new(|| IndexKey::derive(&DataKey::from_bytes([3; 32]), "cursor"));
    let mut input = Input::new(data);
    let kind = input.byte();
    let list = Binding::new("/api/v1/meters", "alice").with([kind]);
    let text = if kind.is_multiple_of(2) {
        String::from_utf8_lossy(input.rest()).into_owned()
    } else {
        let (at, flip) = (usize::from(input.byte()), input.byte());
        let position = input.rest();
        let sealed = list.seal(&KEY, position);
        let opened = list.open(&KEY, &sealed);
        assert!(opened.as_deref() == Some(position) || sealed.len() > 256);
        let mut bytes = sealed.into_bytes();
        let at = at % bytes.len();
        bytes
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte ^= flip);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    if let Some(position) = list.open(&KEY, &text) {
        assert_eq!(list.seal(&KEY, &position), text);
        for other in ["bob", "alic", ""] {
            let other = Binding::new("/api/v1/meters", other).with([kind]);
            assert_eq!(other.open(&KEY, &text), None);
        }
    }
    let query = String::from_utf8_lossy(data);
    linear(query.as_bytes(), |text| {
        let text = String::from_utf8_lossy(text);
        if let Ok(mut query) = Query::parse(&text) {
            let _ = (query.limit(1, 10), query.many("meter_id"), query.finish());
        }
    });
}

/// A request through proxies of ours. The first byte says how many, what each writes, and who asks;
/// the lines that follow are header fields of the client's own. The address that is found is the
/// client's, or a proxy's where it cannot be told: never one that the client alone said.
///
/// # Panics
/// Where that does not hold.
pub fn forwarded(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let mut headers = HeaderMap::new();
    let Some(client) = input.pick(&CLIENTS) else {
        return;
    };
    while let Some(line) = input.line() {
        let (name, value) = match line.split_first() {
            Some((b'x', value)) => (COMMON, value),
            Some((_, value)) => (FORWARDED, value),
            None => continue,
        };
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name, value);
        }
    }
    let trusted: Vec<IpNet> = PROXIES.iter().map(|proxy| IpNet::from(*proxy)).collect();
    assert_eq!(client_address(client, &headers, &trusted), client);
    let joined = kind & 4 == 0;
    let habit = if kind & 8 == 0 {
        Habit::Standard { joined }
    } else {
        Habit::Common { joined }
    };
    let hops = usize::from(kind & 3).clamp(1, PROXIES.len());
    let mut from = client;
    let mut peer = client;
    for proxy in PROXIES.iter().take(hops) {
        forward(&mut headers, from, habit);
        (from, peer) = (*proxy, *proxy);
    }
    let found = client_address(peer, &headers, &trusted);
    let known = found == client || PROXIES.iter().take(hops).any(|proxy| *proxy == found);
    assert!(known, "{found} is hearsay: {headers:?}");
}

/// What a proxy adds that was asked by somebody.
fn forward(headers: &mut HeaderMap, from: IpAddr, habit: Habit) {
    let standard = match from {
        IpAddr::V4(from) => format!("for={from};proto=https"),
        IpAddr::V6(from) => format!("for=\"[{from}]\""),
    };
    let (name, said, joined) = match habit {
        Habit::Standard { joined } => (FORWARDED, standard, joined),
        Habit::Common { joined } => (COMMON, from.to_string(), joined),
    };
    let mut values: Vec<HeaderValue> = headers.get_all(&name).iter().cloned().collect();
    match values.last_mut() {
        Some(last) if joined => {
            let both = [last.as_bytes(), b", ", said.as_bytes()].concat();
            if let Ok(both) = HeaderValue::from_bytes(&both) {
                *last = both;
            }
        }
        _ => values.extend(HeaderValue::from_str(&said)),
    }
    headers.remove(&name);
    for value in values {
        headers.append(name.clone(), value);
    }
}

/// A JSON document of the API: read as an object or refused, each field once, in linear time; what is
/// read agrees with another parser.
///
/// # Panics
/// Where that does not hold.
pub fn document(data: &[u8]) {
    linear(data, |data| {
        let _ = Object::parse(data).map(|object| object.finish(Some(())));
    });
    let other = serde_json::from_slice::<serde_json::Value>(data);
    let Ok(value) = Json::parse(data) else {
        let deep = data.iter().filter(|byte| b"[{".contains(byte)).count() > 120;
        assert!(other.is_err() || deep, "another parser takes it");
        return;
    };
    // Another parser counts depth in another way.
    assert!(other.as_ref().is_ok_and(|other| is_same(&value, other)) || other.is_err());
    if let (Json::Object(fields), Ok(mut object)) = (&value, Object::parse(data)) {
        let names: BTreeSet<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        assert!(names.iter().all(|name| object.has(name)) || names.len() < fields.len());
        for name in &names {
            object.optional(name, Ok);
        }
        let repeated = names.len() < fields.len();
        assert_eq!(object.finish(Some(())).is_err(), repeated);
    }
}

fn is_same(one: &Json, other: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (one, other) {
        (Json::Null, Value::Null) | (Json::Number, Value::Number(_)) => true,
        (Json::Bool(one), Value::Bool(other)) => one == other,
        (Json::Text(one), Value::String(other)) => one == other,
        (Json::List(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| is_same(one, other))
        }
        // Of a name that is repeated the other parser keeps the last.
        (Json::Object(one), Value::Object(other)) => other.iter().all(|(name, value)| {
            let last = one.iter().rev().find(|(known, _)| known == name);
            last.is_some_and(|(_, one)| is_same(one, value))
        }),
        _ => false,
    }
}

/// Settings, `section.key=value` a line as flags say them: refused, or sound and shown as TOML that
/// reads as TOML.
///
/// # Panics
/// Where that does not hold.
pub fn settings(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let flags: Vec<(String, String)> = text
        .lines()
        .take(8)
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    if let Ok(settings) = Settings::read(None, &Environment::default(), &flags) {
        let shown = settings.redacted_toml();
        assert!(
            shown
                .parse::<toml::Table>()
                .is_ok_and(|table| !table.is_empty())
        );
    }
}
