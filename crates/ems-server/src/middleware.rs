//! The layer list, in order.

mod headers;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};

use crate::app::App;

/// Every layer around a handler.
pub async fn layers(State(_app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    headers::put(response.headers_mut(), "");
    response
}
