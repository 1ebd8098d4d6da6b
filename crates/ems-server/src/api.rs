//! The handlers, one file for a resource.

pub mod alerts;
pub mod analytics;
pub mod auth;
pub mod bans;
pub mod data;
pub mod docs;
pub mod health;
pub mod keyring;
pub mod keys;
pub mod meters;
pub mod mfa;
pub mod security;
pub(crate) mod sight;
pub mod sso;
pub mod users;
mod window;

use axum::Json;
use ems_api::Page;
use ems_store::Batch;
use serde_json::json;

use crate::{app::App, caller::Caller, paging::Paging, problem::Problem};

/// Answers with a page of the records that were fetched of a table.
async fn listed<P, T>(
    app: &App,
    caller: &Caller<P>,
    paging: &Paging,
    (table, fetched): (&str, Vec<T>),
    id: fn(&T) -> &str,
) -> Result<Json<Page<T>>, Problem> {
    let page = paging.page(app, fetched, id);
    note_read(app, caller, table, page.items.len(), None).await?;
    Ok(Json(page))
}

/// Puts a look at records into the ledger; durable when it returns, so before they leave.
async fn note_read<P>(
    app: &App,
    caller: &Caller<P>,
    table: &str,
    count: usize,
    asked: Option<(&str, &str)>,
) -> Result<(), Problem> {
    let mut event = caller.access("read", table);
    event.record_count = u64::try_from(count).unwrap_or(u64::MAX);
    if let Some((name, value)) = asked {
        event.filters = json!({ name: value });
    }
    app.store.commit.commit(Batch::note(event)).await?;
    Ok(())
}
