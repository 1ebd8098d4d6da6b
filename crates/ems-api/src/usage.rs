//! Usage over calendar buckets: the answer of `/api/v1/analytics/usage`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Usage, bucket by bucket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// `15m`, `1h`, `1d` or `1mo`.
    #[schema(pattern = "^(15m|1h|1d|1mo)$", example = "1d")]
    pub interval: String,
    /// The IANA zone whose calendar the buckets follow.
    #[schema(example = "Europe/London")]
    pub timezone: String,
    /// The buckets without a hole, the first and the last cut to the range.
    pub buckets: Vec<Bucket>,
}

/// One bucket. A gap has `count` 0 and null elsewhere, never 0 kWh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bucket {
    /// Its first instant, with the zone's offset.
    #[schema(format = DateTime, example = "2013-03-31T00:00:00+00:00")]
    pub start: String,
    /// The first instant after it.
    #[schema(format = DateTime, example = "2013-04-01T00:00:00+01:00")]
    pub end: String,
    /// Energy in kWh, all meters together.
    #[schema(required = true)]
    pub energy_kwh: Option<f64>,
    /// The smallest reading in kWh.
    #[schema(required = true)]
    pub min: Option<f64>,
    /// The largest reading in kWh.
    #[schema(required = true)]
    pub max: Option<f64>,
    /// The mean reading in kWh.
    #[schema(required = true)]
    pub mean: Option<f64>,
    /// The number of readings.
    pub count: u64,
}
