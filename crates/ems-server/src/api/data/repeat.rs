//! `Idempotency-Key`: readings that a client sends again, because no answer reached it, are answered
//! as the first time, for a day (draft-ietf-httpapi-idempotency-key-header).
//!
//! A key is one caller's. What was sent under it is known by a hash over the route, its parameters
//! and the body; another request under the same key is a conflict. The answer is kept by the commit
//! that it answers, so one that is under way is waited for.

use data_encoding::HEXLOWER;
use ems_api::{ErrorCode, reading::BatchStored};
use ems_crypto::hash::sha256;
use ems_store::{
    Counts, Outcome,
    answers::{Answered, Known, Repeatable},
};
use http::{HeaderMap, HeaderName};

use crate::{
    app::App,
    caller::{Caller, WriteMeterData},
    problem::Problem,
};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key.
const MOST: usize = 255;
/// How long an answer is kept, in microseconds.
const KEPT: i64 = 24 * 3600 * 1_000_000;

/// The key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let refused = |why: &str| {
        let why = format!("header 'Idempotency-Key': {why}");
        Problem::with_detail(ErrorCode::InvalidParameter, why)
    };
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(refused("it comes twice"));
    }
    let text = value.as_bytes();
    let visible = text.iter().all(u8::is_ascii_graphic);
    if text.is_empty() || text.len() > MOST || !visible {
        return Err(refused("has to be 1 to 255 visible ASCII characters"));
    }
    Ok(Some(String::from_utf8_lossy(text).into_owned()))
}

/// What a request is known by: its key, its caller, and all that its answer depends on.
pub(super) fn name(
    caller: &Caller<WriteMeterData>,
    key: &str,
    (route, body): (&str, [u8; 32]),
) -> Repeatable {
    // No name of a caller holds a line end.
    let id = sha256(format!("{}\n{key}", caller.name()).as_bytes());
    let mut sent = route.as_bytes().to_vec();
    sent.push(b'\n');
    sent.extend(body);
    Repeatable {
        id: HEXLOWER.encode(&id),
        digest: sha256(&sent),
        answer: Vec::new(),
        until: caller.now().saturating_add_micros(KEPT),
    }
}

/// The answer of the first time, if there was one.
pub(super) async fn answered(
    app: &App,
    name: Option<&Repeatable>,
) -> Result<Option<Answered>, Problem> {
    let Some(name) = name else {
        return Ok(None);
    };
    match name
        .look(app.store.records.as_ref(), app.clock.now())
        .await?
    {
        Known::New => Ok(None),
        Known::Same(answered) => Ok(Some(answered)),
        Known::Other => Err(ems_store::Error::NameTaken.into()),
    }
}

/// What an answer to a batch holds beside the counts, to be kept.
pub(super) fn keep(name: Option<Repeatable>, rest: &BatchStored) -> Option<Repeatable> {
    let answer = serde_json::to_vec(rest).unwrap_or_default();
    name.map(|name| Repeatable { answer, ..name })
}

/// The answer to a batch: of the first time, where it was sent before.
pub(super) fn batch(rest: BatchStored, outcome: Outcome) -> Result<BatchStored, Problem> {
    let rest = match outcome.repeated {
        None => rest,
        Some(kept) => serde_json::from_slice(&kept)
            .map_err(|error| Problem::internal(format!("an answer that was kept: {error}")))?,
    };
    let Counts {
        accepted,
        unchanged,
        corrected,
    } = outcome.counts;
    Ok(BatchStored {
        accepted,
        unchanged,
        corrected,
        ..rest
    })
}
