//! Bounds on a request's head that are answered with a problem document.
//!
//! hyper has bounds of its own, above these (see `connection.rs`). What is past them, or cannot be
//! read at all, never becomes a request: `bare.rs` answers it.

use http::{HeaderMap, Uri};

use crate::config::Server;

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
    /// It is no head of HTTP/1.1: 400.
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
}
