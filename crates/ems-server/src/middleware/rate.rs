//! Rate windows on the way in, and what an answer says of them (draft-ietf-httpapi-ratelimit-headers).

use ems_guard::limit::Rate;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::exchange::Exchange;
use crate::{app::App, problem::Problem};

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

/// Notes what a window said; an answer of 429 where it is full. `kind` is for metrics and log.
pub(super) fn heed(
    app: &App,
    exchange: &mut Exchange,
    rate: Option<Rate>,
    kind: &'static str,
) -> Result<(), Problem> {
    let Some(rate) = rate else {
        return Ok(());
    };
    exchange.limited(rate);
    if rate.allowed() {
        return Ok(());
    }
    app.metrics.rate_limited(kind);
    Err(Problem::rate_limited(&rate, kind))
}
