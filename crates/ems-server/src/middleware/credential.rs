//! Whose request it is: the credential that came with it, verified, and counted in its window.
//!
//! A valid credential counts in its principal's window alone. Everything else (none, an invalid
//! one, a login) counts in the address's, and once that is full, or the address is shut out, nothing
//! costly is computed.

use ems_api::ErrorCode;
use ems_core::{
    policy::{Need, need},
    role::Permission,
};
use ems_guard::{AuthFault, Error, Principal, door::Failure, journal::Violation};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use serde_json::Map;

use super::exchange::Exchange;
use crate::{app::App, caller::Local, door, problem::Problem};

/// The route that takes refresh tokens.
const REFRESH: &str = "/api/v1/auth/refresh";
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request shows.
#[derive(Debug, PartialEq, Eq)]
enum Shown<'a> {
    Nothing,
    Bearer(&'a str),
    Key(&'a str),
    /// An `Authorization` that is no bearer token.
    Unusable,
    /// More than one.
    Ambiguous,
}

/// Verifies what the request shows and counts it.
pub(super) async fn identify(
    app: &App,
    exchange: &mut Exchange,
    parts: &Parts,
) -> Result<(), Problem> {
    if let Some(Local { uid }) = parts.extensions.get() {
        catch_up(app).await?;
        exchange.identified(Principal::local(*uid).into());
        return Ok(());
    }
    let need = need(exchange.method(), exchange.route());
    let anonymous = need == Some(Need::Anonymous);
    let (verified, kind, refusal) = match shown(&parts.headers) {
        Shown::Ambiguous => {
            stranger(app, exchange, false).await?;
            return Err(Problem::new(ErrorCode::AmbiguousCredentials));
        }
        // A refresh token is a credential: it is verified first, and counted if it is refused.
        _ if exchange.route() == REFRESH => return catch_up(app).await,
        _ if anonymous => {
            stranger(app, exchange, true).await?;
            return catch_up(app).await;
        }
        Shown::Nothing => return stranger(app, exchange, false).await,
        Shown::Unusable => {
            stranger(app, exchange, false).await?;
            return Err(Problem::new(ErrorCode::InvalidCredentials));
        }
        Shown::Bearer(token) => {
            catch_up(app).await?;
            let verified = app.identities.bearer(token, exchange.facts().now).await;
            (verified, "token", ErrorCode::InvalidCredentials)
        }
        Shown::Key(key) => {
            if app.identities.is_costly(key) {
                spare(app, exchange).await?;
            }
            catch_up(app).await?;
            let verified = app.identities.api_key(key, exchange.facts().now).await;
            (verified, "api_key", ErrorCode::InvalidApiKey)
        }
    };
    match verified {
        Ok(principal) => {
            let (client, act) = (
                exchange.facts().client,
                exchange.facts().act(&principal.name),
            );
            let administers = need.is_some_and(is_administration);
            let decision = app
                .door
                .principal(&principal, client, administers, &act)
                .await;
            exchange.identified(principal);
            let heeded = door::heed(app, &act, (decision, "principal"), None).await;
            exchange.heed(heeded)
        }
        Err(Error::Auth(fault)) => {
            let failure = Failure {
                attempt: fault.is_failed_attempt(),
                account: None,
                uncounted: true,
            };
            noted(app, exchange, kind, fault);
            let heeded = door::refused(app, exchange.facts(), failure).await;
            exchange.heed(heeded)?;
            Err(Problem::new(refusal))
        }
        Err(other) => Err(other.into()),
    }
}

/// What is not decided by one process alone: whatever changes who may do what, or shows it.
fn is_administration(need: Need) -> bool {
    match need {
        Need::Permission(permission) => permission == Permission::Admin,
        Need::Owner => true,
        Need::Open | Need::Anonymous | Need::Credential => false,
    }
}

/// Has this request see what any process committed before it: a credential that ended, a role, a
/// reading. What is refused without a look at the store does not wait for it.
async fn catch_up(app: &App) -> Result<(), Problem> {
    Ok(app.store.commit.fresh().await?)
}

/// Counts the request in its address's window, where the address is not shut out. `closes`: it is
/// for what is refused while the shared state cannot be asked.
async fn stranger(app: &App, exchange: &mut Exchange, closes: bool) -> Result<(), Problem> {
    let (client, act) = (exchange.facts().client, exchange.facts().act("anonymous"));
    let decision = app.door.stranger(client, closes, &act).await;
    let heeded = door::heed(app, &act, (decision, "address"), Some(client)).await;
    exchange.heed(heeded)
}

/// Refuses where the address is shut out or its window is full, and counts nothing.
async fn spare(app: &App, exchange: &mut Exchange) -> Result<(), Problem> {
    let (client, act) = (exchange.facts().client, exchange.facts().act("anonymous"));
    let decision = app.door.may_try(client, &act).await;
    let heeded = door::heed(app, &act, (decision, "address"), Some(client)).await;
    match heeded {
        (_, Ok(())) => Ok(()),
        refused => exchange.heed(refused),
    }
}

/// Logs and counts a credential that was refused. What we never made is a violation; what was good
/// once is none.
fn noted(app: &App, exchange: &Exchange, kind: &'static str, fault: AuthFault) {
    app.metrics.auth_failed(kind);
    let act = exchange.facts().act("anonymous");
    let reason = Map::from_iter([("reason".to_owned(), fault.as_str().into())]);
    app.journal
        .authentication(&act, kind, false, reason.clone());
    if fault.is_failed_attempt() {
        app.journal
            .violation(&act, Violation::ForgedCredential, reason);
    }
}

fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut tokens = headers.get_all(header::AUTHORIZATION).iter();
    let mut keys = headers.get_all(X_API_KEY).iter();
    match (tokens.next(), tokens.next(), keys.next(), keys.next()) {
        (None, _, None, _) => Shown::Nothing,
        (Some(token), None, None, _) => bearer(token).map_or(Shown::Unusable, Shown::Bearer),
        // What is no text is no key; it is verified and refused as any other.
        (None, _, Some(key), None) => Shown::Key(key.to_str().unwrap_or_default()),
        _ => Shown::Ambiguous,
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_credential_and_no_more() {
        for (pairs, expected) in [
            (&[][..], Shown::Nothing),
            (&[("authorization", "Bearer a.b.c")], Shown::Bearer("a.b.c")),
            (&[("authorization", "bearer  a")], Shown::Bearer("a")),
            (&[("authorization", "Basic YTpi")], Shown::Unusable),
            (&[("authorization", "")], Shown::Unusable),
            (&[("x-api-key", "k")], Shown::Key("k")),
            (&[("x-api-key", "")], Shown::Key("")),
            (
                &[("x-api-key", "k"), ("authorization", "Bearer a")],
                Shown::Ambiguous,
            ),
            (&[("x-api-key", "k"), ("x-api-key", "k")], Shown::Ambiguous),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
                Shown::Ambiguous,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(shown(&headers), expected, "{pairs:?}");
        }
    }
}
