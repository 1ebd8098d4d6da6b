//! Whose request it is, when proxies stand between: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Anyone may write these headers, so they are read from the right, the end that our own proxies
//! wrote, and only as long as the hop that vouches for the next one is trusted. The first address
//! that is not ours is the client; whatever stands left of it is hearsay.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header::FORWARDED};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// More hops than any real chain; what follows is not looked at.
const MOST_HOPS: usize = 32;

/// The client's address: the rightmost that is not a trusted proxy's.
///
/// An entry that is no address (`unknown`, `_hidden`, garbage) ends the walk at the hop that wrote
/// it. So do two headers that disagree, since a proxy that writes one passes the other through from
/// whoever sent it. IPv4 within IPv6 comes out as IPv4.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let standard = headers.contains_key(FORWARDED).then(|| {
        let elements = entries(headers, FORWARDED, |value| split(value, ','));
        walk(peer, elements.map(forwarded_for), trusted)
    });
    let common = headers.contains_key(X_FORWARDED_FOR).then(|| {
        // Quotes mean nothing here: one that a client leaves open must not swallow what follows.
        let elements = entries(headers, X_FORWARDED_FOR, |value| value.split(',').collect());
        walk(peer, elements.map(address), trusted)
    });
    match (standard, common) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(client), _) | (None, Some(client)) => client,
        (None, None) => peer,
    }
}

/// Whether an address is within one of the trusted networks.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// Goes from hop to hop, rightmost first, while each is trusted.
fn walk(peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> IpAddr {
    let mut current = peer;
    for hop in hops.take(MOST_HOPS) {
        let Some(address) = hop else { break };
        current = address;
        if !is_trusted(current, trusted) {
            break;
        }
    }
    current
}

/// The entries of a list header, the last first. A value that is not text is one garbage entry.
fn entries<'h>(
    headers: &'h HeaderMap,
    name: HeaderName,
    split: fn(&'h str) -> Vec<&'h str>,
) -> impl Iterator<Item = &'h str> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    values
        .into_iter()
        .rev()
        .flat_map(move |value| split(value).into_iter().rev())
        .map(str::trim)
}

/// Splits at a separator outside of quotes (RFC 9110 §5.6.4: `\` takes the next character as it is).
/// Where a quote stays open, the last part is empty: whoever left it open would have a proxy's entry,
/// which stands behind it, read as a part of their own.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        } else if c == separator && !quoted {
            parts.push(text.get(start..at).unwrap_or_default());
            start = at + c.len_utf8();
        }
    }
    let last = text.get(start..).filter(|_| !quoted);
    parts.push(last.unwrap_or_default());
    parts
}

/// The `for` parameter of a `Forwarded` element, if it is one address.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element, ';') {
        let (name, value) = pair.trim().split_once('=')?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?;
    let bare = value
        .strip_prefix('"')
        .map_or(Some(value), |rest| rest.strip_suffix('"'))?;
    address(bare)
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip = match bracketed {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => text
            .parse::<IpAddr>()
            .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()))
            .ok()?,
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests;
