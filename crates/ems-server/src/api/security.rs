//! What happened: security events, and the report on an incident.

use std::sync::Arc;

use axum::{Json, extract::State};
use ems_api::{
    incident::{Incident, Period},
    security::SecurityEvents,
};
use ems_core::time::Timestamp;
use ems_store::Batch;
use serde_json::json;

use super::data::instant;
use crate::{
    app::App,
    caller::{Admin, Audit, Caller},
    cursor::Binding,
    events::{self, Filter},
    incident::{self, Asked, Suspect},
    paging::{DEFAULT_LIMIT, MAX_LIMIT},
    problem::Problem,
    query::Query,
};

/// Subjects of one ledger entry.
const SUBJECTS: usize = 10_000;

/// Lists violations and failed authentications, the newest first, as far back as `security.log` is
/// kept. A page looks through a bounded part of it.
#[utoipa::path(
    get, path = "/api/v1/security/events", operation_id = "securityEvents", tag = "security",
    params(
        ("type" = Option<String>, Query, pattern = "^[a-z_]{1,64}$",
         description = "`security_violation`, `authentication`, or a violation's name"),
        ("user" = Option<String>, Query, pattern = "^[A-Za-z0-9._@:-]{1,80}$",
         description = "Whose, as the log has it: `alice`, `key:3kTMd8Vy`, `anonymous`"),
        ("address" = Option<String>, Query, pattern = "^[0-9a-fA-F:.]{2,45}$",
         description = "From which address"),
        ("since" = Option<String>, Query, format = DateTime,
         description = "The first instant; since ever when absent"),
        ("until" = Option<String>, Query, format = DateTime,
         description = "The first instant after; for ever when absent"),
        ("limit" = Option<u32>, Query, description = "Items of a page, 100 when absent",
         minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query,
         description = "`next_cursor` of the page before, with the same query"),
    ),
    responses((status = 200, description = "A page", body = SecurityEvents)),
)]
pub async fn events(
    caller: Caller<Audit>,
    State(app): State<Arc<App>>,
    mut query: Query,
) -> Result<Json<SecurityEvents>, Problem> {
    let filter = Filter::take(&mut query)?;
    let limit = query.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
    let binding = Binding::new(caller.facts().route, caller.name());
    let binding = filter.parts().iter().fold(binding, Binding::with);
    let from = query.cursor(&binding, &app.cursor_key)?;
    query.finish()?;
    let found = events::find(&app, filter.clone(), (from, limit)).await?;
    let mut event = caller.access("read", "security_events");
    event.record_count = u64::try_from(found.items.len()).unwrap_or(u64::MAX);
    event.filters = filter.shown();
    app.store.commit.commit(Batch::note(event)).await?;
    Ok(Json(SecurityEvents {
        items: found.items,
        next_cursor: found
            .next
            .map(|place| binding.seal(&app.cursor_key, &place.to_bytes())),
        skipped_lines: found.skipped,
    }))
}

/// Reports what a principal or an address did in a period: for the notice of a breach.
#[utoipa::path(
    get, path = "/api/v1/security/incident", operation_id = "incident", tag = "security",
    params(
        ("principal" = Option<String>, Query, pattern = "^[A-Za-z0-9._@:-]{1,80}$",
         description = "A principal, as the ledger names it; this or `address`"),
        ("address" = Option<String>, Query, pattern = "^[0-9a-fA-F:.]{2,45}$",
         description = "An address; this or `principal`"),
        ("since" = String, Query, format = DateTime, description = "The first instant"),
        ("until" = Option<String>, Query, format = DateTime,
         description = "The first instant after; now when absent"),
        ("detected" = Option<String>, Query, format = DateTime,
         description = "When the incident was detected; the first violation of the period when \
                        absent, or now"),
    ),
    responses((status = 200, description = "The report", body = Incident)),
)]
pub async fn incident(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    mut query: Query,
) -> Result<Json<Incident>, Problem> {
    let asked = asked(&mut query, app.clock.now())?;
    query.finish()?;
    let incident = incident::report(&app, asked).await?;
    note(&app, &caller, &incident).await?;
    Ok(Json(incident))
}

fn asked(query: &mut Query, now: Timestamp) -> Result<Asked, Problem> {
    let principal = query.read("principal", events::user)?;
    let address = query.read("address", events::address)?;
    let suspect = match (principal, address) {
        (Some(name), None) => Suspect::Principal(name),
        (None, Some(address)) => Suspect::Address(address),
        _ => {
            return Err(Problem::parameter(
                "principal",
                "has to be given, or 'address'",
            ));
        }
    };
    let since = instant(query, "since")?;
    let since = since.ok_or_else(|| Problem::parameter("since", "has to be given"))?;
    // What happened at this very instant is of the report.
    let until = instant(query, "until")?.unwrap_or_else(|| now.saturating_add_micros(1));
    if since >= until {
        return Err(Problem::parameter("until", "has to be later than 'since'"));
    }
    let detected = instant(query, "detected")?;
    let period = Period {
        since,
        until,
        made: now,
    };
    Ok(Asked {
        suspect,
        period,
        detected,
    })
}

/// Puts the report into the ledger before it leaves: it names the meters, so it is a look at them.
async fn note(app: &App, caller: &Caller<Admin>, incident: &Incident) -> Result<(), Problem> {
    let mut event = caller.access("report", "incidents");
    event.record_count = incident.basis.entries_matched;
    event.filters = json!({
        "principal": incident.about.principal,
        "address": incident.about.address,
        "since": incident.period.since,
        "until": incident.period.until,
    });
    let named = incident
        .meters
        .iter()
        .filter(|meter| meter.meter_id.is_some());
    let named: Vec<String> = named.map(|meter| meter.pseudonym.clone()).collect();
    let mut parts = named.chunks(SUBJECTS);
    let mut batch = Batch::default();
    event.subjects = parts.next().unwrap_or_default().to_vec();
    batch.ledger.push(event.clone());
    event.record_count = 0;
    for part in parts {
        event.subjects = part.to_vec();
        batch.ledger.push(event.clone());
    }
    app.store.commit.commit(batch).await?;
    Ok(())
}
