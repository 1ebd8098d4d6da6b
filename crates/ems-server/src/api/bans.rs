//! Addresses that are shut out: listed, added, lifted.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, response::IntoResponse};
use ems_api::{
    Page,
    ban::{Ban, BanKind, NewBan},
};
use ems_core::{Fault, FaultCode};
use ems_guard::{
    Network,
    bans::{Kind, LONGEST_BY_HAND, Sentence},
    door::Finding,
};
use http::StatusCode;

use crate::{
    app::App,
    body::Document,
    caller::{Admin, Caller},
    door,
    paging::{Paging, PathPart},
    problem::Problem,
    query::{NoQuery, Query},
    strict::{self, Json as Value, Read},
};

/// How long an address is shut out by hand when nothing is said.
const DAY: Duration = Duration::from_hours(24);

/// Lists the addresses that are shut out now, in the order of their texts.
#[utoipa::path(
    get, path = "/api/v1/security/bans", operation_id = "listBans", tag = "security",
    params(
        ("limit" = Option<u32>, Query, description = "Items of a page, 100 when absent",
         minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, description = "A page", body = Page<Ban>)),
)]
pub async fn list(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<Page<Ban>>, Problem> {
    let paging = Paging::whole(&app, &caller, query)?;
    let found = app.door.bans().list(paging.after(), paging.fetch());
    let bans = found.into_iter().map(shown).collect();
    super::listed(&app, &caller, &paging, ("bans", bans), |ban| &ban.ip).await
}

/// Shuts an address out. It holds at once, and in every process within a second or two.
#[utoipa::path(
    post, path = "/api/v1/security/bans", operation_id = "addBan", tag = "security",
    request_body = NewBan,
    responses(
        (status = 201, description = "It is shut out", body = Ban),
        (status = 409, description = "The settings say that it is never shut out"),
    ),
)]
pub async fn add(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<impl IntoResponse, Problem> {
    let network = body.required("ip", |value| strict::parsed(value, network));
    let kind = body.optional("kind", kind);
    let now = caller.now();
    let lasting = body.optional("until", |value| {
        let until = strict::instant(value)?;
        let micros = u64::try_from(until.as_micros() - now.as_micros()).unwrap_or(0);
        let lasting = Duration::from_micros(micros);
        if lasting.is_zero() || lasting > LONGEST_BY_HAND {
            let why = "a ban ends in the future, within a year";
            return Err(vec![Fault::new("", FaultCode::OutOfRange, why)]);
        }
        Ok(lasting)
    });
    let network = body.finish(network)?;
    let kind = match kind.unwrap_or(BanKind::Ban) {
        BanKind::Ban => Kind::Ban,
        BanKind::Block => Kind::Block,
    };
    let act = caller.act();
    let lasting = lasting.unwrap_or(DAY);
    let sentence = app.door.ban((network, kind), lasting, &act).await?;
    door::tell(&app, &act, vec![Finding::of_sentence(&sentence)], None).await;
    Ok((StatusCode::CREATED, Json(shown(sentence))))
}

/// Shows how an address is shut out.
#[utoipa::path(
    get, path = "/api/v1/security/bans/{ip}", operation_id = "ban", tag = "security",
    params(("ip" = String, Path, description = "The address")),
    responses((status = 200, description = "How it is shut out", body = Ban)),
)]
pub async fn get(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    PathPart(ip): PathPart,
    _: NoQuery,
) -> Result<Json<Ban>, Problem> {
    let network = covering(&app, &ip)?;
    let (sentence, _) = app
        .door
        .bans()
        .get(network)
        .ok_or_else(Problem::not_found)?;
    super::note_read(&app, &caller, "bans", 1, None).await?;
    Ok(Json(shown(sentence)))
}

/// Lets an address in again, and forgets what was counted against it.
#[utoipa::path(
    delete, path = "/api/v1/security/bans/{ip}", operation_id = "liftBan", tag = "security",
    params(("ip" = String, Path, description = "The address")),
    responses((status = 204, description = "It is let in")),
)]
pub async fn lift(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    PathPart(ip): PathPart,
    _: NoQuery,
) -> Result<StatusCode, Problem> {
    let network = covering(&app, &ip)?;
    let act = caller.act();
    app.door.lift(network, &act).await?;
    door::tell(&app, &act, vec![Finding::of_release(network)], None).await;
    Ok(StatusCode::NO_CONTENT)
}

/// The network that a text names, or the wider one around it that is shut out.
fn covering(app: &App, ip: &str) -> Result<Network, Problem> {
    let network: Network = ip.parse().map_err(|_| Problem::not_found())?;
    let bans = app.door.bans();
    let wider = network.wider().filter(|wider| bans.get(*wider).is_some());
    Ok(match bans.get(network) {
        Some(_) => network,
        None => wider.unwrap_or(network),
    })
}

fn network(text: &str) -> Result<Network, Fault> {
    text.parse().map_err(|error: ems_guard::NoNetwork| {
        Fault::new("", FaultCode::InvalidFormat, error.to_string())
    })
}

fn kind(value: Value) -> Read<BanKind> {
    strict::named(value, &BanKind::NAMED)
}

fn shown(sentence: Sentence) -> Ban {
    Ban {
        ip: sentence.network.to_string(),
        kind: match sentence.kind {
            Kind::Block => BanKind::Block,
            Kind::Ban => BanKind::Ban,
        },
        reason: sentence.reason.as_str().to_owned(),
        since: sentence.since,
        until: sentence.until,
        level: sentence.level,
        by: sentence.by,
    }
}
