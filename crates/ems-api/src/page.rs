//! A page of a list: its items, and where the next page begins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Part of a list. `next_cursor` is there only when there is more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// What to pass as `cursor` for the items that follow. Opaque, and good only for this caller
    /// and this query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next_cursor: Option<String>,
}
