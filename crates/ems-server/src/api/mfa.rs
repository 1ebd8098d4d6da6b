//! The second factor of users: asking for one, putting it into force, giving it up.

use std::sync::Arc;

use axum::{Json, extract::State};
use ems_api::{
    SecretText,
    session::{MfaConfirmation, MfaEnrolment, MfaRemoval, MfaRequest},
};
use ems_core::{Fault, FaultCode};
use ems_guard::{AuthFault, Error, mfa};
use http::StatusCode;

use super::{
    auth::{code, noted},
    users::{PASSWORD, password as read_password},
};
use crate::{
    app::App,
    body::Document,
    caller::{Admin, AnyCredential, Caller},
    paging::PathPart,
    problem::Problem,
    query::NoQuery,
};

/// Makes a second factor for the caller. It counts once a code of it was shown.
#[utoipa::path(
    post, path = "/api/v1/auth/mfa", operation_id = "enrolMfa", tag = "sessions",
    request_body = MfaRequest,
    responses(
        (status = 200, description = "Shown once; to be confirmed within a quarter of an hour", body = MfaEnrolment),
        (status = 403, description = "The caller has no session"),
    ),
)]
pub async fn enrol(
    caller: Caller<AnyCredential>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<Json<MfaEnrolment>, Problem> {
    let password = body.required("password", |value| read_password(value, (1, PASSWORD.1)));
    let password = body.finish(password)?;
    let made = mfa::enrol(
        &app.identities,
        &caller.act(),
        caller.principal(),
        &password,
    )
    .await;
    let made = settled(&app, &caller, "mfa_begin", made)?;
    let secret = |text: &str| SecretText::new(text.to_owned());
    Ok(Json(MfaEnrolment {
        secret: secret(&made.secret),
        otpauth_uri: secret(&made.otpauth_uri),
        recovery_codes: made
            .recovery_codes
            .iter()
            .map(|code| secret(code))
            .collect(),
    }))
}

/// Puts the caller's new second factor into force. Its other sessions end.
#[utoipa::path(
    post, path = "/api/v1/auth/mfa/confirm", operation_id = "confirmMfa", tag = "sessions",
    request_body = MfaConfirmation,
    responses(
        (status = 204, description = "From now on a login needs a code"),
        (status = 403, description = "The caller has no session"),
    ),
)]
pub async fn confirm(
    caller: Caller<AnyCredential>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<StatusCode, Problem> {
    let otp = body.required("otp", code);
    let otp = body.finish(otp)?;
    let done = mfa::confirm(&app.identities, &caller.act(), caller.principal(), &otp).await;
    settled(&app, &caller, "mfa_enable", done).map(|()| StatusCode::NO_CONTENT)
}

/// Gives the caller's second factor up. Its other sessions end.
#[utoipa::path(
    delete, path = "/api/v1/auth/mfa", operation_id = "removeMfa", tag = "sessions",
    request_body = MfaRemoval,
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "The caller has no session, or needs a second factor"),
        (status = 404, description = "There is none"),
    ),
)]
pub async fn remove(
    caller: Caller<AnyCredential>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<StatusCode, Problem> {
    let password = body.required("password", |value| read_password(value, (1, PASSWORD.1)));
    let otp = body.required("otp", code);
    let (password, otp) = body.finish(password.zip(otp))?;
    let (act, principal) = (caller.act(), caller.principal());
    let done = mfa::remove(&app.identities, &act, principal, &password, &otp).await;
    settled(&app, &caller, "mfa_disable", done).map(|()| StatusCode::NO_CONTENT)
}

/// Takes a user's second factor away, for who has lost it. All its sessions end.
#[utoipa::path(
    delete, path = "/api/v1/users/{username}/mfa", operation_id = "resetMfa", tag = "users",
    params(("username" = String, Path, description = "Its name", pattern = "^[A-Za-z0-9._@-]{1,64}$")),
    responses((status = 204, description = "It is gone")),
)]
pub async fn reset(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    PathPart(username): PathPart,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let done = mfa::reset(&app.identities, &caller.act(), &username).await;
    settled(&app, &caller, "mfa_reset", done).map(|()| StatusCode::NO_CONTENT)
}

/// Logs how it ended. The caller's token is good, so a wrong password or code is no 401: a client
/// would throw its session away.
fn settled<P, T>(
    app: &App,
    caller: &Caller<P>,
    action: &str,
    ended: Result<T, Error>,
) -> Result<T, Problem> {
    let wrong = match &ended {
        Err(Error::Auth(AuthFault::WrongPassword)) => {
            Some(("/password", "this is not the present password"))
        }
        Err(Error::Auth(AuthFault::WrongCode | AuthFault::CodesRefused)) => {
            Some(("/otp", "this is not a code of this moment, or it was used"))
        }
        _ => None,
    };
    let ended = noted(app, caller.facts(), (action, caller.name()), ended);
    ended.map_err(|problem| match wrong {
        Some((pointer, why)) => {
            Problem::invalid(vec![Fault::new(pointer, FaultCode::InvalidFormat, why)])
        }
        None => problem,
    })
}
