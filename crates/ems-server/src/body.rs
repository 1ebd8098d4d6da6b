//! Reads request bodies within limits: of size as sent, of size once decompressed, and of all bodies
//! in memory together.
//!
//! A body that no credential came with is read only to `limits.anonymous_body_bytes`. Past the
//! shared budget a request waits a little and is then answered 503: memory is never the buffer.

#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use ems_api::ErrorCode;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    app::App, caller::Identified, config::Limits, inspect::Sender, listener::BodyError,
    problem::Problem, strict::Object,
};

/// The unit in which the budget is counted, in bytes.
const UNIT: usize = 1024;
/// How long a body waits for the budget.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that a document about one thing (a user, a key, a meter) may take, in bytes.
pub const DOCUMENT_BYTES: usize = 64 * 1024;
/// The most that is taken of a refused request's body, in bytes, and for how long.
const MOST_DISCARDED: usize = 64 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(1);
/// How much is decompressed before the budget is charged again, in bytes.
const STEP: usize = 256 * 1024;
/// The largest window of zstd, as a power of two: what HTTP allows (RFC 9659).
const LARGEST_WINDOW: u32 = 23;

/// The bytes that all bodies in memory may take together. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    units: Arc<Semaphore>,
    all: usize,
}

/// A part of the budget, given back when dropped.
#[derive(Debug, Default)]
pub struct Charge(Option<OwnedSemaphorePermit>);

impl Budget {
    /// A budget of so many bytes; 0 for no bound.
    pub fn new(bytes: usize) -> Self {
        let all = if bytes == 0 {
            Semaphore::MAX_PERMITS
        } else {
            bytes.div_ceil(UNIT)
        };
        let all = all.min(Semaphore::MAX_PERMITS);
        Self {
            units: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// Adds bytes to a charge, waiting for others to give theirs back.
    pub async fn charge(&self, charge: &mut Charge, bytes: usize) -> Result<(), Problem> {
        let units = bytes.div_ceil(UNIT);
        let Some(count) = u32::try_from(units).ok().filter(|_| units <= self.all) else {
            return Err(Problem::new(ErrorCode::PayloadTooLarge));
        };
        let permit = match Arc::clone(&self.units).try_acquire_many_owned(count) {
            Ok(permit) => permit,
            Err(_) => timeout(PATIENCE, Arc::clone(&self.units).acquire_many_owned(count))
                .await
                .ok()
                .and_then(Result::ok)
                .ok_or_else(|| Problem::unavailable("the budget of bodies in memory is spent"))?,
        };
        match &mut charge.0 {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }
}

/// What a route takes as a body.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The media types, the first being the one to advise.
    pub media_types: &'static [&'static str],
    /// Whether gzip and zstd are taken.
    pub compressed: bool,
    /// The most bytes as sent.
    pub sent: usize,
    /// The most bytes once decompressed.
    pub expanded: usize,
}

impl Rules {
    /// One JSON document about one thing.
    pub fn document(limits: &Limits) -> Self {
        let most = DOCUMENT_BYTES.min(bound(limits.body_bytes.in_memory()));
        Self {
            media_types: &["application/json"],
            compressed: false,
            sent: most,
            expanded: most,
        }
    }

    /// Many rows, in any of the media types.
    pub fn rows(limits: &Limits, media_types: &'static [&'static str]) -> Self {
        Self {
            media_types,
            compressed: true,
            sent: bound(limits.body_bytes.in_memory()),
            expanded: bound(limits.expanded_bytes.in_memory()),
        }
    }

    fn without_credential(self, limits: &Limits) -> Self {
        let most = bound(limits.anonymous_body_bytes.in_memory());
        Self {
            sent: self.sent.min(most),
            expanded: self.expanded.min(most),
            ..self
        }
    }
}

/// A setting of 0 is no bound.
fn bound(bytes: usize) -> usize {
    if bytes == 0 { usize::MAX } else { bytes }
}

/// A body in memory, which counts against the budget until it is dropped.
#[derive(Debug)]
pub struct Payload {
    /// Which of the media types it is.
    pub media_type: &'static str,
    /// The body, decompressed.
    pub bytes: Bytes,
    charge: Charge,
}

impl Payload {
    /// Gives the parts, for who keeps the bytes longer than the payload.
    pub fn into_parts(self) -> (&'static str, Bytes, Charge) {
        (self.media_type, self.bytes, self.charge)
    }
}

/// Reads a request's body. Its media type and coding are looked at before a byte of it.
pub async fn read(app: &App, request: Request, rules: Rules) -> Result<Payload, Problem> {
    let known = request.extensions().get::<Identified>().is_some();
    let rules = if known {
        rules
    } else {
        rules.without_credential(&app.settings.limits)
    };
    let (media_type, coding, declared) = match form(request.headers(), &rules) {
        Ok(form) => form,
        Err(problem) => {
            let (parts, body) = request.into_parts();
            discard(&parts.headers, body).await;
            return Err(problem);
        }
    };
    let mut charge = Charge::default();
    // A caller we know is charged at once, so that bodies come in one after the other instead of
    // all getting stuck half-way; a stranger is charged for no more than he has sent.
    let reserved = if known { declared } else { 0 };
    app.budget.charge(&mut charge, reserved).await?;
    let body = collect(
        &app.budget,
        request.into_body(),
        rules.sent,
        (reserved, &mut charge),
    )
    .await?;
    let Some(coding) = coding else {
        return Ok(Payload {
            media_type,
            bytes: body.into(),
            charge,
        });
    };
    let budget = app.budget.clone();
    let expand = move || expand(&budget, &body, coding, (rules.expanded, charge));
    let (bytes, charge) = tokio::task::spawn_blocking(expand)
        .await
        .map_err(|error| Problem::internal(error.to_string()))??;
    Ok(Payload {
        media_type,
        bytes,
        charge,
    })
}

/// What a head says of its body: media type, coding and length.
fn form(
    headers: &HeaderMap,
    rules: &Rules,
) -> Result<(&'static str, Option<Coding>, usize), Problem> {
    Ok((
        media_type(headers, rules.media_types)?,
        coding(headers, rules.compressed)?,
        declared_length(headers, rules.sent)?,
    ))
}

/// Whether a body says that it is larger than what is read of a stranger's.
pub(crate) fn exceeds_anonymous(limits: &Limits, headers: &HeaderMap) -> bool {
    let most = bound(limits.anonymous_body_bytes.in_memory());
    declared_length(headers, most).is_err()
}

/// Reads a body that no credential came with, whatever it is.
pub(crate) async fn read_anonymous(app: &App, body: Body) -> Result<(Bytes, Charge), Problem> {
    let most = bound(app.settings.limits.anonymous_body_bytes.in_memory());
    let mut charge = Charge::default();
    let bytes = collect(&app.budget, body, most, (0, &mut charge)).await?;
    Ok((bytes.into(), charge))
}

async fn collect(
    budget: &Budget,
    mut body: Body,
    most: usize,
    (mut reserved, charge): (usize, &mut Charge),
) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(reserved);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| body_problem(&error))?.into_data() else {
            continue;
        };
        let length = bytes.len().saturating_add(data.len());
        if length > most {
            return Err(Problem::new(ErrorCode::PayloadTooLarge));
        }
        if length > reserved {
            budget.charge(charge, length - reserved).await?;
            reserved = length.next_multiple_of(UNIT);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn body_problem(error: &axum::Error) -> Problem {
    if BodyError::is_deadline(error) {
        return Problem::with_detail(ErrorCode::RequestTimeout, "The body did not come in time");
    }
    Problem::malformed("the body ended before its end")
}

/// A content coding.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Coding {
    Gzip,
    Zstd,
}

fn coding(headers: &HeaderMap, compressed: bool) -> Result<Option<Coding>, Problem> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(unsupported_coding(compressed)),
    };
    let name = value
        .to_str()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match (&*name, compressed) {
        ("identity", _) => Ok(None),
        ("gzip" | "x-gzip", true) => Ok(Some(Coding::Gzip)),
        ("zstd", true) => Ok(Some(Coding::Zstd)),
        _ => Err(unsupported_coding(compressed)),
    }
}

fn unsupported_coding(compressed: bool) -> Problem {
    let taken = if compressed { "gzip, zstd" } else { "identity" };
    let detail = format!("content codings taken here: {taken}");
    Problem::with_detail(ErrorCode::UnsupportedMediaType, detail)
        .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static(taken))
}

/// The media type of a body, one of those that are taken.
fn media_type(headers: &HeaderMap, taken: &[&'static str]) -> Result<&'static str, Problem> {
    let unsupported = || {
        let detail = format!("media types taken here: {}", taken.join(", "));
        Problem::with_detail(ErrorCode::UnsupportedMediaType, detail)
    };
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(unsupported());
    };
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let utf8 = parts
        .filter_map(|part| part.split_once('='))
        .all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        });
    let found = taken
        .iter()
        .find(|media_type| media_type.eq_ignore_ascii_case(essence));
    found.copied().filter(|_| utf8).ok_or_else(unsupported)
}

fn declared_length(headers: &HeaderMap, most: usize) -> Result<usize, Problem> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(0);
    };
    // hyper has refused what is no number; one that no usize holds is too large all the same.
    let length = value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usize::MAX);
    if length > most {
        return Err(Problem::new(ErrorCode::PayloadTooLarge));
    }
    Ok(length)
}

/// Decompresses on a thread that may block, charging as it goes.
fn expand(
    budget: &Budget,
    body: &[u8],
    coding: Coding,
    (most, mut charge): (usize, Charge),
) -> Result<(Bytes, Charge), Problem> {
    let broken = |_: io::Error| Problem::malformed("the compressed body is broken");
    let mut reader = reader(body, coding).map_err(broken)?;
    let mut bytes = Vec::new();
    loop {
        Handle::current().block_on(budget.charge(&mut charge, STEP))?;
        bytes.reserve(STEP);
        let step = u64::try_from(STEP).unwrap_or(u64::MAX);
        let read = reader
            .by_ref()
            .take(step)
            .read_to_end(&mut bytes)
            .map_err(broken)?;
        if bytes.len() > most {
            return Err(Problem::new(ErrorCode::PayloadTooLarge));
        }
        if read < STEP {
            return Ok((bytes.into(), charge));
        }
    }
}

fn reader(body: &[u8], coding: Coding) -> io::Result<Box<dyn Read + '_>> {
    Ok(match coding {
        Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body)?;
            decoder.window_log_max(LARGEST_WINDOW)?;
            Box::new(decoder)
        }
    })
}

/// The coding of a body that no handler has taken yet, where it is one that we unpack.
pub(crate) fn packed(headers: &HeaderMap) -> Option<Coding> {
    coding(headers, true).ok().flatten()
}

/// The beginning of what a packed body holds, as far as it unpacks.
pub(crate) fn beginning(body: &[u8], coding: Coding, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(reader) = reader(body, coding) {
        // What came before it breaks is read all the same.
        let _ = reader
            .take(u64::try_from(most).unwrap_or(u64::MAX))
            .read_to_end(&mut bytes);
    }
    bytes
}

/// Takes what is left of a refused request's body, where that is little and comes at once. An answer
/// that overtakes an upload ends its HTTP/2 stream, and some clients (curl 7.88 among them) then
/// report an error in place of the answer.
pub(crate) async fn discard(headers: &HeaderMap, mut body: Body) {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    // One who waits to be asked for it is not asked.
    if length.is_some_and(|length| length > MOST_DISCARDED) || headers.contains_key(header::EXPECT)
    {
        return;
    }
    let rest = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, Bytes::len);
            if taken > MOST_DISCARDED {
                return;
            }
        }
    };
    // It is nobody's loss where it does not come.
    let _ = timeout(DISCARD_TIME, rest).await;
}

/// A JSON object about one thing, its fields yet to be taken.
#[derive(Debug)]
pub struct Document(pub Object);

impl FromRequest<Arc<App>> for Document {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        let sender = Sender::of(&request);
        let payload = read(app, request, Rules::document(&app.settings.limits)).await?;
        if let Some(sender) = sender {
            sender.document(app, &payload.bytes).await?;
        }
        Object::parse(&payload.bytes).map(Self)
    }
}

#[cfg(test)]
mod tests;
