//! What an answer says of the window that its request fell into (draft-ietf-httpapi-ratelimit-headers).

use ems_guard::limit::Rate;
use http::{HeaderMap, HeaderName, HeaderValue};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Puts the fields that tell of a window on an answer. One that tells of another window, which was
/// full, keeps those.
pub(crate) fn put(rate: &Rate, headers: &mut HeaderMap) {
    for (name, text) in [
        (RATE_LIMIT, rate.rate_field()),
        (RATE_LIMIT_POLICY, rate.policy_field()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.entry(name).or_insert(value);
        }
    }
}
