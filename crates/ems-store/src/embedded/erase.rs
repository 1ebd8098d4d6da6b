//! Erasing a subject: its data is deleted and its key destroyed, in steps that each are durable
//! before the next, and that a start after a crash goes on with.
//!
//! One commit deletes its readings and its record and notes the erasure: from now on nothing is
//! taken for the meter. A fold empties the journals that name it; they and their keys end. Its
//! manifest, segments and replaced values are removed. Its key is destroyed: what old files or
//! copies hold of it is noise from here on. The note goes.

use std::sync::Arc;

use ems_core::audit::AuditEvent;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Error, Result,
    readings::{
        engine::Engine,
        erasure::{Erasure, own_note},
        queue::Request,
    },
};

/// The steps of an erasure after the first. Blocks; not to be called on an asynchronous thread.
pub(crate) fn finish(
    erasure: &Erasure,
    engine: &Engine,
    requests: &mpsc::Sender<Request>,
    note: &AuditEvent,
) -> Result<()> {
    ask(requests, Request::Fold)?;
    expect_folded(erasure, engine)?;
    engine.disk.purge(erasure.data)?;
    let now = engine.clock.now();
    engine.keys.destroy(erasure.subject, erasure.data, now)?;
    engine.forget(erasure.data);
    let end = Box::new(erasure.end(note));
    ask(requests, |answer| Request::Commit(end, answer)).map(drop)
}

/// No journal may be left that names the meter: its replay would bring it back to life.
fn expect_folded(erasure: &Erasure, engine: &Engine) -> Result<()> {
    let head = engine.disk.head()?;
    let left = engine
        .keys
        .journals()
        .into_iter()
        .any(|number| number <= head.journal);
    if head.sequence >= erasure.begun(engine) && !left {
        return Ok(());
    }
    Err(Error::Unavailable(
        "the journal could not be folded, which destroying a key needs".into(),
    ))
}

/// Goes on with what was begun before the start, on a thread of its own.
pub(crate) fn resume(engine: &Arc<Engine>, requests: &mpsc::Sender<Request>) -> Result<()> {
    let pending = Erasure::pending(engine);
    if pending.is_empty() {
        return Ok(());
    }
    let (engine, requests) = (Arc::clone(engine), requests.clone());
    let work = move || {
        for erasure in pending {
            let note = own_note(&engine);
            match finish(&erasure, &engine, &requests, &note) {
                Ok(()) => tracing::info!("an interrupted destruction of a key was finished"),
                Err(error) => {
                    tracing::error!(%error, "an interrupted destruction of a key is still pending");
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("ems-eraser".into());
    thread
        .spawn(work)
        .map(drop)
        .map_err(Error::io("eraser thread"))
}

fn ask<T>(
    requests: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request,
) -> Result<T> {
    let (answer, wait) = oneshot::channel();
    let closed = || Error::Unavailable("it is closed".into());
    requests
        .blocking_send(request(answer))
        .map_err(|_| closed())?;
    wait.blocking_recv().map_err(|_| closed())?
}
