//! Is it alive, and can it work: answers of `/health` and `/ready`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The process is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `healthy`.
    #[schema(pattern = "^healthy$", example = "healthy")]
    pub status: String,
}

/// Whether requests can be served, with each dependency's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// `ready`, `draining` or `unavailable`.
    #[schema(pattern = "^(ready|draining|unavailable)$", example = "ready")]
    pub status: String,
    /// The dependencies.
    pub dependencies: Dependencies,
}

/// Each dependency is `up` or `down`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Dependencies {
    /// Where everything is kept.
    #[schema(pattern = "^(up|down)$", example = "up")]
    pub store: String,
    /// The state that processes share, where it is in Redis. While it is down, each process counts for
    /// itself and requests are served.
    #[schema(pattern = "^(up|down)$", example = "up")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<String>,
}
