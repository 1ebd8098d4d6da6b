//! The problem document (RFC 9457) and the stable codes of everything that can be refused.
//!
//! `error` is the security guide's short sentence, kept beside `title` and `detail` for clients
//! that were written against the guide.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that is a refusal or a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", example = "/docs#invalid_request")]
    pub kind: String,
    /// What the code means, in a few words.
    #[schema(example = "The request breaks a rule")]
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599, example = 422)]
    pub status: u16,
    /// What was wrong with this very request.
    pub detail: String,
    /// The stable name of the kind of problem.
    pub code: ErrorCode,
    /// The request, as in `X-Request-Id`.
    pub request_id: String,
    /// One short sentence.
    pub error: String,
    /// The broken rules of an input, at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 100)]
    pub errors: Vec<InputError>,
    /// Whether more rules were broken than `errors` names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub errors_truncated: bool,
}

/// The most entries of `errors`.
pub const MAX_ERRORS: usize = 100;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputError {
    /// Where, as a JSON pointer (RFC 6901) into the body or the row; empty for the whole.
    #[schema(example = "/energy_consumption")]
    pub pointer: String,
    /// Which rule.
    #[schema(example = "out_of_range")]
    pub code: String,
    /// Why, for a person.
    pub detail: String,
    /// The row of a batch, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
}

/// The kinds of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The body is not well-formed.
    Malformed,
    /// A query parameter, or a cursor, that cannot be meant.
    InvalidParameter,
    /// More than one credential.
    AmbiguousCredentials,
    /// No valid user credential.
    InvalidCredentials,
    /// No valid API key.
    InvalidApiKey,
    /// A right password, beside which a one-time code is asked for.
    OtpRequired,
    /// A valid credential that does not carry the permission.
    InsufficientPermissions,
    /// A write outside the caller's meters.
    OutOfScope,
    /// An attack, or an address that is blocked.
    RequestBlocked,
    /// Nothing here, or nothing that the caller may see.
    NotFound,
    /// A method that the route does not have.
    MethodNotAllowed,
    /// No media type that both sides know.
    NotAcceptable,
    /// The body did not come in time.
    RequestTimeout,
    /// A taken name, or a change that crossed another.
    Conflict,
    /// A body past its limit.
    PayloadTooLarge,
    /// A target past its limit.
    UriTooLong,
    /// A media type or coding that is not taken here.
    UnsupportedMediaType,
    /// A body that parses and breaks a rule.
    InvalidRequest,
    /// A window is full.
    RateLimited,
    /// A request head past its limits.
    HeadersTooLarge,
    /// A fault of ours.
    Internal,
    /// A dependency is down, or the server drains.
    Unavailable,
}

impl ErrorCode {
    /// All of them, by status.
    pub const ALL: [Self; 22] = [
        Self::Malformed,
        Self::InvalidParameter,
        Self::AmbiguousCredentials,
        Self::InvalidCredentials,
        Self::InvalidApiKey,
        Self::OtpRequired,
        Self::InsufficientPermissions,
        Self::OutOfScope,
        Self::RequestBlocked,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::InvalidRequest,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Unavailable,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// What it means, in a few words.
    pub fn title(self) -> &'static str {
        self.facts().1
    }

    const fn facts(self) -> (&'static str, &'static str) {
        match self {
            Self::Malformed => ("malformed", "The body is not well-formed"),
            Self::InvalidParameter => ("invalid_parameter", "A query parameter cannot be meant"),
            Self::AmbiguousCredentials => ("ambiguous_credentials", "More than one credential"),
            Self::InvalidCredentials => ("invalid_credentials", "No valid credential"),
            Self::InvalidApiKey => ("invalid_api_key", "No valid API key"),
            Self::OtpRequired => ("otp_required", "One-time code required"),
            Self::InsufficientPermissions => {
                ("insufficient_permissions", "The permission is missing")
            }
            Self::OutOfScope => ("out_of_scope", "Outside the caller's meters"),
            Self::RequestBlocked => ("request_blocked", "The request is blocked"),
            Self::NotFound => ("not_found", "Nothing here"),
            Self::MethodNotAllowed => ("method_not_allowed", "A method that is not there"),
            Self::NotAcceptable => ("not_acceptable", "No media type that both sides know"),
            Self::RequestTimeout => ("request_timeout", "The body did not come in time"),
            Self::Conflict => ("conflict", "In conflict with what is there"),
            Self::PayloadTooLarge => ("payload_too_large", "The body is too large"),
            Self::UriTooLong => ("uri_too_long", "The target is too long"),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", "A media type that is not taken")
            }
            Self::InvalidRequest => ("invalid_request", "The request breaks a rule"),
            Self::RateLimited => ("rate_limited", "Too many requests"),
            Self::HeadersTooLarge => ("headers_too_large", "The header fields are too large"),
            Self::Internal => ("internal", "A fault of the server"),
            Self::Unavailable => ("unavailable", "Not available at the moment"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_it_is_named() {
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.as_str()));
        }
    }
}
