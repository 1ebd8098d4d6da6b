//! Readings out: a page of JSON, or the whole range as a stream of NDJSON or CSV.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use ems_api::reading::Readings;
use ems_core::{
    meter::MeterId,
    time::{TimeRange, Timestamp},
};
use ems_store::{Batch, Columns, Store};
use http::{HeaderMap, header};
use serde_json::json;

use super::{range, stream};
use crate::{
    accept,
    api::sight::{self, Named},
    app::App,
    caller::{Caller, Read},
    cursor::Binding,
    encode::{Form, Rows},
    problem::Problem,
    query::Query,
};

/// Readings of a page when nothing is said.
const DEFAULT_LIMIT: usize = 1000;
/// Readings of a page at most.
const MAX_LIMIT: usize = 10_000;

/// Gives a meter's readings in a half-open range, ascending: page by page as JSON, or, by
/// `Accept`, all of them as NDJSON or CSV, where `limit` and `cursor` have no meaning and are
/// refused. Doubles come back exactly; CSV is lossless but for an empty location, which reads as
/// none, and its cells are not defused against spreadsheet formulas.
#[utoipa::path(
    get, path = "/api/v1/data/{meter_id}", operation_id = "readings", tag = "readings",
    params(
        ("meter_id" = String, Path, description = "The meter", pattern = "^[A-Za-z0-9_-]{1,50}$"),
        ("start" = Option<String>, Query, format = DateTime,
         description = "The first instant; since ever when absent"),
        ("end" = Option<String>, Query, format = DateTime,
         description = "The first instant after; for ever when absent"),
        ("limit" = Option<u32>, Query, description = "Readings of a page, 1000 when absent",
         minimum = 1, maximum = 10_000),
        ("cursor" = Option<String>, Query,
         description = "`next_cursor` of the page before, with the same query"),
    ),
    responses((status = 200, description = "Readings", content(
        (Readings = "application/json"),
        (String = "application/x-ndjson"),
        (String = "text/csv"),
    ))),
)]
pub async fn get(
    caller: Caller<Read>,
    State(app): State<Arc<App>>,
    Named(meter): Named,
    mut query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let form = Form::of(accept::choose(&headers, &Form::MEDIA_TYPES)?);
    let range = range(&mut query)?;
    if form == Form::Json {
        let page = Page::take(&app, &caller, (&meter, range), &mut query)?;
        query.finish()?;
        sight::seen(&app.store, caller.scope(), &meter).await?;
        return page.answer(&app, &caller).await;
    }
    query.finish()?;
    sight::seen(&app.store, caller.scope(), &meter).await?;
    stream::answer(app, &caller, (meter, range), form).await
}

/// A page that was asked for.
struct Page {
    meter: MeterId,
    asked: TimeRange,
    /// What of `asked` this page and those after it cover.
    rest: TimeRange,
    limit: usize,
    binding: Binding,
}

impl Page {
    fn take(
        app: &App,
        caller: &Caller<Read>,
        (meter, asked): (&MeterId, TimeRange),
        query: &mut Query,
    ) -> Result<Self, Problem> {
        let limit = query.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
        let binding = Binding::new(caller.facts().route, caller.name())
            .with(meter.as_str())
            .with(asked.start().as_micros().to_be_bytes())
            .with(asked.end().as_micros().to_be_bytes());
        let rest = match query.cursor(&binding, &app.cursor_key)? {
            None => asked,
            Some(position) => rest(&position, asked).ok_or_else(Problem::forged_cursor)?,
        };
        Ok(Self {
            meter: meter.clone(),
            asked,
            rest,
            limit,
            binding,
        })
    }

    async fn answer(self, app: &App, caller: &Caller<Read>) -> Result<Response, Problem> {
        let mut body = Vec::new();
        let mut rows = Rows::new(Form::Json, self.meter.clone());
        rows.begin(&mut body);
        let next = self.write(&app.store, &mut rows, &mut body).await?;
        let next = next.map(|at| self.binding.seal(&app.cursor_key, &at.to_be_bytes()));
        rows.end(&mut body, next.as_deref());
        let mut event = caller.access("read", "readings");
        event.record_count = rows.written();
        event.filters = json!({
            "start": self.asked.start(),
            "end": self.asked.end(),
            "from": self.rest.start(),
            "limit": self.limit,
        });
        event.subjects = sight::pseudonym(&app.store, &self.meter)
            .await?
            .into_iter()
            .collect();
        app.store.commit.commit(Batch::note(event)).await?;
        Ok(([(header::CONTENT_TYPE, Form::Json.content_type())], body).into_response())
    }

    /// Writes the page's readings; where the next page begins, if there is more.
    async fn write(
        &self,
        store: &Store,
        rows: &mut Rows,
        body: &mut Vec<u8>,
    ) -> Result<Option<i64>, Problem> {
        let mut left = self.limit;
        let mut rest = Some(self.rest);
        while let Some(range) = rest {
            let piece = store
                .segments
                .scan(&self.meter, range, Columns::All)
                .await?;
            rows.push(body, &piece.block, left);
            if let Some(next) = piece.block.at().get(left) {
                return Ok(Some(*next));
            }
            left = left.saturating_sub(piece.block.len());
            rest = TimeRange::new(piece.until, range.end());
        }
        Ok(None)
    }
}

/// What of a range a cursor's position leaves.
fn rest(position: &[u8], asked: TimeRange) -> Option<TimeRange> {
    let micros = i64::from_be_bytes(position.try_into().ok()?);
    TimeRange::new(Timestamp::from_micros(micros)?, asked.end())
}
