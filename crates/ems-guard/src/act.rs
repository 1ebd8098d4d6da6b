//! Who does something, when, from where, in which request: what every log line and ledger entry
//! has to say, gathered once.

use ems_core::{
    audit::{AuditEvent, AuditKind, Change},
    time::Timestamp,
};

/// The circumstances of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// Who: a principal's name, `anonymous` or `system`.
    pub user: String,
    /// The client's address, or `system`.
    pub source_ip: String,
    /// The request.
    pub request_id: String,
}

impl Act {
    /// An act of the server's own, such as a job's.
    pub fn system(at: Timestamp) -> Self {
        Self {
            at,
            user: "system".to_owned(),
            source_ip: "system".to_owned(),
            request_id: String::new(),
        }
    }

    /// A ledger entry for it, on one record, with no filters.
    pub fn event(&self, kind: AuditKind, action: &str, table: &str) -> AuditEvent {
        AuditEvent {
            timestamp: self.at,
            event_type: kind,
            user: self.user.clone(),
            action: action.to_owned(),
            table: table.to_owned(),
            record_count: 1,
            filters: serde_json::Value::Object(serde_json::Map::new()),
            subjects: Vec::new(),
            source_ip: self.source_ip.clone(),
            request_id: self.request_id.clone(),
            change: None,
        }
    }

    /// A ledger entry for a configuration change, its values already redacted.
    pub(crate) fn change(&self, action: &str, table: &str, change: Change) -> AuditEvent {
        AuditEvent {
            change: Some(change),
            ..self.event(AuditKind::ConfigurationChange, action, table)
        }
    }
}
