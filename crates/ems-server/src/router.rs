//! The route list, one line a route.

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state, routing::get};

use crate::{api, app::App, middleware, problem::Problem};

/// The routes with all layers around them.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(api::health::health))
        .fallback(async || Problem::not_found())
        .layer(from_fn_with_state(Arc::clone(&app), middleware::layers))
        .with_state(app)
}
