//! Readings in. A row is taken whole or refused by name; what is taken is durable, together with
//! its entry in the ledger, before the answer leaves.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use ems_api::{
    ErrorCode, InputError,
    reading::{BatchStored, NewReading, Stored},
};
use ems_core::{
    Fault, FaultCode, audit::AuditEvent, reading::ReadingBatch, scope::Scope, time::Timestamp,
};
use ems_crypto::hash::sha256;
use ems_store::{Batch, Counts, Outcome, answers::Answered};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::{repeat, settle};
use crate::{
    api::{sight, window::heed},
    app::App,
    body::{self, Charge},
    caller::{Caller, WriteMeterData},
    decode::{self, Decoded, Failure, Form, Refused, Rules},
    door, inspect,
    problem::{Problem, input_error},
    query::{NoQuery, Query},
};

/// A body above this is decoded on a thread of its own, so that it holds up no other request.
const INLINE_BYTES: usize = 64 * 1024;

/// The media types of a batch.
const BATCH_TYPES: [&str; 3] = ["application/json", "application/x-ndjson", "text/csv"];

/// Stores one reading. A meter that is not known comes into being, unless the server is set to
/// take registered ones only; then, as for a meter outside the caller's, the answer is 403.
#[utoipa::path(
    post, path = "/api/v1/data", operation_id = "storeReading", tag = "readings",
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$",
         description = "Names the request: sent again within a day, it is answered as the first \
                        time and not done again")),
    request_body = NewReading,
    responses(
        (status = 201, description = "It is on disk", body = Stored),
        (status = 409, description = "The key was used for another request"),
    ),
)]
pub async fn create(
    caller: Caller<WriteMeterData>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    request: Request,
) -> Result<(StatusCode, Json<Stored>), Problem> {
    let key = repeat::key(request.headers())?;
    let limits = &app.settings.limits;
    let rules = body::Rules {
        compressed: false,
        ..body::Rules::rows(limits, &["application/json"])
    };
    let (_, bytes, charge) = body::read(&app, request, rules).await?.into_parts();
    let large = bytes.len() > INLINE_BYTES;
    let latest = latest(&app);
    let looker = Arc::clone(&app);
    let decode = move || {
        let decoded = decode::single(&bytes, latest);
        let one = |(meter, reading): &(_, _)| Decoded {
            batch: ReadingBatch::of(Clone::clone(meter), Clone::clone(reading)),
            ..Decoded::default()
        };
        let what = ("/api/v1/data", "application/json");
        let rows = decoded.as_ref().map(one);
        let suspect = inspect::rows(&looker.inspections, what, &bytes, &rows);
        (decoded, sha256(&bytes), suspect, charge)
    };
    let (row, hash, suspect, _charge) = run(large, decode).await?;
    inspect::heed(&app, &caller.act(), suspect, None).await?;
    let (meter, reading) = row.map_err(problem)?;
    let name = key.map(|key| repeat::name(&caller, &key, ("single", hash)));
    if let Some(answered) = repeat::answered(&app, name.as_ref()).await? {
        return Ok(created(answered.counts));
    }
    sight::writable(caller.scope(), &meter)?;
    let readings = ReadingBatch::of(meter, reading);
    let refused = settle::refused(&app, &readings).await?;
    if !refused.meters.is_empty() {
        return Err(sight::out_of_scope(decode::NOT_REGISTERED));
    }
    if !refused.corrections.is_empty() {
        let fault = Fault::new("/timestamp", FaultCode::OutOfRange, decode::TOO_OLD);
        return Err(Problem::invalid(vec![fault]));
    }
    let event = event(
        &caller,
        &readings,
        json!({ "sha256": HEXLOWER.encode(&hash) }),
    );
    let batch = Batch {
        readings,
        ledger: vec![event],
        repeatable: name,
        ..Batch::default()
    };
    Ok(created(store(&app, &caller, batch).await?.counts))
}

fn created(counts: Counts) -> (StatusCode, Json<Stored>) {
    let stored = Stored {
        accepted: counts.accepted,
        unchanged: counts.unchanged,
        corrected: counts.corrected,
    };
    (StatusCode::CREATED, Json(stored))
}

/// Stores a batch: a JSON array, NDJSON (blank lines at the end only), or CSV with a header row.
/// Good rows are stored and bad ones named, unless `atomic` asks for all or nothing.
#[utoipa::path(
    post, path = "/api/v1/data/batch", operation_id = "storeBatch", tag = "readings",
    params(
        ("atomic" = Option<bool>, Query,
         description = "Whether one bad row refuses the batch (422); false when absent"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$",
         description = "Names the request: sent again within a day, it is answered as the first \
                        time and not done again"),
    ),
    request_body(
        description = "Rows; optionally with Content-Encoding gzip or zstd",
        content(
            (Vec<NewReading> = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        ),
    ),
    responses(
        (status = 200, description = "The good rows are on disk", body = BatchStored),
        (status = 409, description = "The key was used for another request"),
    ),
)]
pub async fn batch(
    caller: Caller<WriteMeterData>,
    State(app): State<Arc<App>>,
    mut query: Query,
    request: Request,
) -> Result<Json<BatchStored>, Problem> {
    let atomic = query.read("atomic", flag)?.unwrap_or(false);
    query.finish()?;
    let key = repeat::key(request.headers())?;
    let (sent, decoded) = read(&app, &caller, request).await?;
    let route = format!("batch atomic={atomic} {}", sent.body.media_type);
    let name = key.map(|key| repeat::name(&caller, &key, (&route, sent.hash)));
    if let Some(Answered { counts, answer }) = repeat::answered(&app, name.as_ref()).await? {
        let outcome = Outcome {
            counts,
            repeated: Some(answer),
            ..Outcome::default()
        };
        return repeat::batch(BatchStored::default(), outcome).map(Json);
    }
    app.metrics.rejected(decoded.rejected);
    if atomic && decoded.rejected > 0 {
        return Err(Problem::invalid_rows(
            errors(decoded.faults),
            decoded.truncated,
        ));
    }
    let Decoded {
        batch: readings,
        rejected,
        faults,
        truncated,
    } = decoded;
    let rest = answer((rejected, faults, truncated), Counts::default());
    let mut batch = Batch {
        repeatable: repeat::keep(name, &rest),
        ..Batch::default()
    };
    if !readings.is_empty() {
        let filters = json!({
            "rejected": rejected,
            "sha256": HEXLOWER.encode(&sent.hash),
            "media_type": sent.body.media_type,
        });
        batch.ledger.push(event(&caller, &readings, filters));
        batch.readings = readings;
    } else if batch.repeatable.is_none() {
        return Ok(Json(rest));
    }
    let outcome = store(&app, &caller, batch).await?;
    repeat::batch(rest, outcome).map(Json)
}

/// Checks a batch as if it were stored, and stores nothing: what would be taken counts as
/// `accepted`, even where it is there already.
#[utoipa::path(
    post, path = "/api/v1/data/validate", operation_id = "validateBatch", tag = "readings",
    request_body(
        description = "As for a batch",
        content(
            (Vec<NewReading> = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        ),
    ),
    responses((status = 200, description = "What would become of it", body = BatchStored)),
)]
pub async fn validate(
    caller: Caller<WriteMeterData>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    request: Request,
) -> Result<Json<BatchStored>, Problem> {
    let (_sent, decoded) = read(&app, &caller, request).await?;
    let Decoded {
        batch,
        rejected,
        faults,
        truncated,
    } = decoded;
    let accepted = u64::try_from(batch.len()).unwrap_or(u64::MAX);
    let counts = Counts {
        accepted,
        ..Counts::default()
    };
    Ok(Json(answer((rejected, faults, truncated), counts)))
}

/// The body of a batch and what its rows are held against.
struct Body {
    media_type: &'static str,
    form: Form,
    bytes: Bytes,
    scope: Scope,
    latest: Timestamp,
    max_rows: Option<u64>,
    _charge: Charge,
}

/// A body that was read, and its SHA-256.
struct Sent {
    body: Arc<Body>,
    hash: [u8; 32],
}

impl Body {
    async fn decode(
        self: &Arc<Self>,
        app: &Arc<App>,
        caller: &Caller<WriteMeterData>,
        refused: Refused,
    ) -> Result<(Decoded, [u8; 32]), Problem> {
        let (body, looker) = (Arc::clone(self), Arc::clone(app));
        let decode = move || {
            let Body {
                scope,
                latest,
                max_rows,
                ..
            } = &*body;
            let rules = Rules {
                scope,
                refused: &refused,
                latest: *latest,
                max_rows: *max_rows,
            };
            let decoded = decode::batch(body.form, &body.bytes, &rules);
            let what = ("/api/v1/data/batch", body.media_type);
            let suspect = inspect::rows(&looker.inspections, what, &body.bytes, &decoded);
            (decoded, sha256(&body.bytes), suspect)
        };
        let (decoded, hash, suspect) = run(self.bytes.len() > INLINE_BYTES, decode).await?;
        inspect::heed(app, &caller.act(), suspect, None).await?;
        Ok((decoded.map_err(problem)?, hash))
    }
}

/// Reads a batch, and again without what the store has something against, so that it is named.
async fn read(
    app: &Arc<App>,
    caller: &Caller<WriteMeterData>,
    request: Request,
) -> Result<(Sent, Decoded), Problem> {
    let limits = &app.settings.limits;
    let rules = body::Rules::rows(limits, &BATCH_TYPES);
    let (media_type, bytes, charge) = body::read(app, request, rules).await?.into_parts();
    let body = Arc::new(Body {
        media_type,
        form: form(media_type),
        bytes,
        scope: caller.scope().clone(),
        latest: latest(app),
        max_rows: limits.batch_rows.get(),
        _charge: charge,
    });
    let (mut decoded, hash) = body.decode(app, caller, Refused::default()).await?;
    let refused = settle::refused(app, &decoded.batch).await?;
    if !refused.is_empty() {
        (decoded, _) = body.decode(app, caller, refused).await?;
    }
    probes(app, caller, &decoded).await;
    Ok((Sent { body, hash }, decoded))
}

/// Counts rows of meters that are not the caller's.
async fn probes(app: &App, caller: &Caller<WriteMeterData>, decoded: &Decoded) {
    let outside = |(_, fault): &&(u64, Fault)| fault.code == FaultCode::OutOfScope;
    let outside = decoded.faults.iter().filter(outside).count();
    let probed = |_| app.door.probed(caller.principal(), None);
    let findings = (0..outside).filter_map(probed).collect();
    door::tell(app, &caller.act(), findings, None).await;
}

/// Charges the windows, then commits readings, their event and what is kept of the answer together.
async fn store(
    app: &App,
    caller: &Caller<WriteMeterData>,
    batch: Batch,
) -> Result<Outcome, Problem> {
    let principal = caller.principal();
    let readings = &batch.readings;
    let count = u64::try_from(readings.len()).unwrap_or(u64::MAX);
    heed(
        app,
        app.limiter.readings(principal, count).await,
        "readings",
    )?;
    if app.settings.readings.new_meters_per_hour.get().is_some() {
        let new = u64::try_from(settle::unknown(app, readings).await?.len()).unwrap_or(u64::MAX);
        heed(
            app,
            app.limiter.new_meters(principal, new).await,
            "new_meters",
        )?;
    }
    let jump = app.jumps.as_ref().and_then(|jumps| jumps.see(readings));
    let outcome = app.store.commit.commit(batch).await?;
    if let Some(jump) = jump {
        let meter = sight::pseudonym(&app.store, &jump.meter).await;
        door::tell(
            app,
            &caller.act(),
            vec![jump.finding(meter.ok().flatten())],
            None,
        )
        .await;
    }
    Ok(outcome)
}

/// The ledger's entry: counts and a hash, no meter's name. The store adds what became of the rows.
fn event(caller: &Caller<WriteMeterData>, readings: &ReadingBatch, filters: Value) -> AuditEvent {
    let mut event = caller.access("create", "readings");
    event.record_count = u64::try_from(readings.len()).unwrap_or(u64::MAX);
    event.filters = filters;
    event
}

/// The last instant that is not the future, by the clock of now: a long body takes its time.
fn latest(app: &App) -> Timestamp {
    let skew = app.settings.readings.clock_skew.get().as_micros();
    app.clock
        .now()
        .saturating_add_micros(i64::try_from(skew).unwrap_or(i64::MAX))
}

/// Runs on the spot, or, where it takes long, on a thread that may.
async fn run<T: Send + 'static>(
    long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    if !long {
        return Ok(work());
    }
    spawn_blocking(work)
        .await
        .map_err(|error| Problem::internal(error.to_string()))
}

fn form(media_type: &str) -> Form {
    match media_type {
        "text/csv" => Form::Csv,
        "application/x-ndjson" => Form::Ndjson,
        _ => Form::Json,
    }
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse()
        .map_err(|_| "has to be true or false".to_owned())
}

fn problem(failure: Failure) -> Problem {
    match failure {
        Failure::Malformed(why) => Problem::malformed(why),
        Failure::Invalid { faults, truncated } => {
            let errors = faults
                .into_iter()
                .map(|fault| input_error(fault, None))
                .collect();
            Problem::invalid_rows(errors, truncated)
        }
        Failure::TooManyRows(_) => {
            Problem::with_detail(ErrorCode::PayloadTooLarge, failure.to_string())
        }
    }
}

fn errors(faults: Vec<(u64, Fault)>) -> Vec<InputError> {
    faults
        .into_iter()
        .map(|(index, fault)| input_error(fault, Some(index)))
        .collect()
}

fn answer(
    (rejected, faults, errors_truncated): (u64, Vec<(u64, Fault)>, bool),
    counts: Counts,
) -> BatchStored {
    let Counts {
        accepted,
        unchanged,
        corrected,
    } = counts;
    let errors = errors(faults);
    BatchStored {
        accepted,
        unchanged,
        corrected,
        rejected,
        errors,
        errors_truncated,
    }
}
