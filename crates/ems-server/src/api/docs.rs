//! The API's description, for programs and for people. No credential, no rate limit.

use std::sync::Arc;

use axum::{extract::State, response::IntoResponse};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::{app::App, docs::STYLE};

/// Describes the API by OpenAPI 3.1.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", operation_id = "openapi", tag = "operation",
    responses((status = 200, description = "The document", content_type = "application/json",
               body = serde_json::Value)),
)]
pub async fn openapi(State(app): State<Arc<App>>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "application/json")],
        app.documents.openapi.clone(),
    )
}

/// Describes the API to people.
#[utoipa::path(
    get, path = "/docs", operation_id = "docs", tag = "operation",
    responses((status = 200, description = "The page", content_type = "text/html", body = String)),
)]
pub async fn page(State(app): State<Arc<App>>) -> impl IntoResponse {
    (
        [(CONTENT_TYPE, "text/html; charset=utf-8")],
        app.documents.page.clone(),
    )
}

/// The page's style sheet.
#[utoipa::path(
    get, path = "/docs/style.css", operation_id = "docsStyle", tag = "operation",
    responses((status = 200, description = "The style sheet", content_type = "text/css", body = String)),
)]
pub async fn style() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "text/css; charset=utf-8"),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    (headers, STYLE)
}
