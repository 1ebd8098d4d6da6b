//! Inspection where requests are: the head of each, the bodies of strangers before anything is said
//! of their credentials, and of known callers what their handlers read as text.
//!
//! A request that is blocked is told as `suspicious_pattern` with the rules, never with the text;
//! the answer says nothing of either.

use std::{net::IpAddr, sync::Arc};

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use ems_api::ErrorCode;
use ems_core::{
    policy::{Need, TABLE, need},
    quantity::Location,
};
use ems_guard::{
    Act,
    door::Finding,
    inspect::{Allow, Head, Inspector, Report, rule},
};
use http::{HeaderMap, Method, Version, header, request::Parts};

use crate::{
    app::App,
    body::{self, Charge},
    caller::{Facts, Identified, Local},
    config::{Guard, Inspection},
    decode::Decoded,
    door,
    problem::Problem,
};

/// What one request adds to the score of its address at most: none is banned for one mistake.
const MOST_SCORED: u32 = 10;
/// The score at which a request is judged, where no threshold above it is set.
const ENOUGH: u32 = 20;
/// Fields that hold secrets, on the routes that take them.
const SECRETS: [&str; 5] = ["password", "current", "new", "otp", "refresh_token"];

/// A stranger's body above this is judged on a thread of its own: one made of pieces of attacks takes
/// microseconds a byte, and no other request may wait for it.
const INLINE_BYTES: usize = 4096;
/// Bytes of a body that are judged byte by byte: of a stranger's, and of a known caller's rows where
/// some are bad.
const MOST_OF_ROWS: usize = 64 * 1024;
/// Where a provider of identities sends browsers back. What it puts into the query is its own matter,
/// such as the name of its session; of it we take three opaque texts, each held against what we know.
const CALLBACK: &str = "/api/v1/auth/sso/callback";
/// Where refresh tokens are taken.
const REFRESH: &str = "/api/v1/auth/refresh";

/// How requests are inspected.
#[derive(Debug)]
pub struct Inspections {
    inspector: Inspector,
    mode: Inspection,
    threshold: u32,
}

impl Inspections {
    /// As the settings say.
    pub fn new(guard: &Guard) -> Self {
        let allowed = guard.allow_rules.iter().filter_map(|allow| {
            Some(Allow {
                rule: rule(&allow.rule)?,
                route: allow.route.clone(),
                field: allow.field.clone(),
            })
        });
        Self {
            inspector: Inspector::new(allowed.collect(), guard.threshold.max(ENOUGH)),
            mode: guard.inspection,
            threshold: guard.threshold,
        }
    }

    /// Judges a request by what `look` shows of it.
    fn judge(
        &self,
        route: &str,
        look: impl FnOnce(&mut ems_guard::inspect::Inspection<'_>),
    ) -> Option<Report> {
        if self.mode == Inspection::Off {
            return None;
        }
        let mut inspection = self.inspector.begin(route);
        look(&mut inspection);
        inspection.report()
    }
}

/// Judges a head.
pub(crate) fn head(app: &App, route: &str, parts: &Parts) -> Option<Report> {
    app.inspections.judge(route, |inspection| {
        let fields: Vec<_> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let foreign =
            (parts.version < Version::HTTP_2 && is_foreign(parts)).then(|| parts.uri.to_string());
        inspection.head(&Head {
            method: parts.method.as_str(),
            path: foreign.as_deref().unwrap_or(parts.uri.path()),
            query: parts.uri.query().filter(|_| route != CALLBACK),
            fields: &fields,
        });
    })
}

/// Whether the target names another host than the request does.
fn is_foreign(parts: &Parts) -> bool {
    let host = parts
        .headers
        .get(header::HOST)
        .map(http::HeaderValue::as_bytes);
    parts
        .uri
        .authority()
        .is_some_and(|named| host != Some(named.as_str().as_bytes()))
}

/// Refuses what was found, if it reaches the threshold and inspection blocks, and tells of it.
/// `stranger`: the address, where it counts against it. The form alone of a known caller's request
/// is no attack: whoever reads it answers it by its own status.
pub(crate) async fn heed(
    app: &App,
    act: &Act,
    report: Option<Report>,
    stranger: Option<IpAddr>,
) -> Result<(), Problem> {
    let reached = |report: &Report| {
        let form = if stranger.is_some() { 0 } else { report.form };
        report.score - form >= app.inspections.threshold
    };
    let Some(report) = report.filter(reached) else {
        return Ok(());
    };
    let blocks = app.inspections.mode == Inspection::Block;
    let score = if blocks {
        report.score.min(MOST_SCORED)
    } else {
        0
    };
    let finding = Finding::of_inspection(&report, (score, blocks));
    door::tell(app, act, vec![finding], stranger).await;
    if blocks {
        return Err(Problem::new(ErrorCode::RequestBlocked));
    }
    Ok(())
}

/// A stranger's body, read and put back, and what was found in it. One that is too large for a
/// stranger is left as it is: whoever reads it refuses it.
pub(crate) async fn stranger(
    app: &App,
    route: &'static str,
    parts: &Parts,
    body: Body,
) -> Result<(Body, Charge, Option<Report>), Problem> {
    let off = app.inspections.mode == Inspection::Off;
    if off
        || !has_body(&parts.headers)
        || body::exceeds_anonymous(&app.settings.limits, &parts.headers)
    {
        return Ok((body, Charge::default(), None));
    }
    let (bytes, charge) = body::read_anonymous(app, body).await?;
    // A method that the route does not have is answered as that.
    let absent = TABLE.iter().any(|row| row.path == route) && need("GET", route).is_none();
    let bodied = !absent && (parts.method == Method::GET || parts.method == Method::HEAD);
    let media_type = parts.headers.get(header::CONTENT_TYPE).cloned();
    let (inspections, coding) = (Arc::clone(&app.inspections), body::packed(&parts.headers));
    let most = if is_uncounted(route) {
        INLINE_BYTES
    } else {
        MOST_OF_ROWS
    };
    let judged = bytes.slice(..bytes.len().min(most));
    let judge = move || {
        let unpacked = coding.map(|coding| body::beginning(&judged, coding, most));
        inspections.judge(route, |inspection| {
            if bodied {
                inspection.bodied();
            }
            inspection.skip(if is_secret(route) { &SECRETS } else { &[] });
            let media_type = media_type.as_ref().map(http::HeaderValue::as_bytes);
            inspection.body(media_type, unpacked.as_deref().unwrap_or(&judged));
        })
    };
    let report = if bytes.len() > INLINE_BYTES || coding.is_some() {
        let judged = tokio::task::spawn_blocking(judge).await;
        judged.map_err(|error| Problem::internal(error.to_string()))?
    } else {
        judge()
    };
    Ok((Body::from(bytes), charge, report))
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers
            .get(header::CONTENT_LENGTH)
            .is_some_and(|length| length != "0")
}

/// Whether a route is outside of the windows, or counted only by what comes of it.
fn is_uncounted(route: &str) -> bool {
    need("GET", route) == Some(Need::Open) || route == REFRESH
}

/// Whether a route takes passwords or tokens: any text may be one.
fn is_secret(route: &str) -> bool {
    let known = TABLE.iter().any(|row| row.path == route);
    known && (route.starts_with("/api/v1/auth/") || route.starts_with("/api/v1/users"))
}

/// Who sent a request, for what is found in its body once it is read.
pub(crate) struct Sender {
    act: Act,
    route: &'static str,
    known: bool,
}

impl Sender {
    /// The sender of a request.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let facts = request.extensions().get::<Facts>()?;
        let local = request.extensions().get::<Local>().is_some();
        let principal = request.extensions().get::<Identified>();
        Some(Self {
            act: facts.act(principal.map_or("anonymous", |known| &known.0.name)),
            route: facts.route,
            known: principal.is_some() && !local,
        })
    }

    /// Refuses a document of a known caller that looks like an attack. A stranger's was judged
    /// before.
    pub(crate) async fn document(&self, app: &App, bytes: &[u8]) -> Result<(), Problem> {
        if !self.known {
            return Ok(());
        }
        let report = app.inspections.judge(self.route, |inspection| {
            inspection.skip(if is_secret(self.route) { &SECRETS } else { &[] });
            inspection.trust();
            inspection.body(Some(b"application/json"), bytes);
        });
        heed(app, &self.act, report, None).await
    }
}

/// What is found in rows: in the locations of good ones, and, where there are bad ones, in the
/// beginning of the body. The other fields of a good row leave no room for an attack, and a bad one
/// is not stored.
pub(crate) fn rows<E>(
    inspections: &Inspections,
    (route, media_type): (&str, &str),
    body: &Bytes,
    decoded: &Result<Decoded, E>,
) -> Option<Report> {
    inspections.judge(route, |inspection| {
        if let Ok(decoded) = decoded {
            locations(inspection, decoded);
        }
        if decoded.as_ref().is_ok_and(|decoded| decoded.rejected == 0) {
            return;
        }
        inspection.trust();
        let beginning = body.get(..MOST_OF_ROWS).unwrap_or(body);
        inspection.body(Some(media_type.as_bytes()), beginning);
    })
}

fn locations(inspection: &mut ems_guard::inspect::Inspection<'_>, decoded: &Decoded) {
    let mut last = None;
    for (_, readings) in decoded.batch.groups() {
        for location in readings
            .iter()
            .filter_map(|reading| reading.location.as_ref())
        {
            // Rows of one place share its text.
            let same = |last: &Location| std::ptr::eq(last.as_str(), location.as_str());
            if !last.is_some_and(|last| same(last) || last == location) {
                inspection.text("location", location.as_str());
                last = Some(location);
            }
        }
    }
}
