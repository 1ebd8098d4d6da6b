//! Is it alive, and can it work. No credential, no details, no rate limit.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, response::IntoResponse};
use ems_api::health::{Dependencies, Health, Ready};
use ems_store::{Store, Table};
use http::{
    StatusCode,
    header::{HeaderMap, HeaderValue, RETRY_AFTER},
};

use crate::app::App;

/// How long the store may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says that the process is alive.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "operation",
    responses((status = 200, description = "It is alive", body = Health)),
)]
pub async fn health() -> Json<Health> {
    Json(Health {
        status: "healthy".into(),
    })
}

/// Says whether requests can be served, with each dependency's state.
#[utoipa::path(
    get, path = "/ready", operation_id = "ready", tag = "operation",
    responses(
        (status = 200, description = "Requests can be served", body = Ready),
        (status = 503, description = "They cannot, for now", body = Ready),
    ),
)]
pub async fn ready(State(app): State<Arc<App>>) -> impl IntoResponse {
    let store = is_up(&app.store).await;
    let status = match (app.draining(), store) {
        (true, _) => "draining",
        (false, true) => "ready",
        (false, false) => "unavailable",
    };
    let said = |up| if up { "up" } else { "down" }.to_owned();
    let has_redis = app.settings.shared.redis_url.is_some();
    let answer = Ready {
        status: status.into(),
        dependencies: Dependencies {
            store: said(store),
            redis: has_redis.then(|| said(app.store.shared.standing().up)),
        },
    };
    let mut headers = HeaderMap::new();
    if status == "ready" {
        return (StatusCode::OK, headers, Json(answer));
    }
    headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    (StatusCode::SERVICE_UNAVAILABLE, headers, Json(answer))
}

/// Whether the store can be read, as it is now.
async fn is_up(store: &Store) -> bool {
    let fresh = tokio::time::timeout(PATIENCE, store.commit.fresh()).await;
    matches!(fresh, Ok(Ok(()))) && store.records.list(Table::Users, "", None, 1).await.is_ok()
}
