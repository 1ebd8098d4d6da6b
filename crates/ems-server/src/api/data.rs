//! Readings: in (one, a batch, a batch only checked), out (a page, a stream), and away.

pub mod ingest;
pub mod query;
mod repeat;
mod settle;
mod stream;

use std::sync::Arc;

use axum::{Json, extract::State};
use ems_api::reading::Deleted;
use ems_core::time::{TimeRange, Timestamp};
use ems_store::{Batch, Deletion};
use serde_json::json;

use super::sight::{self, Named};
use crate::{
    app::App,
    caller::{Caller, Delete},
    problem::Problem,
    query::Query,
};

/// Deletes a meter's readings in a half-open range; all of them when none is given. The meter
/// stays.
#[utoipa::path(
    delete, path = "/api/v1/data/{meter_id}", operation_id = "deleteReadings", tag = "readings",
    params(
        ("meter_id" = String, Path, description = "The meter", pattern = "^[A-Za-z0-9_-]{1,50}$"),
        ("start" = Option<String>, Query, format = DateTime,
         description = "The first instant; since ever when absent"),
        ("end" = Option<String>, Query, format = DateTime,
         description = "The first instant after; for ever when absent"),
    ),
    responses((status = 200, description = "They are gone", body = Deleted)),
)]
pub async fn remove(
    caller: Caller<Delete>,
    State(app): State<Arc<App>>,
    Named(meter): Named,
    mut query: Query,
) -> Result<Json<Deleted>, Problem> {
    let range = range(&mut query)?;
    query.finish()?;
    sight::writable(caller.scope(), &meter)?;
    sight::seen(&app.store, caller.scope(), &meter).await?;
    let mut event = caller.access("delete", "readings");
    event.filters = json!({ "start": range.start(), "end": range.end() });
    event.subjects = sight::pseudonym(&app.store, &meter)
        .await?
        .into_iter()
        .collect();
    let batch = Batch {
        deletions: vec![Deletion { meter, range }],
        ledger: vec![event],
        ..Batch::default()
    };
    let outcome = app.store.commit.commit(batch).await?;
    Ok(Json(Deleted {
        deleted: outcome.deleted,
    }))
}

/// Takes `start` and `end`, both optional, which make a range that is not empty.
fn range(query: &mut Query) -> Result<TimeRange, Problem> {
    let start = instant(query, "start")?.unwrap_or(Timestamp::MIN);
    let end = instant(query, "end")?.unwrap_or(Timestamp::MAX);
    TimeRange::new(start, end)
        .ok_or_else(|| Problem::parameter("end", "has to be later than 'start'"))
}

/// Takes an instant.
pub(crate) fn instant(query: &mut Query, name: &str) -> Result<Option<Timestamp>, Problem> {
    query.read(name, |text| {
        Timestamp::parse(text).map_err(|fault| fault.detail)
    })
}

#[cfg(test)]
mod tests;
