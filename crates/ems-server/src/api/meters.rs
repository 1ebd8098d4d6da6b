//! Meters: what an operator says of them, and what their readings span.

use std::sync::Arc;

use axum::{Json, extract::State};
use ems_api::{
    Page,
    meter::{Meter, MeterProfile},
    schema::CUSTOMER_ID,
};
use ems_core::{
    Fault, FaultCode,
    audit::Change,
    calendar::Zone,
    meter::{self, MeterId},
    quantity::Location,
    time::TimeRange,
};
use ems_store::{Batch, Deletion, Expect, Record, RecordChange, Store, Table};
use http::StatusCode;
use serde_json::json;

use super::{
    sight::{self, Named},
    window::heed,
};
use crate::{
    app::App,
    body::Document,
    caller::{Caller, Delete, Read, Write},
    paging::Paging,
    problem::Problem,
    query::{NoQuery, Query},
    strict::{self, Object},
};

/// How often a change is tried again that crossed another, such as a meter's first reading.
const ATTEMPTS: usize = 3;

/// Lists the caller's meters by id.
#[utoipa::path(
    get, path = "/api/v1/meters", operation_id = "listMeters", tag = "meters",
    params(
        ("prefix" = Option<String>, Query, description = "What their ids begin with",
         pattern = "^[A-Za-z0-9_-]{0,50}$"),
        ("limit" = Option<u32>, Query, description = "Items of a page, 100 when absent",
         minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query,
         description = "`next_cursor` of the page before, with the same query"),
    ),
    responses((status = 200, description = "A page", body = Page<Meter>)),
)]
pub async fn list(
    caller: Caller<Read>,
    State(app): State<Arc<App>>,
    mut query: Query,
) -> Result<Json<Page<Meter>>, Problem> {
    let prefix = query.read("prefix", prefix)?.unwrap_or_default();
    let paging = Paging::take(&app, &caller, &mut query, &[&prefix])?;
    query.finish()?;
    let from = (&*prefix, paging.after());
    let found = sight::meters(&*app.store.records, caller.scope(), from, paging.fetch()).await?;
    let page = paging.page(&app, found, |record| &record.id);
    let mut items = Vec::with_capacity(page.items.len());
    let mut subjects = Vec::with_capacity(page.items.len());
    for record in &page.items {
        let meter = shown(&app.store, record).await?;
        subjects.extend(sight::pseudonym(&app.store, &meter.meter_id).await?);
        items.push(meter);
    }
    let mut event = caller.access("read", "meters");
    event.record_count = u64::try_from(items.len()).unwrap_or(u64::MAX);
    event.subjects = subjects;
    app.store.commit.commit(Batch::note(event)).await?;
    Ok(Json(Page {
        items,
        next_cursor: page.next_cursor,
    }))
}

/// Shows a meter.
#[utoipa::path(
    get, path = "/api/v1/meters/{meter_id}", operation_id = "getMeter", tag = "meters",
    params(("meter_id" = String, Path, description = "Its id", pattern = "^[A-Za-z0-9_-]{1,50}$")),
    responses((status = 200, description = "The meter", body = Meter)),
)]
pub async fn get(
    caller: Caller<Read>,
    State(app): State<Arc<App>>,
    Named(meter): Named,
    _: NoQuery,
) -> Result<Json<Meter>, Problem> {
    let record = sight::seen(&app.store, caller.scope(), &meter).await?;
    let answer = shown(&app.store, &record).await?;
    let mut event = caller.access("read", "meters");
    event.record_count = 1;
    event.subjects = sight::pseudonym(&app.store, &meter)
        .await?
        .into_iter()
        .collect();
    app.store.commit.commit(Batch::note(event)).await?;
    Ok(Json(answer))
}

/// Describes a meter: replaces all that was said of it before. An unknown one is made.
#[utoipa::path(
    put, path = "/api/v1/meters/{meter_id}", operation_id = "putMeter", tag = "meters",
    params(("meter_id" = String, Path, description = "Its id", pattern = "^[A-Za-z0-9_-]{1,50}$")),
    request_body = MeterProfile,
    responses(
        (status = 200, description = "It is described anew", body = Meter),
        (status = 201, description = "It is made", body = Meter),
    ),
)]
pub async fn put(
    caller: Caller<Write>,
    State(app): State<Arc<App>>,
    Named(meter): Named,
    _: NoQuery,
    Document(body): Document,
) -> Result<(StatusCode, Json<Meter>), Problem> {
    let profile = profile(body)?;
    sight::writable(caller.scope(), &meter)?;
    let mut attempt = 1;
    let created = loop {
        match replace(&app, &caller, &meter, &profile).await {
            Err(problem)
                if problem.code() == ems_api::ErrorCode::Conflict && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            other => break other?,
        }
    };
    let record = sight::seen(&app.store, caller.scope(), &meter).await?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(shown(&app.store, &record).await?)))
}

/// Removes a meter with all its readings.
#[utoipa::path(
    delete, path = "/api/v1/meters/{meter_id}", operation_id = "deleteMeter", tag = "meters",
    params(("meter_id" = String, Path, description = "Its id", pattern = "^[A-Za-z0-9_-]{1,50}$")),
    responses((status = 204, description = "It is gone")),
)]
pub async fn remove(
    caller: Caller<Delete>,
    State(app): State<Arc<App>>,
    Named(meter): Named,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    sight::writable(caller.scope(), &meter)?;
    let record = sight::seen(&app.store, caller.scope(), &meter).await?;
    let mut event = caller.access("delete", "meters");
    event.subjects = sight::pseudonym(&app.store, &meter)
        .await?
        .into_iter()
        .collect();
    let change = RecordChange {
        table: Table::Meters,
        id: meter.as_str().to_owned(),
        expect: Expect::Revision(record.revision),
        value: None,
    };
    let batch = Batch {
        deletions: vec![Deletion {
            meter,
            range: TimeRange::ALL,
        }],
        records: vec![change],
        ledger: vec![event],
        ..Batch::default()
    };
    app.store.commit.commit(batch).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a profile in the place of the one that is there; whether the meter is new.
async fn replace(
    app: &App,
    caller: &Caller<Write>,
    meter: &MeterId,
    profile: &meter::MeterProfile,
) -> Result<bool, Problem> {
    let record = app.store.records.get(Table::Meters, meter.as_str()).await?;
    if record.is_none() {
        heed(
            app,
            app.limiter.new_meters(caller.principal(), 1).await,
            "new_meters",
        )?;
    }
    let old = record.as_ref().map(known).transpose()?;
    let pseudonym = sight::pseudonym(&app.store, meter).await?;
    let change = Change {
        component: format!("meter:{}", pseudonym.as_deref().unwrap_or("new")),
        old_value: old.as_ref().map(named).unwrap_or_default(),
        new_value: named(profile),
    };
    let action = if record.is_some() { "update" } else { "create" };
    let mut event = caller.change(action, "meters", change);
    event.subjects = pseudonym.into_iter().collect();
    let value =
        serde_json::to_vec(profile).map_err(|error| Problem::internal(error.to_string()))?;
    let change = RecordChange {
        table: Table::Meters,
        id: meter.as_str().to_owned(),
        expect: record
            .as_ref()
            .map_or(Expect::Absent, |record| Expect::Revision(record.revision)),
        value: Some(value),
    };
    let batch = Batch {
        records: vec![change],
        ledger: vec![event],
        ..Batch::default()
    };
    app.store.commit.commit(batch).await?;
    Ok(record.is_none())
}

/// What a profile says, for the ledger: which things, not what of them, since a place and a
/// customer are personal.
fn named(profile: &meter::MeterProfile) -> String {
    let said = [
        ("location", profile.location.is_some()),
        ("timezone", profile.timezone.is_some()),
        ("site", profile.site.is_some()),
        ("customer_id", profile.customer_id.is_some()),
    ];
    let said: Vec<&str> = said
        .iter()
        .filter(|(_, said)| *said)
        .map(|(name, _)| *name)
        .collect();
    json!(said).to_string()
}

/// The profile in a record.
fn known(record: &Record) -> Result<meter::MeterProfile, Problem> {
    serde_json::from_slice(&record.value)
        .map_err(|error| Problem::internal(format!("a meter's record: {error}")))
}

/// A meter as it is shown.
async fn shown(store: &Store, record: &Record) -> Result<Meter, Problem> {
    let meter_id = MeterId::parse(&record.id)
        .map_err(|fault| Problem::internal(format!("a meter's record: {fault}")))?;
    let profile = known(record)?;
    let statistics = store.segments.statistics(&meter_id).await?;
    Ok(Meter {
        meter_id,
        location: profile.location,
        timezone: profile.timezone,
        site: profile.site,
        customer_id: profile.customer_id,
        first_reading: statistics.span.map(|span| span.0),
        last_reading: statistics.span.map(|span| span.1),
        readings: statistics.readings,
    })
}

fn profile(mut body: Object) -> Result<meter::MeterProfile, Problem> {
    let location = body.optional("location", |value| strict::parsed(value, Location::parse));
    let timezone = body.optional("timezone", |value| strict::parsed(value, zone));
    let site = body.optional("site", |value| {
        let site = strict::sized_text(value, 1, 100)?;
        if site.chars().any(char::is_control) {
            return Err(vec![format_fault(
                "a site's name has no control characters",
            )]);
        }
        Ok(site)
    });
    let customer_id = body.optional("customer_id", |value| strict::parsed(value, customer));
    body.finish(Some(meter::MeterProfile {
        location,
        timezone,
        site,
        customer_id,
    }))
}

fn zone(text: &str) -> Result<String, Fault> {
    let zone = Zone::parse(text).ok_or_else(|| {
        format_fault("a time zone is a name of the IANA database, such as Europe/London")
    })?;
    Ok(zone.name().to_owned())
}

fn customer(text: &str) -> Result<String, Fault> {
    if text.chars().count() > 64 {
        let why = "a customer's id has at most 64 characters";
        return Err(Fault::new("", FaultCode::TooLong, why));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || !text.chars().all(plain) {
        return Err(format_fault(&format!("a customer's id is {CUSTOMER_ID}")));
    }
    Ok(text.to_owned())
}

fn format_fault(why: &str) -> Fault {
    Fault::new("", FaultCode::InvalidFormat, why)
}

fn prefix(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if text.len() > MeterId::MAX || !text.bytes().all(plain) {
        return Err("is at most 50 letters, digits, '_' and '-'".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
