//! Timestamps into RFC 3339 text, fast: rows follow each other within a day, so the date is worked
//! out once a day and only the time of day a row.

use ems_core::time::{SECOND, Timestamp};

const DAY: i64 = 86_400 * SECOND;

/// The date written last.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// The day since 1970 and its text, `2013-03-31T`.
    day: Option<(i64, String)>,
}

impl Times {
    /// Writes the instant as [`Timestamp`]'s display does.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, micros: i64) {
        let (day, in_day) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
        out.extend_from_slice(self.date(day).as_bytes());
        let (seconds, micros) = (in_day / SECOND, in_day % SECOND);
        two(out, seconds / 3600);
        out.push(b':');
        two(out, seconds / 60 % 60);
        out.push(b':');
        two(out, seconds % 60);
        if micros != 0 {
            out.push(b'.');
            let mut rest = micros;
            let mut unit = SECOND / 10;
            while rest > 0 {
                out.push(digit(rest / unit));
                rest %= unit;
                unit /= 10;
            }
        }
        out.push(b'Z');
    }

    fn date(&mut self, day: i64) -> &str {
        if self.day.as_ref().is_none_or(|(known, _)| *known != day) {
            let midnight = Timestamp::saturating_from_micros(day.saturating_mul(DAY));
            let mut text = midnight.to_string();
            text.truncate("2013-03-31T".len());
            self.day = Some((day, text));
        }
        self.day.as_ref().map_or("", |(_, text)| text.as_str())
    }
}

fn two(out: &mut Vec<u8>, number: i64) {
    out.push(digit(number / 10));
    out.push(digit(number % 10));
}

fn digit(value: i64) -> u8 {
    b'0' + u8::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn writes_what_display_writes(instants in prop::collection::vec(
            prop_oneof![0..=Timestamp::MAX.as_micros(), 0..2 * DAY, (0..9_000_i64).prop_map(|n| n * SECOND * 1800)], 1..20)
        ) {
            let mut times = Times::default();
            for micros in instants {
                let mut out = Vec::new();
                times.write(&mut out, micros);
                let at = Timestamp::from_micros(micros).unwrap();
                prop_assert_eq!(String::from_utf8(out).unwrap(), at.to_string());
            }
        }
    }
}
