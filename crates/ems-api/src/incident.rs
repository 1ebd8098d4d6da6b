//! What a principal or an address did in a period: the facts for a notice of a breach.
//!
//! The parts follow what GDPR Art. 33(3) and NIS2 Art. 23(4) ask for. What no log can tell is in
//! [`ToFill`], for a human.

use ems_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// Whom it is about.
    pub about: About,
    /// The period.
    pub period: Period,
    /// The legal deadlines.
    pub deadlines: Deadlines,
    /// In short: did data leave, was it changed, was it only tried.
    pub effect: Effect,
    /// The categories of data concerned.
    pub categories: Vec<Category>,
    /// How many data subjects and records, approximately.
    pub extent: Extent,
    /// What was done, by action and table.
    pub actions: Vec<Action>,
    /// Configuration that was changed, as the ledger names it.
    pub changes: Vec<Changed>,
    /// Sessions that began.
    pub logins: Vec<Login>,
    /// The addresses that the principal came from, or the principals that used the address.
    pub peers: Vec<Peer>,
    /// What was refused: requests, credentials, violations. One attempt can be in several.
    pub refused: Vec<Refused>,
    /// The meters that entries of the ledger name.
    pub meters: Vec<Meter>,
    /// The customers whom these meters belong to now.
    pub customers: Vec<Customer>,
    /// What the report rests on.
    pub basis: Basis,
    /// What has to be known to read it rightly.
    pub notes: Vec<String>,
    /// What a human has to add.
    pub to_fill: ToFill,
}

/// Whom the report is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentAbout)]
pub struct About {
    /// The principal, as the ledger names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub principal: Option<String>,
    /// The address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
    /// Of a user or key that exists: its role now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub role: Option<String>,
    /// Of a user or key that exists: the meters that it may see and write now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scope: Vec<String>,
    /// Of a user or key that exists: whether its credentials are taken at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub active: Option<bool>,
}

/// From `since` up to and without `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentPeriod)]
pub struct Period {
    /// The first instant.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// The first instant after.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// When the report was made.
    #[schema(value_type = String, format = DateTime)]
    pub made: Timestamp,
}

/// The deadlines, counted from the detection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentDeadlines)]
pub struct Deadlines {
    /// When the incident was detected.
    #[schema(value_type = String, format = DateTime)]
    pub detected: Timestamp,
    /// Why then: `given`, `first_violation` of the period, or `report` for want of both.
    pub detected_by: String,
    /// The early warning, 24 hours later (NIS2 Art. 23(4)(a)).
    #[schema(value_type = String, format = DateTime)]
    pub early_warning: Timestamp,
    /// The notification, 72 hours later (GDPR Art. 33(1), NIS2 Art. 23(4)(b)).
    #[schema(value_type = String, format = DateTime)]
    pub notification: Timestamp,
    /// The final report, a month after a notification at the last moment (NIS2 Art. 23(4)(d)).
    #[schema(value_type = String, format = DateTime)]
    pub final_report: Timestamp,
}

/// In short.
#[expect(
    clippy::struct_excessive_bools,
    reason = "four questions that a notice asks"
)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentEffect)]
pub struct Effect {
    /// Whether records left the system.
    pub data_left: bool,
    /// Whether records were stored, changed or deleted.
    pub data_changed: bool,
    /// Whether something was refused.
    pub attempts_refused: bool,
    /// Whether nothing but refused attempts is known.
    pub only_attempted: bool,
}

/// A category of data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentCategory)]
pub struct Category {
    /// What data it is.
    pub name: String,
    /// Records that left, each time counted.
    pub records_left: u64,
    /// Records that were stored, changed or deleted.
    pub records_changed: u64,
}

/// Approximate numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentExtent)]
pub struct Extent {
    /// Data subjects: customers, and each meter without one as a subject of its own.
    pub data_subjects: u64,
    /// Customers among them.
    pub customers: u64,
    /// Meters that the ledger names.
    pub meters: u64,
    /// Those of them that are no longer known: erased or removed.
    pub meters_gone: u64,
    /// Meters beyond the number that a report lists; in no other figure but the actions'.
    pub meters_beyond: bool,
    /// Records that left, each time counted.
    pub records_left: u64,
    /// Records that were stored, changed or deleted.
    pub records_changed: u64,
}

/// How often, when, how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentSum)]
pub struct Sum {
    /// How many times.
    pub times: u64,
    /// How many records in all.
    pub records: u64,
    /// The first time.
    #[schema(value_type = String, format = DateTime)]
    pub first: Timestamp,
    /// The last time.
    #[schema(value_type = String, format = DateTime)]
    pub last: Timestamp,
}

/// What was done to a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentAction)]
pub struct Action {
    /// Such as `read`.
    pub action: String,
    /// Such as `readings`.
    pub table: String,
    /// `left`, `changed`, or `session` for logins and the like.
    pub effect: String,
    /// How often, when, how much.
    #[serde(flatten)]
    pub sum: Sum,
    /// Streams among them that were cut short; `records` has what was handed out by then.
    pub aborted: u64,
    /// Streams among them that have no end in the ledger: how much they gave is not known.
    pub without_end: u64,
}

/// A change of configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentChanged)]
pub struct Changed {
    /// What, such as `user:alice`; meters by pseudonym.
    pub component: String,
    /// Such as `create`.
    pub action: String,
    /// How often and when.
    #[serde(flatten)]
    pub sum: Sum,
}

/// A session that began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentLogin)]
pub struct Login {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Whose.
    pub user: String,
    /// From where.
    pub address: String,
    /// The request.
    pub request_id: String,
}

/// An address, or a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentPeer)]
pub struct Peer {
    /// The address or the principal; `others` for those beyond the number that a report lists.
    pub name: String,
    /// Acts in the ledger.
    pub acts: u64,
    /// Refusals in `security.log`, each line counted.
    pub refusals: u64,
    /// The first of either.
    #[schema(value_type = String, format = DateTime)]
    pub first: Timestamp,
    /// The last of either.
    #[schema(value_type = String, format = DateTime)]
    pub last: Timestamp,
}

/// What was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentRefused)]
pub struct Refused {
    /// `request`, `authentication` or `violation`.
    pub kind: String,
    /// The method and route, what was tried, or the violation's name.
    pub what: String,
    /// The status of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub status: Option<u16>,
    /// How often and when; `records` is 0.
    #[serde(flatten)]
    pub sum: Sum,
}

/// A meter that the ledger names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentMeter)]
pub struct Meter {
    /// The meter; absent for one that was erased or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub meter_id: Option<String>,
    /// Its name in the ledger.
    pub pseudonym: String,
    /// The customer whom it belongs to now, if its record names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub customer_id: Option<String>,
    /// What was done to it.
    pub acts: Vec<MeterAct>,
}

/// What was done to a meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentMeterAct)]
pub struct MeterAct {
    /// Such as `read`.
    pub action: String,
    /// `readings` or `meters`.
    pub table: String,
    /// How often and when; `records` are those that were of this meter alone.
    #[serde(flatten)]
    pub sum: Sum,
    /// Records of acts on several meters together, which the ledger does not tell apart: at most
    /// so many were of this meter.
    pub shared_records: u64,
}

/// A customer of some of the meters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentCustomer)]
pub struct Customer {
    /// The customer.
    pub customer_id: String,
    /// How many of the meters.
    pub meters: u64,
}

/// What the report rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentBasis)]
pub struct Basis {
    /// The first entry of the ledger that was read.
    pub ledger_from: u64,
    /// The first entry after those that were read.
    pub ledger_until: u64,
    /// Entries in the whole ledger then.
    pub ledger_entries: u64,
    /// Entries that the report is made of.
    pub entries_matched: u64,
    /// Lines of `security.log` of the period that were read.
    pub log_lines: u64,
    /// Lines that are in neither form of the log and were passed over.
    pub log_lines_skipped: u64,
    /// Events of floods of the period whose callers were not told apart: none of them is counted.
    pub log_unattributed: u64,
    /// Whether the log reaches back to the beginning of the period.
    pub log_complete: bool,
}

/// What a human has to add; null until then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = IncidentToFill)]
pub struct ToFill {
    /// The nature of the breach and how it came about (GDPR 33(3)(a), NIS2 23(4)(d)(i)–(ii)).
    pub nature_and_cause: Option<String>,
    /// Its severity and impact, across borders too (NIS2 23(4)(a), (b), (d)(iv)).
    pub severity_and_impact: Option<String>,
    /// The likely consequences for those concerned (GDPR 33(3)(c)).
    pub likely_consequences: Option<String>,
    /// The measures taken or proposed (GDPR 33(3)(d), NIS2 23(4)(d)(iii)).
    pub measures: Option<String>,
    /// The data-protection officer or another contact (GDPR 33(3)(b)).
    pub contact: Option<String>,
    /// Whether those concerned have to be told, and when they were (GDPR 34).
    pub data_subjects_told: Option<String>,
}
