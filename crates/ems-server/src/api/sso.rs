//! Logging in by a provider of identities: going there, and coming back.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use ems_api::session::Tokens;
use ems_guard::{
    AuthFault, Error,
    sessions::{self, Means},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::auth::{attempted, counted, tokens};
use crate::{
    app::App,
    caller::Facts,
    problem::Problem,
    query::{NoQuery, Query},
    sso::{Callback, Fault, Sso},
};

/// Begins a login at the provider: sends the browser there.
#[utoipa::path(
    get, path = "/api/v1/auth/sso/login", operation_id = "beginSso", tag = "sessions",
    responses(
        (status = 302, description = "To the provider", headers(
            ("Location" = String, description = "The provider's page"),
            ("Set-Cookie" = String, description = "The login that is under way, sealed, for ten minutes"),
        )),
        (status = 404, description = "There is no single sign-on here"),
    ),
)]
pub async fn login(
    facts: Facts,
    State(app): State<Arc<App>>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let sso = app.sso.as_ref().ok_or_else(Problem::not_found)?;
    let (place, cookie) = sso.begin(facts.now).await?;
    let mut answer = StatusCode::FOUND.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::LOCATION, value(&place)?);
    headers.insert(header::SET_COOKIE, value(&cookie)?);
    Ok(answer)
}

/// Ends a login at the provider: begins a session here.
#[utoipa::path(
    get, path = "/api/v1/auth/sso/callback", operation_id = "endSso", tag = "sessions",
    params(
        ("state" = Option<String>, Query, description = "What names the login"),
        ("code" = Option<String>, Query, description = "What the provider gives tokens for"),
    ),
    responses(
        (status = 200, description = "A pair of tokens", body = Tokens),
        (status = 403, description = "Who it is has no access"),
        (status = 404, description = "There is no single sign-on here"),
        (status = 409, description = "The name is another user's"),
    ),
)]
pub async fn callback(
    facts: Facts,
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Problem> {
    let sso = app.sso.as_ref().ok_or_else(Problem::not_found)?;
    // What else a provider adds, such as its own session's state, is its own matter.
    let callback = Callback {
        state: query.one("state")?,
        code: query.one("code")?,
        issuer: query.one("iss")?,
    };
    let cleared = value(&sso.clear())?;
    match begun(&app, sso, &facts, (&headers, callback)).await {
        Ok(tokens) => Ok(([(header::SET_COOKIE, cleared)], Json(tokens)).into_response()),
        Err(problem) => Err(problem.with_header(header::SET_COOKIE, cleared)),
    }
}

async fn begun(
    app: &App,
    sso: &Sso,
    facts: &Facts,
    (headers, callback): (&HeaderMap, Callback),
) -> Result<Tokens, Problem> {
    let cookies = headers.get(header::COOKIE);
    let cookies = cookies.and_then(|value| value.to_str().ok());
    let shared = &*app.store.shared;
    let asserted = match sso.finish(shared, cookies, callback, facts.now).await {
        Ok(asserted) => asserted,
        Err(fault) => return Err(refused(app, facts, fault).await?),
    };
    let name = asserted.username.as_str();
    let issued = sessions::login_external(&app.identities, &facts.act(name), &asserted).await;
    let issued = counted(app, Means::Sso, issued);
    let issued = attempted(app, facts, ("sso_login", name), issued).await;
    issued.map(tokens)
}

/// Logs and counts a login that the provider's word did not carry. Whoever has lost access there
/// loses the sessions here.
async fn refused(app: &App, facts: &Facts, fault: Fault) -> Result<Problem, Problem> {
    let auth = match &fault {
        Fault::Over(_) => AuthFault::Expired,
        Fault::Unproven(_) => AuthFault::Unproven,
        Fault::NoAccess(external, _) => {
            let act = facts.act("anonymous");
            sessions::end_external(&app.identities, &act, external).await?;
            AuthFault::Revoked
        }
        Fault::Unavailable(_) => return Ok(fault.into()),
    };
    let ended = counted(app, Means::Sso, Err(Error::Auth(auth)));
    // Outside, it is what the fault says.
    drop(attempted(app, facts, ("sso_login", "anonymous"), ended).await);
    Ok(fault.into())
}

fn value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|error| Problem::internal(error.to_string()))
}
