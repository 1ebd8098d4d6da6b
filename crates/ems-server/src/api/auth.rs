//! Logging in, staying in, going, and who one is.

use std::sync::Arc;

use axum::{Json, extract::State};
use ems_api::{
    ErrorCode, SecretText,
    session::{Greeting, Me, PasswordChange, RefreshRequest, TokenRequest, Tokens},
};
use ems_core::{Fault, FaultCode};
use ems_crypto::password::Password;
use ems_guard::{
    AuthFault, Error,
    door::Failure,
    identify::Factor,
    journal::Violation,
    mfa,
    sessions::{self, Issued, Means},
};
use http::StatusCode;
use serde_json::Map;

use super::users::{PASSWORD, password as read_password, username};
use crate::{
    app::App,
    body::Document,
    caller::{AnyCredential, Caller, Facts},
    door,
    problem::Problem,
    query::NoQuery,
    strict::{self, Json as Value, Read},
};

/// The longest refresh token that is looked at, in characters.
const MAX_REFRESH: usize = 512;

/// Logs in by name and password.
#[utoipa::path(
    post, path = "/api/v1/auth/token", operation_id = "logIn", tag = "sessions",
    request_body = TokenRequest,
    responses((status = 200, description = "A pair of tokens", body = Tokens)),
)]
pub async fn token(
    facts: Facts,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<Json<Tokens>, Problem> {
    let name = body.required("username", username);
    let password = body.required("password", |value| read_password(value, (1, PASSWORD.1)));
    let code = body.optional("otp", code);
    let (name, password) = body.finish(name.zip(password))?;
    let act = facts.act("anonymous");
    let issued = sessions::login(&app.identities, &act, &name, &password, code.as_ref()).await;
    let tried = code.as_ref().map_or(Means::Password, means);
    let issued = counted(&app, tried, issued);
    let issued = attempted(&app, &facts, ("login", &name), issued).await?;
    // Others may have failed meanwhile: of those that came at once no more are answered than may.
    if app.door.is_shut(facts.client, &act).await {
        return Err(Problem::new(ErrorCode::RequestBlocked));
    }
    Ok(Json(tokens(issued)))
}

/// Renews a pair of tokens. A refresh token is good once.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", operation_id = "refresh", tag = "sessions",
    request_body = RefreshRequest,
    responses((status = 200, description = "The next pair", body = Tokens)),
)]
pub async fn refresh(
    facts: Facts,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<Json<Tokens>, Problem> {
    let token = body.required("refresh_token", |value| {
        strict::sized_text(value, 1, MAX_REFRESH)
    });
    let token = Password::new(body.finish(token)?);
    let act = facts.act("anonymous");
    let issued = sessions::refresh(&app.identities, &act, token.expose()).await;
    let issued = counted(&app, Means::Refresh, issued);
    let issued = attempted(&app, &facts, ("refresh", "anonymous"), issued).await?;
    Ok(Json(tokens(issued)))
}

/// Logs out: both tokens are dead at once.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", operation_id = "logOut", tag = "sessions",
    responses(
        (status = 204, description = "The session is over"),
        (status = 403, description = "The caller has no session"),
    ),
)]
pub async fn logout(
    caller: Caller<AnyCredential>,
    State(app): State<Arc<App>>,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    sessions::logout(&app.identities, &caller.act(), caller.principal()).await?;
    app.journal
        .authentication(&caller.act(), "logout", true, Map::new());
    Ok(StatusCode::NO_CONTENT)
}

/// Says who the caller is and what it may see.
#[utoipa::path(
    get, path = "/api/v1/auth/me", operation_id = "me", tag = "sessions",
    responses((status = 200, description = "The caller", body = Me)),
)]
pub async fn me(caller: Caller<AnyCredential>, _: NoQuery) -> Json<Me> {
    let principal = caller.principal();
    Json(Me {
        name: principal.name.clone(),
        role: principal.role,
        meters: principal.scope.patterns().to_vec(),
        grants: principal.grants.clone(),
        mfa: principal.factor == Factor::Present,
        expires_at: principal.expires_at,
    })
}

/// Changes the caller's own password. All its other sessions end.
#[utoipa::path(
    put, path = "/api/v1/auth/password", operation_id = "changePassword", tag = "sessions",
    request_body = PasswordChange,
    responses(
        (status = 204, description = "It is changed"),
        (status = 403, description = "The caller has no session"),
    ),
)]
pub async fn password(
    caller: Caller<AnyCredential>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<StatusCode, Problem> {
    let current = body.required("current", |value| read_password(value, (1, PASSWORD.1)));
    let new = body.required("new", |value| read_password(value, PASSWORD));
    let (current, new) = body.finish(current.zip(new))?;
    let (act, principal) = (caller.act(), caller.principal());
    let changed = sessions::change_password(&app.identities, &act, principal, &current, &new).await;
    let wrong = matches!(changed, Err(Error::Auth(AuthFault::WrongPassword)));
    match noted(
        &app,
        caller.facts(),
        ("change_password", caller.name()),
        changed,
    ) {
        // The token is good, so this is no 401: a client would throw its session away.
        Err(_) if wrong => {
            let why = "this is not the present password";
            Err(Problem::invalid(vec![Fault::new(
                "/current",
                FaultCode::InvalidFormat,
                why,
            )]))
        }
        done => done.map(|()| StatusCode::NO_CONTENT),
    }
}

/// Greets the caller, as in the security guide.
#[utoipa::path(
    get, path = "/api/v1/data/secure", operation_id = "greet", tag = "sessions",
    responses((status = 200, description = "A greeting", body = Greeting)),
)]
pub async fn secure(caller: Caller<AnyCredential>, _: NoQuery) -> Json<Greeting> {
    let message = format!("Hello {}, this is a secure endpoint", caller.name());
    Json(Greeting { message })
}

/// The same of one who is not known yet: what is refused is counted against the address.
pub(super) async fn attempted<T>(
    app: &App,
    facts: &Facts,
    (action, user): (&str, &str),
    ended: Result<T, Error>,
) -> Result<T, Problem> {
    let fault = match &ended {
        Err(Error::Auth(fault)) => Some(*fault),
        _ => None,
    };
    let answer = noted(app, facts, (action, user), ended);
    if let Some(fault) = fault {
        let failure = Failure {
            attempt: fault.is_failed_attempt(),
            account: (action == "login").then_some(user),
            // A login was counted when it came.
            uncounted: action == "refresh",
        };
        let (_, goes_on) = door::refused(app, facts, failure).await;
        goes_on?;
    }
    answer
}

/// Logs and counts how an attempt ended.
pub(super) fn noted<T>(
    app: &App,
    facts: &Facts,
    (action, user): (&str, &str),
    ended: Result<T, Error>,
) -> Result<T, Problem> {
    let act = facts.act(user);
    match &ended {
        Ok(_) => app.journal.authentication(&act, action, true, Map::new()),
        Err(Error::Auth(fault)) => {
            if *fault != AuthFault::CodeRequired {
                app.metrics.auth_failed("login");
            }
            let reason = Map::from_iter([("reason".to_owned(), fault.as_str().into())]);
            app.journal
                .authentication(&act, action, false, reason.clone());
            let violation = match fault {
                AuthFault::Reused => Some(Violation::RefreshTokenReuse),
                AuthFault::CodesRefused => Some(Violation::TooManyWrongCodes),
                _ => None,
            };
            if let Some(violation) = violation {
                app.journal.violation(&act, violation, reason);
            }
        }
        Err(_) => {}
    }
    Ok(ended?)
}

/// Counts how a login or a renewal ended. To be asked for a code is no end.
pub(super) fn counted(
    app: &App,
    tried: Means,
    ended: Result<Issued, Error>,
) -> Result<Issued, Error> {
    match &ended {
        Ok(issued) => app.metrics.login(issued.means.as_str(), true),
        Err(Error::Auth(AuthFault::CodeRequired)) => {}
        Err(Error::Auth(_)) => app.metrics.login(tried.as_str(), false),
        Err(_) => {}
    }
    ended
}

/// By what a login is tried whose code is this one.
fn means(code: &Password) -> Means {
    let digits = code.expose().bytes().all(|byte| byte.is_ascii_digit());
    if digits { Means::Otp } else { Means::Recovery }
}

pub(super) fn tokens(issued: Issued) -> Tokens {
    Tokens {
        access_token: SecretText::new(issued.access_token),
        token_type: "Bearer".into(),
        expires_in: issued.expires_in,
        refresh_token: SecretText::new(issued.refresh_token.expose().to_owned()),
    }
}

/// A one-time code, or a recovery code.
pub(super) fn code(value: Value) -> Read<Password> {
    let code = Password::new(strict::text(value)?);
    if mfa::is_code(code.expose()) {
        return Ok(code);
    }
    let why = "a code has 6 to 8 digits, or is a recovery code of four groups of four";
    Err(vec![Fault::new("", FaultCode::InvalidFormat, why)])
}

#[cfg(test)]
mod tests;
