//! A whole range of readings, piece after piece: memory stays that of a piece or two, however long
//! the range is, because the next piece is read only when the one before was taken.
//!
//! The ledger has the intent before the first byte leaves, and the outcome after the last: either
//! `completed`, or `aborted` with the number of readings that were handed out by then. The answer's
//! end is held back until the outcome is durable.

use std::{io, sync::Arc};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use ems_core::{audit::AuditEvent, meter::MeterId, time::TimeRange};
use ems_guard::{Act, journal::Violation};
use ems_store::{Batch, Columns, Store};
use futures_util::stream::unfold;
use http::header;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use crate::{
    api::sight,
    app::App,
    caller::{Caller, Read},
    encode::{Form, Rows},
    problem::Problem,
};

/// Begins a stream. What fails before its first byte is a problem; what fails later ends it
/// short, which a client sees as an unfinished body.
pub(super) async fn answer(
    app: Arc<App>,
    caller: &Caller<Read>,
    (meter, range): (MeterId, TimeRange),
    form: Form,
) -> Result<Response, Problem> {
    let mut event = caller.access("read", "readings");
    event.subjects = sight::pseudonym(&app.store, &meter)
        .await?
        .into_iter()
        .collect();
    event.filters = json!({
        "start": range.start(),
        "end": range.end(),
        "media_type": form.content_type(),
        "stream": "begun",
    });
    event.record_count = 0;
    app.store.commit.commit(Batch::note(event.clone())).await?;
    let (sender, receiver) = mpsc::channel(1);
    let run = Run {
        act: caller.act(),
        route: caller.facts().route,
        app,
        sender,
        event,
        rows: Rows::new(form, meter.clone()),
    };
    tokio::spawn(run.run(meter, range));
    let body = unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    let headers = [(header::CONTENT_TYPE, form.content_type())];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// A running stream.
struct Run {
    app: Arc<App>,
    act: Act,
    route: &'static str,
    sender: mpsc::Sender<io::Result<Bytes>>,
    event: AuditEvent,
    rows: Rows,
}

/// How a stream ended.
enum End {
    Completed,
    /// The client went away.
    Left,
    /// The store failed.
    Failed(ems_store::Error),
}

impl Run {
    async fn run(mut self, meter: MeterId, range: TimeRange) {
        let end = self.pieces(&meter, range).await;
        let outcome = if matches!(end, End::Completed) {
            "completed"
        } else {
            "aborted"
        };
        let noted = self.note(outcome).await;
        let failure = match end {
            End::Failed(error) => Some(error),
            End::Completed | End::Left => noted.err(),
        };
        if let Some(error) = failure {
            if let ems_store::Error::Damaged { .. } = &error {
                let details = Map::from_iter([
                    ("endpoint".to_owned(), self.route.into()),
                    ("fault".to_owned(), error.to_string().into()),
                ]);
                let journal = &self.app.journal;
                journal.violation(&self.act, Violation::DamagedData, details);
                self.app.metrics.damaged();
            }
            tracing::error!(%error, request_id = %self.event.request_id, "a stream was cut short");
            // Whoever is gone by now needs no error.
            let _ = self
                .sender
                .send(Err(io::Error::other("the stream was cut short")))
                .await;
        }
    }

    async fn pieces(&mut self, meter: &MeterId, range: TimeRange) -> End {
        let store: Store = self.app.store.clone();
        let mut rest = Some(range);
        let mut out = Vec::new();
        self.rows.begin(&mut out);
        while let Some(range) = rest {
            let piece = match store.segments.scan(meter, range, Columns::All).await {
                Ok(piece) => piece,
                Err(error) => return End::Failed(error),
            };
            self.rows.push(&mut out, &piece.block, usize::MAX);
            rest = TimeRange::new(piece.until, range.end());
            let full = Bytes::from(std::mem::take(&mut out));
            if !full.is_empty() && self.sender.send(Ok(full)).await.is_err() {
                return End::Left;
            }
        }
        End::Completed
    }

    /// Puts the outcome into the ledger.
    async fn note(&mut self, outcome: &str) -> ems_store::Result<()> {
        let mut event = self.event.clone();
        event.timestamp = self.app.clock.now();
        event.record_count = self.rows.written();
        if let Some(filters) = event.filters.as_object_mut() {
            filters.insert("stream".to_owned(), Value::from(outcome));
        }
        self.app
            .store
            .commit
            .commit(Batch::note(event))
            .await
            .map(drop)
    }
}
