//! What can go wrong between a client and a server.

use std::time::Duration;

use reqwest::{Response, header};

use crate::{ErrorCode, Problem, problem::MEDIA_TYPE};

/// What a request came to instead of an answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused it, and said why.
    #[error("{}", said(.problem))]
    Refused {
        /// Why.
        problem: Box<Problem>,
        /// When to come again, where the server said so.
        retry_after: Option<Duration>,
    },
    /// The server was not reached, or the connection broke. Whether it did what was asked is not
    /// known.
    #[error("no answer: {}", innermost(.0))]
    Transport(#[from] reqwest::Error),
    /// An answer that this API does not give.
    #[error("the answer is not one of this API: {0}")]
    Unexpected(String),
    /// A request that cannot be made.
    #[error("{0}")]
    Setup(String),
}

/// What the client gives.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The code of a refusal.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { problem, .. } => Some(problem.code),
            _ => None,
        }
    }

    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { problem, .. } => Some(problem.status),
            _ => None,
        }
    }
}

/// A refusal in one line: what was wrong, and with which field.
fn said(problem: &Problem) -> String {
    let mut text = problem.detail.clone();
    for error in problem.errors.iter().take(3) {
        let place = if error.pointer.is_empty() {
            String::new()
        } else {
            format!("{}: ", error.pointer.trim_start_matches('/'))
        };
        text = format!("{text}; {place}{}", error.detail);
    }
    format!("{text} ({} {})", problem.status, problem.code.as_str())
}

/// The cause at the bottom, which says more than those above it.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    let place = error.url().map_or_else(String::new, |url| {
        format!(" from {}", url.origin().ascii_serialization())
    });
    format!("{cause}{place}")
}

/// The answer, unless it is a refusal.
pub(super) async fn refusal(response: Response) -> Result<Response> {
    let status = response.status();
    if status.as_u16() < 400 {
        return Ok(response);
    }
    let header = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let retry_after = header(header::RETRY_AFTER)
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let is_problem = header(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with(MEDIA_TYPE));
    let body = response.bytes().await?;
    let problem = is_problem
        .then(|| serde_json::from_slice(&body).ok())
        .flatten();
    match problem {
        Some(problem) => Err(Error::Refused {
            problem: Box::new(problem),
            retry_after,
        }),
        None => Err(Error::Unexpected(format!(
            "status {status} without a problem document"
        ))),
    }
}
