//! Durations and sizes as people write them: `"1h30m"`, `"16MiB"`.
//!
//! A bare number in a settings file leaves its unit to memory, and memory errs; so these are text
//! with a unit, read once here into types that carry it.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A length of time, written as numbers with `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timespan(Duration);

impl Timespan {
    /// Nothing.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The time span of a duration.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// As the standard library has it.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// The bound it stands for: `None` for zero.
    pub fn limit(self) -> Option<Duration> {
        (!self.0.is_zero()).then_some(self.0)
    }
}

/// Units of time with their milliseconds, the largest first. `ms` before `m`: it is tried first.
const TIME_UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("ms", 1),
    ("m", 60_000),
    ("s", 1_000),
];

impl FromStr for Timespan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration such as \"90s\", \"15m\" or \"1h30m\"");
        let mut rest = text;
        let mut total = 0_u64;
        while !rest.is_empty() {
            let (number, after) = number(rest).ok_or_else(wrong)?;
            let (unit, milliseconds) = TIME_UNITS
                .into_iter()
                .find(|(unit, _)| after.starts_with(unit))
                .ok_or_else(wrong)?;
            total = number
                .checked_mul(milliseconds)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(wrong)?;
            rest = after.strip_prefix(unit).unwrap_or_default();
        }
        if text.is_empty() {
            return Err(wrong());
        }
        Ok(Self(Duration::from_millis(total)))
    }
}

/// The number at the start of a text, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

impl fmt::Display for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_millis();
        if total == 0 {
            return f.write_str("0s");
        }
        let mut rest = total;
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if rest >= size {
                write!(f, "{}{unit}", rest / size)?;
                rest %= size;
            }
        }
        Ok(())
    }
}

/// A number of bytes, written with `B`, `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(u64);

impl ByteSize {
    /// A number of bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// In bytes, for what is in memory; the largest `usize` when it would not fit one.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The bound it stands for: `None` for zero.
    pub fn limit(self) -> Option<u64> {
        (self.0 != 0).then_some(self.0)
    }
}

/// Units of size with their bytes, the largest first.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size such as \"512B\", \"64KiB\" or \"16MiB\"");
        let (number, after) = number(text).ok_or_else(wrong)?;
        let (_, unit) = SIZE_UNITS
            .into_iter()
            .find(|(unit, _)| *unit == after)
            .ok_or_else(wrong)?;
        number.checked_mul(unit).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = SIZE_UNITS
            .into_iter()
            .find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size))
            .unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / size)
    }
}

/// A number that bounds something; 0 is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Limit(u64);

impl Limit {
    /// A bound; 0 for none.
    pub const fn new(bound: u64) -> Self {
        Self(bound)
    }

    /// The bound: `None` for zero.
    pub fn get(self) -> Option<u64> {
        (self.0 != 0).then_some(self.0)
    }
}

impl TryFrom<String> for Timespan {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Timespan> for String {
    fn from(span: Timespan) -> Self {
        span.to_string()
    }
}

impl TryFrom<String> for ByteSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations_in_every_unit_and_their_sums() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("250ms", 250),
            ("90s", 90_000),
            ("15m", 900_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
        ] {
            let span: Timespan = text.parse().unwrap();
            assert_eq!(span.get().as_millis(), milliseconds, "{text}");
        }
    }

    #[test]
    fn refuses_durations_without_a_unit_and_nonsense() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5h",
            "1 h",
            "1w",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert!(text.parse::<Timespan>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn reads_binary_sizes_and_refuses_others() {
        assert_eq!("16MiB".parse::<ByteSize>().unwrap().get(), 16_777_216);
        assert_eq!("0B".parse::<ByteSize>().unwrap().limit(), None);
        for text in ["", "16", "16MB", "MiB", "1.5MiB", "-1B", "17179869184GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same(milliseconds in 0_u64..1 << 50, bytes: u64) {
            let span = Timespan::new(Duration::from_millis(milliseconds));
            prop_assert_eq!(span.to_string().parse::<Timespan>().unwrap(), span);
            let size = ByteSize::new(bytes);
            prop_assert_eq!(size.to_string().parse::<ByteSize>().unwrap(), size);
        }
    }
}
