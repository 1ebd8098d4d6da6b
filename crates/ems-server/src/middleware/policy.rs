//! May this caller do this: the policy table, asked for every request.
//!
//! A path that the table does not know is refused even where the router has a handler for it; a
//! method that it does not know of a path is 405, so that no handler without a row is reached.

use axum::extract::MatchedPath;
use ems_api::ErrorCode;
use ems_core::policy::{Need, TABLE, need};
use ems_guard::identify::Factor;
use http::{HeaderValue, header, request::Parts};

use super::exchange::Exchange;
use crate::{accept, caller::Local, problem::Problem};

/// Whether a path is outside of credentials and windows.
pub(super) fn is_open(route: &str) -> bool {
    TABLE
        .iter()
        .any(|row| row.path == route && row.need == Need::Open)
}

/// Asks the table, and whether the answer can have a form that the client takes.
pub(super) fn check(exchange: &Exchange, parts: &Parts) -> Result<(), Problem> {
    if parts.extensions.get::<MatchedPath>().is_none() {
        return Err(Problem::not_found());
    }
    let route = exchange.route();
    let Some(need) = need(exchange.method(), route) else {
        return Err(without_row(route));
    };
    let principal = exchange.principal();
    if principal.is_some_and(|caller| caller.factor == Factor::Missing) && !is_own(route) {
        return Err(Problem::with_detail(
            ErrorCode::InsufficientPermissions,
            "This account needs a second factor first: POST /api/v1/auth/mfa",
        ));
    }
    match (need, principal) {
        (Need::Open | Need::Anonymous, _) | (Need::Credential, Some(_)) => {}
        (Need::Owner, _) if parts.extensions.get::<Local>().is_some() => {}
        (Need::Credential | Need::Permission(_) | Need::Owner, None) => {
            return Err(Problem::new(ErrorCode::InvalidCredentials));
        }
        (Need::Permission(permission), Some(principal)) if principal.may(permission) => {}
        (Need::Permission(_) | Need::Owner, Some(_)) => {
            return Err(Problem::new(ErrorCode::InsufficientPermissions));
        }
    }
    accept::choose(&parts.headers, offered(route)).map(|_| ())
}

/// Whether a route is about the caller's own session and what it is proved by.
fn is_own(route: &str) -> bool {
    route.starts_with("/api/v1/auth/")
}

fn without_row(route: &str) -> Problem {
    let mut allowed: Vec<&str> = TABLE
        .iter()
        .filter(|row| row.path == route)
        .map(|row| row.method)
        .collect();
    if allowed.is_empty() {
        return Problem::unlisted_route();
    }
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(", ");
    let problem = Problem::with_detail(
        ErrorCode::MethodNotAllowed,
        format!("The methods here are {allowed}"),
    );
    match HeaderValue::from_str(&allowed) {
        Ok(value) => problem.with_header(header::ALLOW, value),
        Err(_) => problem,
    }
}

/// The media types that a route can answer in, the usual one first.
fn offered(route: &str) -> &'static [&'static str] {
    match route {
        "/docs" => &["text/html"],
        "/docs/style.css" => &["text/css"],
        "/api/v1/data/{meter_id}" => &["application/json", "text/csv", "application/x-ndjson"],
        _ => &["application/json"],
    }
}
