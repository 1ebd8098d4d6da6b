//! Bounds on a request's head that are answered with a problem document.
//!
//! hyper has bounds of its own, above these (see `connection.rs`). What is past them, or cannot be
//! read at all, never becomes a request: `bare.rs` answers it. Nor does what can be read in two ways.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header,
    uri::{Authority, Scheme},
};

use crate::config::Server;

/// Fields of which two readers may take one each. Of credentials, too, there may be one; they have
/// an error of their own.
const SINGLE: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::EXPECT,
    HeaderName::from_static("idempotency-key"),
];

/// The bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    target: usize,
    fields: usize,
    bytes: usize,
}

/// The bound that a head is past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFault {
    /// `server.uri_bytes`: 414.
    TargetTooLong,
    /// `server.header_fields`: 431.
    TooManyFields,
    /// `server.header_bytes`: 431.
    TooLarge,
    /// It is no head of HTTP/1.1, or can be read in two ways: 400.
    Unreadable,
}

impl HeadLimits {
    /// The bounds of the settings.
    pub fn new(server: &Server) -> Self {
        Self {
            target: server.uri_bytes.in_memory(),
            fields: server.header_fields,
            bytes: server.header_bytes.in_memory(),
        }
    }

    /// Checks a head.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), HeadFault> {
        let target = uri
            .path_and_query()
            .map_or(0, |target| target.as_str().len());
        if target > self.target {
            return Err(HeadFault::TargetTooLong);
        }
        if headers.len() > self.fields {
            return Err(HeadFault::TooManyFields);
        }
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if bytes + target > self.bytes {
            return Err(HeadFault::TooLarge);
        }
        Ok(())
    }
}

/// Whether a head can be read in two ways: fields said twice, no host or two (RFC 9112 §3.2).
pub(super) fn is_ambiguous<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    let twice = |name| headers.get_all(name).iter().nth(1).is_some();
    if headers.len() > headers.keys_len() && SINGLE.iter().any(twice) {
        return true;
    }
    match headers.get(header::HOST) {
        None => request.version() == Version::HTTP_11,
        Some(host) => !is_host_of(host, request.uri()),
    }
}

/// Whether a Host field is one, and the target's own where that has one.
fn is_host_of(host: &HeaderValue, target: &Uri) -> bool {
    let Some(named) = target.authority() else {
        // Empty where the target has none to give (RFC 9110 §7.2).
        return host.is_empty() || authority(host).is_some();
    };
    let default = match target.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => 80,
        _ => 443,
    };
    let port = |of: &Authority| of.port_u16().unwrap_or(default);
    authority(host).is_some_and(|host| {
        host.host().eq_ignore_ascii_case(named.host()) && port(&host) == port(named)
    })
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_takes_what_it_says_and_no_more() {
        let limits = HeadLimits {
            target: 8,
            fields: 2,
            bytes: 20,
        };
        let check = |target: &str, fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, value.parse().unwrap());
            }
            limits.check(&target.parse().unwrap(), &headers)
        };
        assert_eq!(check("/234?678", &[]), Ok(()));
        assert_eq!(check("/234?6789", &[]), Err(HeadFault::TargetTooLong));
        assert_eq!(check("/", &[("a", "1"), ("a", "2")]), Ok(()));
        assert_eq!(
            check("/", &[("a", "1"), ("a", "2"), ("b", "")]),
            Err(HeadFault::TooManyFields)
        );
        assert_eq!(check("/2345678", &[("abcdef", "123456")]), Ok(()));
        assert_eq!(
            check("/2345678", &[("abcdef", "1234567")]),
            Err(HeadFault::TooLarge)
        );
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_told_from_a_plain_one() {
        let is_ambiguous = |target: &str, fields: &[(&str, &str)]| {
            let mut request = Request::builder().uri(target);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            is_ambiguous(&request.body(()).unwrap())
        };
        let host = ("host", "ems.example");
        for (target, fields) in [
            ("/", &[host][..]),
            ("/", &[("host", "")]),
            ("/", &[("host", "[::1]:8000")]),
            ("/", &[host, ("accept", "a/b"), ("accept", "c/d")]),
            ("https://EMS.example/", &[host]),
            ("http://ems.example:80/", &[host]),
            ("https://ems.example/", &[("host", "ems.example:443")]),
        ] {
            assert!(!is_ambiguous(target, fields), "{target} {fields:?}");
        }
        for (target, fields) in [
            ("/", &[][..]),
            ("/", &[host, host]),
            ("/", &[("host", "a b")]),
            ("/", &[("host", "a/b")]),
            ("/", &[("host", "user@ems.example")]),
            ("http://other.example/", &[host]),
            ("http://ems.example:81/", &[host]),
            ("http://ems.example/", &[("host", "")]),
            (
                "/",
                &[host, ("content-type", "a/b"), ("content-type", "a/b")],
            ),
            (
                "/",
                &[host, ("idempotency-key", "1"), ("idempotency-key", "2")],
            ),
        ] {
            assert!(is_ambiguous(target, fields), "{target} {fields:?}");
        }
    }
}
