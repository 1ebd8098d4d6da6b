//! The one place where an error becomes a status (RFC 9457).
//!
//! A handler returns a [`Problem`]; the outermost layer writes it out with the request's id and
//! logs its cause, once. The cause is for the log alone: no answer names what is inside.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use ems_api::{
    ErrorCode, InputError,
    problem::{MAX_ERRORS, MEDIA_TYPE},
};
use ems_core::{Fault, meter::MeterId};
use ems_guard::{AuthFault, journal::Violation, limit::Rate};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::{middleware, sso};

/// Seconds after which a client may try again what was not available.
const RETRY_SECONDS: &str = "5";

/// A refusal or a failure, on its way to the outermost layer.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: ErrorCode,
    detail: Cow<'static, str>,
    errors: Vec<InputError>,
    truncated: bool,
    headers: HeaderMap,
    cause: Option<String>,
    violation: Option<Violation>,
    probe: Option<Probe>,
}

/// An attempt on what is outside the caller's scope, with the meter if one was named.
#[derive(Debug, Clone)]
pub struct Probe(pub Option<String>);

/// The status of a code.
pub fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Malformed | ErrorCode::InvalidParameter | ErrorCode::AmbiguousCredentials => {
            StatusCode::BAD_REQUEST
        }
        ErrorCode::InvalidCredentials | ErrorCode::InvalidApiKey | ErrorCode::OtpRequired => {
            StatusCode::UNAUTHORIZED
        }
        ErrorCode::InsufficientPermissions | ErrorCode::OutOfScope | ErrorCode::RequestBlocked => {
            StatusCode::FORBIDDEN
        }
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        ErrorCode::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::Conflict => StatusCode::CONFLICT,
        ErrorCode::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::UriTooLong => StatusCode::URI_TOO_LONG,
        ErrorCode::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorCode::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The code that a bare status stands for, when something below us answered with no more than it.
pub fn code_of(status: StatusCode) -> ErrorCode {
    ErrorCode::ALL
        .into_iter()
        .find(|code| self::status(*code) == status)
        .unwrap_or(if status.is_client_error() {
            ErrorCode::Malformed
        } else {
            ErrorCode::Internal
        })
}

/// The violation that a code stands for. Forged credentials are logged where they are refused.
fn violation(code: ErrorCode) -> Option<Violation> {
    match code {
        ErrorCode::InsufficientPermissions => Some(Violation::PermissionDenied),
        ErrorCode::OutOfScope => Some(Violation::OutOfScope),
        ErrorCode::RateLimited => Some(Violation::RateLimitExceeded),
        _ => None,
    }
}

/// The short sentence of a code, in the security guide's words where it has some.
fn sentence(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidCredentials => "Invalid authentication credentials",
        ErrorCode::InvalidApiKey => "Invalid API key",
        ErrorCode::InsufficientPermissions => "Insufficient permissions",
        ErrorCode::RequestBlocked => "Request blocked",
        ErrorCode::RateLimited => "Rate limit exceeded",
        other => other.title(),
    }
}

impl Problem {
    /// A problem that says no more than its code does.
    pub fn new(code: ErrorCode) -> Self {
        Self::with_detail(code, sentence(code))
    }

    /// A problem with what was wrong with this very request.
    pub fn with_detail(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut headers = HeaderMap::new();
        match status(code) {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
            }
            _ => {}
        }
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            truncated: false,
            headers,
            cause: None,
            violation: violation(code),
            probe: (code == ErrorCode::OutOfScope).then_some(Probe(None)),
        }))
    }

    /// A body that is not well-formed.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::with_detail(ErrorCode::Malformed, detail)
    }

    /// A query parameter that cannot be meant, named.
    pub fn parameter(name: &str, why: &str) -> Self {
        let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        Self::with_detail(
            ErrorCode::InvalidParameter,
            format!("query parameter '{name}': {why}"),
        )
    }

    /// Nothing here, or nothing that the caller may see.
    pub fn not_found() -> Self {
        Self::with_detail(ErrorCode::NotFound, "There is nothing here")
    }

    /// A meter that the caller may not see: as if there were none.
    pub fn hidden(meter: &MeterId) -> Self {
        Self::not_found().probing(meter)
    }

    /// The same as an attempt on a meter outside the caller's scope.
    #[must_use]
    pub fn probing(mut self, meter: &MeterId) -> Self {
        self.0.probe = Some(Probe(Some(meter.as_str().to_owned())));
        self
    }

    /// A body that parses and breaks these rules.
    pub fn invalid(faults: Vec<Fault>) -> Self {
        let errors = faults
            .into_iter()
            .map(|fault| input_error(fault, None))
            .collect();
        Self::invalid_rows(errors, false)
    }

    /// A body whose rows break these rules. `truncated`: they are not all.
    pub fn invalid_rows(mut errors: Vec<InputError>, truncated: bool) -> Self {
        let mut problem = Self::with_detail(
            ErrorCode::InvalidRequest,
            "The body breaks the rules that 'errors' names",
        );
        problem.0.truncated = truncated || errors.len() > MAX_ERRORS;
        errors.truncate(MAX_ERRORS);
        problem.0.errors = errors;
        problem
    }

    /// A fault of ours. `cause` goes to the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::with_detail(
            ErrorCode::Internal,
            "The server failed; the fault is logged",
        )
        .caused_by(cause)
    }

    /// A dependency is down. `cause` goes to the log.
    pub fn unavailable(cause: impl Into<String>) -> Self {
        Self::with_detail(
            ErrorCode::Unavailable,
            "Not available at the moment; nothing was stored",
        )
        .caused_by(cause)
    }

    /// A cursor that we did not make, or made for another list or caller.
    pub fn forged_cursor() -> Self {
        let mut problem = Self::parameter("cursor", "is not a cursor of this list");
        problem.0.violation = Some(Violation::ForgedCursor);
        problem
    }

    /// A route that the policy does not know.
    pub fn unlisted_route() -> Self {
        let mut problem = Self::new(ErrorCode::InsufficientPermissions);
        problem.0.violation = Some(Violation::UnlistedRoute);
        problem
    }

    /// A window, of requests or of readings, is full; `window` says whose or what of, for the log.
    pub fn rate_limited(rate: &Rate, window: &'static str) -> Self {
        // What alone is beyond the bound gets in at no time; an hour is when to ask again.
        let seconds = rate.retry_after_seconds().unwrap_or(3600);
        let mut problem = Self::new(ErrorCode::RateLimited);
        problem
            .0
            .headers
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        middleware::put_rate(rate, &mut problem.0.headers);
        problem.caused_by(window)
    }

    /// The same with a cause for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The same with a header field.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Its code.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// What was wrong with the request.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What it is in `security.log`, beside a request that failed.
    pub fn violation(&self) -> Option<Violation> {
        self.0.violation
    }

    /// The attempt on what is outside the caller's scope, if it was one.
    pub fn probe(&self) -> Option<Probe> {
        self.0.probe.clone()
    }

    /// Why, for the log.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The document as it goes out.
    pub fn document(&self, request_id: &str) -> ems_api::Problem {
        let code = self.0.code;
        ems_api::Problem {
            kind: format!("/docs#{}", code.as_str()),
            title: code.title().to_owned(),
            status: status(code).as_u16(),
            detail: self.0.detail.clone().into_owned(),
            code,
            request_id: request_id.to_owned(),
            error: sentence(code).to_owned(),
            errors: self.0.errors.clone(),
            errors_truncated: self.0.truncated,
        }
    }

    /// The answer as it goes out.
    pub fn render(&self, request_id: &str) -> Response {
        let body = serde_json::to_vec(&self.document(request_id)).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = status(self.0.code);
        response.headers_mut().extend(self.0.headers.clone());
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}

/// A fault as `errors` has it.
pub fn input_error(fault: Fault, index: Option<u64>) -> InputError {
    InputError {
        pointer: fault.pointer,
        code: fault.code.as_str().to_owned(),
        detail: fault.detail,
        index,
    }
}

impl IntoResponse for Problem {
    /// A response that carries the problem to the outermost layer, which renders it.
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = status(self.0.code);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ems_store::Error> for Problem {
    fn from(error: ems_store::Error) -> Self {
        match error {
            ems_store::Error::Conflict { .. } => Self::with_detail(
                ErrorCode::Conflict,
                "It was changed by another request at the same time; read it again",
            ),
            ems_store::Error::NameTaken => Self::with_detail(
                ErrorCode::Conflict,
                "The Idempotency-Key was used for another request",
            ),
            other => {
                let mut problem = Self::unavailable(other.to_string());
                if matches!(other, ems_store::Error::Damaged { .. }) {
                    problem.0.violation = Some(Violation::DamagedData);
                }
                problem
            }
        }
    }
}

impl From<ems_guard::Error> for Problem {
    fn from(error: ems_guard::Error) -> Self {
        use ems_guard::Error;
        match error {
            Error::Auth(AuthFault::CodeRequired) => Self::new(ErrorCode::OtpRequired),
            Error::Auth(fault) => {
                Self::new(ErrorCode::InvalidCredentials).caused_by(fault.as_str())
            }
            Error::Invalid(faults) => Self::invalid(faults),
            Error::Taken => Self::with_detail(ErrorCode::Conflict, "The name is taken"),
            Error::LastAdmin => Self::with_detail(
                ErrorCode::Conflict,
                "The last admin cannot be removed, disabled or demoted",
            ),
            Error::NotRotatable => {
                Self::with_detail(ErrorCode::Conflict, "The key was rotated or revoked before")
            }
            Error::Enrolled => Self::with_detail(
                ErrorCode::Conflict,
                "There is a second factor already; give it up first",
            ),
            Error::NotPending => Self::with_detail(
                ErrorCode::Conflict,
                "No second factor waits to be confirmed; ask for one first",
            ),
            Error::FactorRequired => Self::with_detail(
                ErrorCode::InsufficientPermissions,
                "The settings ask this account for a second factor",
            ),
            Error::External => Self::with_detail(
                ErrorCode::Conflict,
                "The account logs in by single sign-on: its password and second factor are there",
            ),
            Error::NotFound => Self::not_found(),
            Error::Spared => Self::with_detail(
                ErrorCode::Conflict,
                "The settings say that this address is never shut out",
            ),
            Error::NoSession => {
                Self::new(ErrorCode::InsufficientPermissions).caused_by("the caller has no session")
            }
            Error::Store(error) => error.into(),
            other => Self::unavailable(other.to_string()),
        }
    }
}

impl From<sso::Fault> for Problem {
    fn from(fault: sso::Fault) -> Self {
        let cause = fault.to_string();
        match fault {
            sso::Fault::Over(_) | sso::Fault::Unproven(_) => {
                Self::new(ErrorCode::InvalidCredentials).caused_by(cause)
            }
            sso::Fault::NoAccess(..) => {
                Self::new(ErrorCode::InsufficientPermissions).caused_by(cause)
            }
            sso::Fault::Unavailable(_) => Self::unavailable(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ems_core::FaultCode;

    #[test]
    fn names_at_most_a_hundred_faults_and_says_that_there_are_more() {
        let fault = Fault::new("/a", FaultCode::WrongType, "a text");
        let document = Problem::invalid(vec![fault.clone(); 100]).document("r");
        assert_eq!(
            (document.errors.len(), document.errors_truncated),
            (100, false)
        );
        let document = Problem::invalid(vec![fault; 101]).document("r");
        assert_eq!(
            (document.errors.len(), document.errors_truncated),
            (100, true)
        );
    }

    #[test]
    fn an_answer_never_shows_its_cause() {
        let problem = Problem::unavailable("/var/lib/ems/journal: Input/output error");
        let document = serde_json::to_string(&problem.document("r")).unwrap();
        assert!(!document.contains("/var/lib"), "{document}");
        assert_eq!(problem.render("r").headers()[header::RETRY_AFTER], "5");
    }

    #[test]
    fn a_refused_credential_says_what_the_guide_says() {
        let document = Problem::new(ErrorCode::InvalidCredentials).document("r");
        assert_eq!(document.detail, "Invalid authentication credentials");
        assert_eq!(document.error, document.detail);
        assert_eq!(document.status, 401);
        let limited = Problem::new(ErrorCode::RateLimited).document("r");
        assert_eq!(
            (limited.status, &*limited.error),
            (429, "Rate limit exceeded")
        );
    }
}
