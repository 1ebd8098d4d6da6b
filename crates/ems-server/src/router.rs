//! The route list, one line a route.

use std::sync::Arc;

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{delete, get, post, put},
};

use crate::{
    api::{
        alerts, analytics, auth, bans, data, docs, health, keyring, keys, meters, mfa, security,
        sso, users,
    },
    app::App,
    middleware,
    problem::Problem,
};

/// The routes with all layers around them.
#[rustfmt::skip]
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/docs", get(docs::page))
        .route("/docs/style.css", get(docs::style))
        .route("/api/v1/openapi.json", get(docs::openapi))
        .route("/api/v1/auth/token", post(auth::token))
        .route("/api/v1/auth/refresh", post(auth::refresh))
        .route("/api/v1/auth/logout", post(auth::logout))
        .route("/api/v1/auth/me", get(auth::me))
        .route("/api/v1/auth/password", put(auth::password))
        .route("/api/v1/auth/mfa", post(mfa::enrol).delete(mfa::remove))
        .route("/api/v1/auth/mfa/confirm", post(mfa::confirm))
        .route("/api/v1/auth/sso/login", get(sso::login))
        .route("/api/v1/auth/sso/callback", get(sso::callback))
        .route("/api/v1/users", get(users::list).post(users::create))
        .route("/api/v1/users/{username}", get(users::get).patch(users::change).delete(users::remove))
        .route("/api/v1/users/{username}/mfa", delete(mfa::reset))
        .route("/api/v1/keys", get(keys::list).post(keys::create))
        .route("/api/v1/keys/{id}", delete(keys::revoke))
        .route("/api/v1/keys/{id}/rotate", post(keys::rotate))
        .route("/api/v1/data/secure", get(auth::secure))
        .route("/api/v1/data", post(data::ingest::create))
        .route("/api/v1/data/batch", post(data::ingest::batch))
        .route("/api/v1/data/validate", post(data::ingest::validate))
        .route("/api/v1/data/{meter_id}", get(data::query::get).delete(data::remove))
        .route("/api/v1/meters", get(meters::list))
        .route("/api/v1/meters/{meter_id}", get(meters::get).put(meters::put).delete(meters::remove))
        .route("/api/v1/analytics/usage", get(analytics::usage))
        .route("/api/v1/security/bans", get(bans::list).post(bans::add))
        .route("/api/v1/security/bans/{ip}", get(bans::get).delete(bans::lift))
        .route("/api/v1/security/events", get(security::events))
        .route("/api/v1/security/incident", get(security::incident))
        .route("/api/v1/security/alerts", get(alerts::list))
        .route("/api/v1/security/alerts/test", post(alerts::test))
        .route("/api/v1/keyring", get(keyring::status))
        .route("/api/v1/keyring/pages", post(keyring::rotate_pages))
        .route("/api/v1/keyring/root", post(keyring::rotate_root))
        .route("/api/v1/keyring/meters/{meter_id}", delete(keyring::destroy))
        .fallback(async || Problem::not_found())
        .layer(from_fn_with_state(Arc::clone(&app), middleware::layers))
        .with_state(app)
}
