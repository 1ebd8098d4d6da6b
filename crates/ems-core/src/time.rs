//! Instants and half-open ranges, to the microsecond, in UTC, and their RFC 3339 text.
//!
//! The reader is our own because it is on the path of every row and stricter than a general one:
//! an offset is required, a digit finer than the microsecond is refused, a leap second too.

use std::fmt;

use crate::{Fault, FaultCode};

/// Microseconds in a second.
pub const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 9999-12-31T23:59:59.999999Z.
const LAST: i64 = 253_402_300_799_999_999;

/// An instant of the years 1970 to 9999, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first instant.
    pub const MIN: Self = Self(0);
    /// The last instant.
    pub const MAX: Self = Self(LAST);

    /// From microseconds since 1970; `None` outside the years 1970 to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (0..=LAST).contains(&micros).then_some(Self(micros))
    }

    /// From microseconds, moved into the years 1970 to 9999 where it is outside.
    pub fn saturating_from_micros(micros: i64) -> Self {
        Self(micros.clamp(0, LAST))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub fn as_seconds(self) -> i64 {
        self.0 / SECOND
    }

    /// This instant moved by `micros`, kept within the years 1970 to 9999.
    #[must_use]
    pub fn saturating_add_micros(self, micros: i64) -> Self {
        Self::saturating_from_micros(self.0.saturating_add(micros))
    }

    /// Reads RFC 3339 with an offset. The fault's pointer is `/timestamp`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let micros = parse_rfc3339(text.as_bytes())
            .map_err(|why| Fault::new("/timestamp", FaultCode::InvalidFormat, why))?;
        Self::from_micros(micros).ok_or_else(|| {
            Fault::new(
                "/timestamp",
                FaultCode::OutOfRange,
                "a timestamp lies in the years 1970 to 9999",
            )
        })
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with `Z` and no needless digit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(DAY));
        let in_day = self.0.rem_euclid(DAY);
        let (seconds, micros) = (in_day / SECOND, in_day % SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        // By hand: every ledger entry and answer has some, and padding by `write!` costs more than
        // all the rest of them.
        let mut text = String::with_capacity("2013-03-31T01:02:03.456789Z".len());
        let fields = [
            (year, 1000, '-'),
            (month, 10, '-'),
            (day, 10, 'T'),
            (hour, 10, ':'),
            (minute, 10, ':'),
            (second, 10, '.'),
        ];
        for (value, unit, after) in fields {
            push_digits(&mut text, value, unit);
            text.push(after);
        }
        push_digits(&mut text, micros, SECOND / 10);
        let kept = text.trim_end_matches('0').trim_end_matches('.').len();
        text.truncate(if micros == 0 {
            "2013-03-31T01:02:03".len()
        } else {
            kept
        });
        text.push('Z');
        f.write_str(&text)
    }
}

/// Adds the digits of a number, from that of `unit`, a power of ten, on.
fn push_digits(text: &mut String, value: i64, mut unit: i64) {
    while unit > 0 {
        let digit = u8::try_from(value / unit % 10).unwrap_or(0);
        text.push(char::from(b'0' + digit));
        unit /= 10;
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|fault| serde::de::Error::custom(fault.detail))
    }
}

/// The instants from `start` up to and without `end`. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    start: Timestamp,
    end: Timestamp,
}

impl TimeRange {
    /// Every instant there is. The very last microsecond of 9999 is its open end.
    pub const ALL: Self = Self {
        start: Timestamp::MIN,
        end: Timestamp::MAX,
    };

    /// A range; `None` when `end` is not after `start`.
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The first instant inside.
    pub fn start(self) -> Timestamp {
        self.start
    }

    /// The first instant after.
    pub fn end(self) -> Timestamp {
        self.end
    }

    /// Whether `at` is inside.
    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// The part that both have.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

const SHAPE: &str = "a timestamp is RFC 3339 with an offset, such as 2013-03-31T00:30:00Z";

fn parse_rfc3339(text: &[u8]) -> Result<i64, &'static str> {
    let (date_time, rest) = text.split_at_checked(19).ok_or(SHAPE)?;
    let &[
        y1,
        y2,
        y3,
        y4,
        b'-',
        m1,
        m2,
        b'-',
        d1,
        d2,
        b'T' | b't',
        h1,
        h2,
        b':',
        n1,
        n2,
        b':',
        s1,
        s2,
    ] = date_time
    else {
        return Err(SHAPE);
    };
    let (year, month, day) = (
        number(&[y1, y2, y3, y4])?,
        number(&[m1, m2])?,
        number(&[d1, d2])?,
    );
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    if hour > 23 || minute > 59 || second > 59 || day < 1 || day > days_in(year, month) {
        return Err("a date or time of day that does not exist");
    }
    let (micros, rest) = fraction(rest)?;
    let seconds =
        days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(rest)?;
    Ok(seconds * SECOND + micros)
}

fn number(digits: &[u8]) -> Result<i64, &'static str> {
    digits.iter().try_fold(0, |value, digit| match digit {
        b'0'..=b'9' => Ok(value * 10 + i64::from(digit - b'0')),
        _ => Err(SHAPE),
    })
}

/// The microseconds behind a `.`, and what follows.
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), &'static str> {
    let Some((b'.', rest)) = text.split_first() else {
        return Ok((0, text));
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, after) = rest.split_at(count);
    if digits.is_empty() {
        return Err(SHAPE);
    }
    let (kept, finer) = digits.split_at(digits.len().min(6));
    if finer.iter().any(|digit| *digit != b'0') {
        return Err("a timestamp is kept to the microsecond: no finer digit but zero");
    }
    let scale = kept.iter().fold(SECOND, |scale, _| scale / 10);
    Ok((number(kept)? * scale, after))
}

/// The offset from UTC in seconds.
fn offset(text: &[u8]) -> Result<i64, &'static str> {
    match *text {
        [b'Z' | b'z'] => Ok(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
            if hours > 23 || minutes > 59 {
                return Err("an offset has at most 23 hours and 59 minutes");
            }
            let seconds = hours * 3600 + minutes * 60;
            Ok(if sign == b'-' { -seconds } else { seconds })
        }
        [] => Err("a timestamp needs an offset, such as Z or +01:00"),
        _ => Err(SHAPE),
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date (Hinnant, "chrono-compatible low-level date
/// algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The Gregorian date of a day counted from 1970-01-01: the inverse of [`days`].
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// The calendar month in UTC that `at` lies in, counted from January 1970 as 0.
pub fn month_of(at: Timestamp) -> u32 {
    let (year, month, _) = civil(at.0.div_euclid(DAY));
    u32::try_from((year - 1970) * 12 + month - 1).unwrap_or(0)
}

/// The first instant of a month counted from January 1970, kept within the years 1970 to 9999.
pub fn month_start(month: u32) -> Timestamp {
    let (year, month) = (1970 + i64::from(month / 12), i64::from(month % 12) + 1);
    Timestamp::saturating_from_micros(days(year, month, 1).saturating_mul(DAY))
}

#[cfg(test)]
mod tests;
