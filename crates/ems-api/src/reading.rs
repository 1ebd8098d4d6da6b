//! Readings: bodies under `/api/v1/data`.

use ems_core::{meter::MeterId, quantity::Location, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::InputError;

/// A meter's reading, as it is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReading {
    /// The meter; not `secure`, `batch` or `validate`.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,50}$", example = "plant7-a")]
    pub meter_id: MeterId,
    /// The start of the interval: RFC 3339 with an offset, years 1970 to 9999, not in the future,
    /// to the microsecond.
    #[schema(value_type = String, format = DateTime, example = "2013-03-31T00:30:00Z")]
    pub timestamp: Timestamp,
    /// Energy of the interval in kWh.
    #[schema(minimum = 0, maximum = 100_000, example = 0.25)]
    pub energy_consumption: f64,
    /// Active by apparent power; null is as good as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1, example = 0.95)]
    pub power_factor: Option<f64>,
    /// Where it was taken; no control characters; null is as good as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = r"^[^\x00-\x1f\x7f-\x9f]{0,200}$")]
    pub location: Option<Location>,
}

/// What became of what was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stored {
    /// Readings that were not there before.
    pub accepted: u64,
    /// Readings that were there with the same values.
    pub unchanged: u64,
    /// Readings that replaced one with other values.
    pub corrected: u64,
}

/// What became of a batch: the four counts make the number of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchStored {
    /// Readings that were not there before.
    pub accepted: u64,
    /// Readings that were there with the same values.
    pub unchanged: u64,
    /// Readings that replaced one with other values.
    pub corrected: u64,
    /// Rows that broke a rule.
    pub rejected: u64,
    /// The broken rules, by row, at most 100.
    #[schema(max_items = 100)]
    pub errors: Vec<InputError>,
    /// Whether more rules were broken than `errors` names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub errors_truncated: bool,
}

/// A reading of a meter, as it comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reading {
    /// The start of the interval, in UTC.
    #[schema(value_type = String, format = DateTime, example = "2013-03-31T00:30:00Z")]
    pub timestamp: Timestamp,
    /// Energy of the interval in kWh.
    pub energy_consumption: f64,
    /// Active by apparent power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = f64, required = false)]
    pub power_factor: Option<f64>,
    /// Where it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub location: Option<Location>,
}

/// Readings of a meter in time's order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Readings {
    /// The meter.
    #[schema(value_type = String, example = "plant7-a")]
    pub meter_id: MeterId,
    /// Its readings, ascending.
    pub readings: Vec<Reading>,
    /// What to pass as `cursor` for those that follow; only when there are more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub next_cursor: Option<String>,
}

/// How many readings are gone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// Readings deleted.
    pub deleted: u64,
}
