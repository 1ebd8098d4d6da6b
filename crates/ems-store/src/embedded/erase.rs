//! Erasing a subject: its data is deleted and its key destroyed, in steps that each are durable
//! before the next, and that a start after a crash goes on with.
//!
//! One commit deletes its readings and its record and notes the erasure: from now on nothing is
//! taken for the meter. A fold empties the journals that name it; they and their keys end. Its
//! manifest, segments and replaced values are removed. Its key is destroyed: what old files or
//! copies hold of it is noise from here on. The note goes.

use std::sync::Arc;

use ems_core::{
    audit::{AuditEvent, AuditKind},
    meter::MeterId,
    time::TimeRange,
};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::{
    Batch, Deletion, Error, Expect, Record, RecordChange, Result, Table,
    readings::{disk::hex, engine::Engine, keys::Token, queue::Request},
    subject::Subject,
};

/// One erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    subject: Token,
    data: Token,
    pseudonym: String,
}

impl Erasure {
    pub(crate) fn of(engine: &Engine, meter: &MeterId, pseudonym: String) -> Self {
        Self {
            subject: engine.keys.subject_token(&Subject::Meter(meter.clone())),
            data: engine.keys.meter_token(meter),
            pseudonym,
        }
    }

    /// Those that were begun and not finished.
    pub(crate) fn pending(engine: &Engine) -> Vec<Self> {
        let records = engine.records.read();
        let rows = records.tables.get(&Table::Erasures).into_iter().flatten();
        rows.filter_map(|(_, record)| Self::read(record)).collect()
    }

    fn read(record: &Record) -> Option<Self> {
        let (subject, rest) = record.value.split_first_chunk()?;
        let (data, pseudonym) = rest.split_first_chunk()?;
        Some(Self {
            subject: *subject,
            data: *data,
            pseudonym: String::from_utf8(pseudonym.to_vec()).ok()?,
        })
    }

    /// The id of the record that notes it.
    pub(crate) fn id(&self) -> String {
        hex(&self.subject)
    }

    fn record(&self, value: Option<Vec<u8>>) -> RecordChange {
        RecordChange {
            table: Table::Erasures,
            id: self.id(),
            expect: Expect::Any,
            value,
        }
    }

    /// The first step, as a batch.
    pub(crate) fn begin(&self, meter: &MeterId, note: &AuditEvent) -> Batch {
        let known = [
            self.subject.as_slice(),
            &self.data,
            self.pseudonym.as_bytes(),
        ];
        let unknown = RecordChange {
            table: Table::Meters,
            id: meter.as_str().to_owned(),
            expect: Expect::Any,
            value: None,
        };
        Batch {
            deletions: vec![Deletion {
                meter: meter.clone(),
                range: TimeRange::ALL,
            }],
            records: vec![unknown, self.record(Some(known.concat()))],
            ledger: vec![self.noted(note, "begun")],
            ..Batch::default()
        }
    }

    fn noted(&self, note: &AuditEvent, stage: &str) -> AuditEvent {
        AuditEvent {
            subjects: vec![self.pseudonym.clone()],
            filters: json!({ "stage": stage }),
            ..note.clone()
        }
    }

    /// The steps after the first. Blocks; not to be called on an asynchronous thread.
    pub(crate) fn finish(
        &self,
        engine: &Engine,
        requests: &mpsc::Sender<Request>,
        note: &AuditEvent,
    ) -> Result<()> {
        ask(requests, Request::Fold)?;
        self.expect_folded(engine)?;
        engine.disk.purge(self.data)?;
        engine
            .keys
            .destroy(self.subject, self.data, engine.clock.now())?;
        engine.forget(self.data);
        let batch = Batch {
            records: vec![self.record(None)],
            ledger: vec![self.noted(note, "completed")],
            ..Batch::default()
        };
        ask(requests, |answer| Request::Commit(Box::new(batch), answer)).map(drop)
    }

    /// No journal may be left that names the meter: its replay would bring it back to life.
    fn expect_folded(&self, engine: &Engine) -> Result<()> {
        let begun = {
            let records = engine.records.read();
            let record = records.get(Table::Erasures, &self.id());
            record.map_or(0, |record| record.revision)
        };
        let head = engine.disk.head()?;
        let left = engine
            .keys
            .journals()
            .into_iter()
            .any(|number| number <= head.journal);
        if head.sequence >= begun && !left {
            return Ok(());
        }
        Err(Error::Unavailable(
            "the journal could not be folded, which destroying a key needs".into(),
        ))
    }
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
            match erasure.finish(&engine, &requests, &note) {
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

/// A ledger entry of the store's own.
fn own_note(engine: &Engine) -> AuditEvent {
    AuditEvent {
        timestamp: engine.clock.now(),
        event_type: AuditKind::DataAccess,
        user: "system".into(),
        action: "destroy_key".into(),
        table: "meters".into(),
        record_count: 1,
        filters: json!({}),
        subjects: Vec::new(),
        source_ip: "system".into(),
        request_id: String::new(),
        change: None,
    }
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
