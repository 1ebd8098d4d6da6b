//! A meter's name, and what is known of the meter beside its readings.

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultCode, quantity::Location, time::Timestamp};

/// A meter's id: 1 to 50 characters of `[A-Za-z0-9_-]`, none of the API's own words.
///
/// Cheap to clone (shared text).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MeterId(Arc<str>);

impl MeterId {
    /// The longest id, in characters (which are bytes here).
    pub const MAX: usize = 50;
    /// Words that are paths under `/api/v1/data/`.
    pub const RESERVED: [&'static str; 3] = ["secure", "batch", "validate"];

    /// Reads an id. The fault says which rule is broken; its pointer is `/meter_id`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), Fault> {
    let fault = |code, detail: &str| Err(Fault::new("/meter_id", code, detail));
    if text.len() > MeterId::MAX {
        return fault(FaultCode::TooLong, "a meter id has at most 50 characters");
    }
    if text.is_empty()
        || !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    {
        return fault(
            FaultCode::InvalidFormat,
            "a meter id is 1 to 50 letters, digits, '_' and '-'",
        );
    }
    if MeterId::RESERVED.contains(&text) {
        return fault(
            FaultCode::Reserved,
            "this word is a path of the API and cannot name a meter",
        );
    }
    Ok(())
}

impl fmt::Display for MeterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for MeterId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MeterId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|fault| fault.detail)
    }
}

impl From<MeterId> for String {
    fn from(id: MeterId) -> Self {
        id.as_str().to_owned()
    }
}

/// What an operator may say of a meter. All optional; the id comes with the record's key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterProfile {
    /// Where it stands, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Its IANA zone, for calendars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// The site it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The customer it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_id: Option<String>,
}

/// How many readings a meter has, and their span.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeterStatistics {
    /// The number of distinct readings.
    pub readings: u64,
    /// The earliest and the latest reading's timestamp; `None` without readings.
    pub span: Option<(Timestamp, Timestamp)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> FaultCode {
        MeterId::parse(text).unwrap_err().code
    }

    #[test]
    fn takes_the_longest_id_and_refuses_one_more() {
        assert!(MeterId::parse(&"a".repeat(50)).is_ok());
        assert_eq!(code(&"a".repeat(51)), FaultCode::TooLong);
    }

    #[test]
    fn refuses_what_could_be_a_path_or_a_pattern() {
        for text in ["", "a b", "a/b", "a.b", "plant-*", "é", "a\0"] {
            assert_eq!(code(text), FaultCode::InvalidFormat, "{text:?}");
        }
        for text in MeterId::RESERVED {
            assert_eq!(code(text), FaultCode::Reserved);
        }
    }
}
