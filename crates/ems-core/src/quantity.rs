//! Physical quantities of a reading: energy, power factor, place. Each is checked once, here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultCode};

/// Energy of one interval in kilowatt-hours, 0 to 100,000, finite; −0 is kept as 0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Kwh(f64);

impl Kwh {
    /// The largest value taken.
    pub const MAX: f64 = 100_000.0;

    /// Takes a value in bounds.
    pub fn new(value: f64) -> Result<Self, Fault> {
        if (0.0..=Self::MAX).contains(&value) {
            return Ok(Self(value + 0.0)); // −0 + 0 is 0
        }
        Err(Fault::new(
            "/energy_consumption",
            FaultCode::OutOfRange,
            "energy is 0 to 100000 kWh",
        ))
    }

    /// The value in kWh.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The ratio of active to apparent power, 0 to 1; −0 is kept as 0.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct PowerFactor(f64);

impl PowerFactor {
    /// Takes a value in bounds.
    pub fn new(value: f64) -> Result<Self, Fault> {
        if (0.0..=1.0).contains(&value) {
            return Ok(Self(value + 0.0));
        }
        Err(Fault::new(
            "/power_factor",
            FaultCode::OutOfRange,
            "a power factor is 0 to 1",
        ))
    }

    /// The ratio.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// Where a reading was taken: at most 200 characters, no control characters. Personal data.
///
/// Cheap to clone (shared text).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location(Arc<str>);

impl Location {
    /// The longest text, in characters (Unicode scalar values).
    pub const MAX: usize = 200;

    /// Reads a place. The fault's pointer is `/location`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > Self::MAX && text.chars().count() > Self::MAX {
            return Err(Fault::new(
                "/location",
                FaultCode::TooLong,
                "a location has at most 200 characters",
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(Fault::new(
                "/location",
                FaultCode::InvalidFormat,
                "a location has no control characters",
            ));
        }
        Ok(Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Location {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|fault| fault.detail)
    }
}

impl From<Location> for String {
    fn from(place: Location) -> Self {
        place.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_nothing_that_is_no_number_passes() {
        for value in [0.0, 1e-300, 100_000.0] {
            assert_eq!(Kwh::new(value).unwrap().get().to_bits(), value.to_bits());
        }
        for value in [
            -1e-9,
            100_000.000_1,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ] {
            assert!(Kwh::new(value).is_err(), "{value}");
            assert!(PowerFactor::new(value).is_err(), "{value}");
        }
        assert!(PowerFactor::new(1.000_000_1).is_err());
    }

    #[test]
    fn minus_zero_is_zero() {
        assert_eq!(Kwh::new(-0.0).unwrap().get().to_bits(), 0.0_f64.to_bits());
        assert_eq!(
            PowerFactor::new(-0.0).unwrap().get().to_bits(),
            0.0_f64.to_bits()
        );
    }

    #[test]
    fn a_location_counts_characters_not_bytes() {
        assert!(Location::parse(&"é".repeat(200)).is_ok());
        assert_eq!(
            Location::parse(&"é".repeat(201)).unwrap_err().code,
            FaultCode::TooLong
        );
        assert_eq!(
            Location::parse("a\nb").unwrap_err().code,
            FaultCode::InvalidFormat
        );
        assert_eq!(
            Location::parse("a\u{85}b").unwrap_err().code,
            FaultCode::InvalidFormat
        );
    }
}
