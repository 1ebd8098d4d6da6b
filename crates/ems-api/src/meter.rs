//! Meters: bodies under `/api/v1/meters`.

use ems_core::{meter::MeterId, quantity::Location, time::Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an operator says of a meter; what is absent is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeterProfile {
    /// Where it stands; no control characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = r"^[^\x00-\x1f\x7f-\x9f]{0,200}$")]
    pub location: Option<Location>,
    /// Its IANA time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, max_length = 64, example = "Europe/London")]
    pub timezone: Option<String>,
    /// The site it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = r"^[^\x00-\x1f\x7f-\x9f]{1,100}$")]
    pub site: Option<String>,
    /// The customer it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, pattern = "^[A-Za-z0-9._-]{1,64}$")]
    pub customer_id: Option<String>,
}

/// A meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Meter {
    /// Its id.
    #[schema(value_type = String, pattern = "^[A-Za-z0-9_-]{1,50}$", example = "plant7-a")]
    pub meter_id: MeterId,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub location: Option<Location>,
    /// Its IANA time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub timezone: Option<String>,
    /// The site it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub site: Option<String>,
    /// The customer it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub customer_id: Option<String>,
    /// The earliest reading's timestamp; null without readings.
    #[schema(value_type = Option<String>, required = true, format = DateTime)]
    pub first_reading: Option<Timestamp>,
    /// The latest reading's timestamp; null without readings.
    #[schema(value_type = Option<String>, required = true, format = DateTime)]
    pub last_reading: Option<Timestamp>,
    /// The number of readings.
    pub readings: u64,
}
