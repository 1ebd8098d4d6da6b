//! Erasing a subject: what every backend does the same way. One commit deletes its readings and its
//! record and notes the erasure: from then on nothing is taken for the meter. What follows is the
//! backend's; when all is gone, the note goes.

use ems_core::{
    audit::{AuditEvent, AuditKind},
    meter::MeterId,
    time::TimeRange,
};
use serde_json::json;

use super::{disk::hex, engine::Engine, keys::Token};
use crate::{Batch, Deletion, Expect, Record, RecordChange, Table, subject::Subject};

/// One erasure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub(crate) subject: Token,
    pub(crate) data: Token,
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

    /// The last step, as a batch.
    pub(crate) fn end(&self, note: &AuditEvent) -> Batch {
        Batch {
            records: vec![self.record(None)],
            ledger: vec![self.noted(note, "completed")],
            ..Batch::default()
        }
    }

    /// The number of the commit that began it.
    pub(crate) fn begun(&self, engine: &Engine) -> u64 {
        let records = engine.records.read();
        let record = records.get(Table::Erasures, &self.id());
        record.map_or(0, |record| record.revision)
    }
}

/// A ledger entry of the store's own.
pub(crate) fn own_note(engine: &Engine) -> AuditEvent {
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
