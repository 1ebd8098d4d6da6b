//! Is it alive, and can it work. No credential, no details, no rate limit.

use axum::Json;
use ems_api::health::Health;

/// The process is alive.
pub async fn health() -> Json<Health> {
    Json(Health { status: "healthy".into() })
}
