//! The layer list, in order, around every handler: [`layers`] is the outermost, `serve` the rest.
//!
//! request id, client address ▸ header fields, problem document, log, metrics (on the way out) ▸
//! panic ▸ drain ▸ bounds of the head ▸ inspection ▸ what others committed ▸ credential ▸ rate window ▸
//! inspection of a stranger's body ▸ policy ▸ media type ▸ handler

mod credential;
mod exchange;
mod headers;
mod policy;
mod rate;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ems_api::ErrorCode;
use futures_util::FutureExt;
use http::request::Parts;

use self::exchange::Exchange;
pub(crate) use self::rate::put as put_rate;
use crate::{
    app::App,
    body::{self, Charge},
    caller::{Identified, Local},
    inspect,
    listener::HeadFault,
    problem::Problem,
};

/// Whatever comes in leaves as an answer of ours: with its header fields, logged and counted.
pub async fn layers(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut exchange = Exchange::begin(&app, &request);
    let served = AssertUnwindSafe(serve(&app, &mut exchange, request, next))
        .catch_unwind()
        .await;
    let answer = match served {
        Ok(answer) => answer.unwrap_or_else(IntoResponse::into_response),
        Err(_) => Problem::internal("a handler panicked").into_response(),
    };
    exchange.finish(&app, answer)
}

async fn serve(
    app: &App,
    exchange: &mut Exchange,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let (mut parts, mut body) = request.into_parts();
    match admit(app, exchange, &mut parts, &mut body).await {
        Ok(_charge) => Ok(next.run(Request::from_parts(parts, body)).await),
        Err(problem) => {
            body::discard(&parts.headers, body).await;
            Err(problem)
        }
    }
}

/// All that is asked of a request before its handler. What its body takes of the budget is held for
/// as long as what comes back.
async fn admit(
    app: &App,
    exchange: &mut Exchange,
    parts: &mut Parts,
    body: &mut Body,
) -> Result<Charge, Problem> {
    if let Some(fault) = parts.extensions.get() {
        // One that never became a request.
        return Err(head_problem(*fault));
    }
    let open = policy::is_open(exchange.route());
    if app.draining() && !open {
        return Err(Problem::unavailable("the server drains"));
    }
    app.heads
        .check(&parts.uri, &parts.headers)
        .map_err(head_problem)?;
    let local = parts.extensions.get::<Local>().is_some();
    let suspect = (!local)
        .then(|| inspect::head(app, exchange.route(), parts))
        .flatten();
    let known = if open {
        Ok(())
    } else {
        credential::identify(app, exchange, parts).await
    };
    let stranger = exchange
        .principal()
        .is_none()
        .then_some(exchange.facts().client);
    // An attack is answered as one, whatever it shows.
    inspect::heed(app, &exchange.act(), suspect, stranger).await?;
    let charge = inspected(app, exchange, parts, (body, &known)).await?;
    known?;
    policy::check(exchange, parts)?;
    parts.extensions.insert(exchange.facts().clone());
    if let Some(principal) = exchange.principal() {
        parts.extensions.insert(Identified(Arc::clone(principal)));
    }
    Ok(charge)
}

/// Judges a stranger's body before anything is said of what it shows. Known callers' are judged by
/// who reads them.
async fn inspected(
    app: &App,
    exchange: &Exchange,
    parts: &Parts,
    (body, known): (&mut Body, &Result<(), Problem>),
) -> Result<Charge, Problem> {
    let refused = known.as_ref().err().map(Problem::code);
    let looks = refused.is_none_or(|code| {
        let credential = [
            ErrorCode::InvalidCredentials,
            ErrorCode::InvalidApiKey,
            ErrorCode::AmbiguousCredentials,
        ];
        credential.contains(&code)
    });
    if !looks || exchange.principal().is_some() {
        return Ok(Charge::default());
    }
    let whole = std::mem::replace(body, Body::empty());
    let (whole, charge, suspect) = inspect::stranger(app, exchange.route(), parts, whole).await?;
    *body = whole;
    let client = exchange.facts().client;
    inspect::heed(app, &exchange.act(), suspect, Some(client)).await?;
    Ok(charge)
}

fn head_problem(fault: HeadFault) -> Problem {
    match fault {
        HeadFault::TargetTooLong => Problem::new(ErrorCode::UriTooLong),
        HeadFault::TooManyFields | HeadFault::TooLarge => Problem::new(ErrorCode::HeadersTooLarge),
        HeadFault::Unreadable => Problem::malformed("The head of the request cannot be read"),
    }
}

#[cfg(test)]
mod tests;
