//! Buckets of time that follow a zone's calendar: days of 23 and 25 hours included.

use jiff::{Timestamp as Instant, ToSpan as _, ZonedDateTime, tz::TimeZone};

use crate::time::{SECOND, TimeRange, Timestamp};

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// A quarter of an hour by the zone's clock.
    QuarterHour,
    /// An hour by the zone's clock.
    Hour,
    /// A day of the zone.
    Day,
    /// A month of the zone.
    Month,
}

impl Interval {
    /// Reads `15m`, `1h`, `1d` or `1mo`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::QuarterHour, Self::Hour, Self::Day, Self::Month]
            .into_iter()
            .find(|interval| interval.as_str() == text)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::Day => "1d",
            Self::Month => "1mo",
        }
    }

    /// The shortest a full bucket can be, in seconds: bounds the number of buckets of a range
    /// before any is made.
    pub fn shortest_seconds(self) -> i64 {
        match self {
            Self::QuarterHour => 900,
            Self::Hour => 1800, // an hour that a half-hour shift of the clock cuts
            Self::Day => 82_800,
            Self::Month => 28 * 86_400 - 3600,
        }
    }
}

/// A time zone of the IANA database, compiled in.
#[derive(Debug, Clone)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl Zone {
    /// The zone of a name such as `Europe/London` or `UTC`.
    pub fn parse(name: &str) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        Some(Self {
            name: zone.iana_name().unwrap_or(name).to_owned(),
            zone,
        })
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self {
            name: "UTC".to_owned(),
            zone: TimeZone::UTC,
        }
    }

    /// The database's name of the zone.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// RFC 3339 text of an instant with this zone's offset (`Z` in UTC).
    pub fn format(&self, at: Timestamp) -> String {
        let Some(instant) = instant(at) else {
            return at.to_string();
        };
        let offset = self.zone.to_offset(instant);
        if offset.is_zero() && self.name == "UTC" {
            return at.to_string();
        }
        instant.display_with_offset(offset).to_string()
    }

    /// The buckets of `range`, in order, without gap; the first and the last are cut to it.
    pub fn buckets(&self, range: TimeRange, interval: Interval) -> Vec<TimeRange> {
        let mut buckets = Vec::new();
        let mut start = range.start();
        while let Some(bucket) = TimeRange::new(start, self.next(start, interval).min(range.end()))
        {
            buckets.push(bucket);
            start = bucket.end();
        }
        buckets
    }

    /// The first boundary after `at`; the end of time where the calendar ends.
    pub fn next(&self, at: Timestamp, interval: Interval) -> Timestamp {
        let next = match interval {
            Interval::QuarterHour => self.next_clock(at, 900),
            Interval::Hour => self.next_clock(at, 3600),
            Interval::Day => self.next_day(at),
            Interval::Month => self.next_month(at),
        };
        next.filter(|next| *next > at).unwrap_or(Timestamp::MAX)
    }

    /// The same time of day a month later, on the month's last day where it has no such day.
    pub fn month_after(&self, at: Timestamp) -> Timestamp {
        let later = self.zoned(at).and_then(|at| at.checked_add(1.month()).ok());
        later
            .and_then(|later| from_zoned(&later))
            .unwrap_or(Timestamp::MAX)
    }

    /// The next time of day that is a multiple of `seconds`; where the clock shifts to a time that
    /// is none, the shift itself.
    fn next_clock(&self, at: Timestamp, seconds: i64) -> Option<Timestamp> {
        let instant = instant(at)?;
        let offset = i64::from(self.zone.to_offset(instant).seconds());
        let local = at.as_seconds() + offset;
        let next = (local.div_euclid(seconds) + 1) * seconds - offset;
        let shift = self
            .zone
            .following(instant)
            .next()
            .map(|shift| shift.timestamp().as_second());
        Timestamp::from_micros(
            shift
                .map_or(next, |shift| shift.min(next))
                .checked_mul(SECOND)?,
        )
    }

    fn next_day(&self, at: Timestamp) -> Option<Timestamp> {
        let zoned = self.zoned(at)?;
        let mut day = zoned.date().tomorrow().ok()?;
        // A zone that skips a whole day (Samoa, 2011-12-30) has no such midnight: go on to the next.
        for _ in 0..2 {
            let start = day
                .to_zoned_datetime(self.zone.clone())
                .ok()?
                .start_of_day()
                .ok()?;
            if start > zoned {
                return from_zoned(&start);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    fn next_month(&self, at: Timestamp) -> Option<Timestamp> {
        let date = self.zoned(at)?.date().last_of_month().tomorrow().ok()?;
        from_zoned(
            &date
                .to_zoned_datetime(self.zone.clone())
                .ok()?
                .start_of_day()
                .ok()?,
        )
    }

    fn zoned(&self, at: Timestamp) -> Option<ZonedDateTime> {
        Some(instant(at)?.to_zoned_datetime(self.zone.clone()))
    }
}

fn instant(at: Timestamp) -> Option<Instant> {
    Instant::from_microsecond(at.as_micros()).ok()
}

fn from_zoned(zoned: &ZonedDateTime) -> Option<Timestamp> {
    Timestamp::from_micros(zoned.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn buckets(zone: &str, start: &str, end: &str, interval: Interval) -> Vec<(String, i64)> {
        let zone = Zone::parse(zone).unwrap();
        let range = TimeRange::new(at(start), at(end)).unwrap();
        let hours = |b: &TimeRange| (b.end().as_seconds() - b.start().as_seconds()) / 60;
        zone.buckets(range, interval)
            .iter()
            .map(|b| (zone.format(b.start()), hours(b)))
            .collect()
    }

    #[test]
    fn a_month_after_is_the_same_day_or_the_months_last() {
        let after = |text| Zone::utc().month_after(at(text)).to_string();
        assert_eq!(after("2026-01-31T10:00:00Z"), "2026-02-28T10:00:00Z");
        assert_eq!(after("2027-12-24T23:59:59Z"), "2028-01-24T23:59:59Z");
        assert_eq!(after("9999-12-24T00:00:00Z"), Timestamp::MAX.to_string());
    }

    #[test]
    fn london_days_have_23_and_25_hours_at_the_shifts() {
        let spring = buckets(
            "Europe/London",
            "2013-03-30T00:00:00Z",
            "2013-04-01T00:00:00+01:00",
            Interval::Day,
        );
        assert_eq!(
            spring,
            [
                ("2013-03-30T00:00:00+00:00".into(), 1440),
                ("2013-03-31T00:00:00+00:00".into(), 1380)
            ]
        );
        let autumn = buckets(
            "Europe/London",
            "2013-10-27T00:00:00+01:00",
            "2013-10-28T00:00:00Z",
            Interval::Day,
        );
        assert_eq!(autumn, [("2013-10-27T00:00:00+01:00".into(), 1500)]);
    }

    #[test]
    fn the_first_and_last_bucket_are_cut_to_the_range() {
        let days = buckets(
            "UTC",
            "2013-01-01T12:00:00Z",
            "2013-01-03T06:00:00Z",
            Interval::Day,
        );
        let minutes: Vec<i64> = days.iter().map(|day| day.1).collect();
        assert_eq!(minutes, [720, 1440, 360]);
    }

    #[test]
    fn months_follow_the_zone() {
        let months = buckets(
            "Europe/London",
            "2013-03-01T00:00:00Z",
            "2013-05-01T00:00:00+01:00",
            Interval::Month,
        );
        assert_eq!(
            months,
            [
                ("2013-03-01T00:00:00+00:00".into(), 31 * 1440 - 60),
                ("2013-04-01T00:00:00+01:00".into(), 30 * 1440)
            ]
        );
    }

    #[test]
    fn hours_follow_a_clock_that_is_off_by_three_quarters() {
        let hours = buckets(
            "Asia/Kathmandu",
            "2013-01-01T00:00:00Z",
            "2013-01-01T02:00:00Z",
            Interval::Hour,
        );
        assert_eq!(
            hours.iter().map(|hour| hour.1).collect::<Vec<_>>(),
            [15, 60, 45]
        );
    }

    #[test]
    fn a_half_hour_shift_cuts_the_hour() {
        // Lord Howe, 2013-04-07: 02:00 (+11) becomes 01:30 (+10:30), at 15:00 UTC the day before.
        let hours = buckets(
            "Australia/Lord_Howe",
            "2013-04-06T14:00:00Z",
            "2013-04-06T16:30:00Z",
            Interval::Hour,
        );
        assert_eq!(
            hours.iter().map(|hour| hour.1).collect::<Vec<_>>(),
            [60, 30, 60]
        );
    }

    #[test]
    fn a_skipped_day_does_not_stop_the_calendar() {
        let days = buckets(
            "Pacific/Apia",
            "2011-12-29T10:00:00Z",
            "2012-01-01T10:00:00Z",
            Interval::Day,
        );
        assert_eq!(
            days.iter().map(|day| day.1).collect::<Vec<_>>(),
            [1440, 1440, 1440]
        );
    }

    #[test]
    fn the_calendar_ends_where_time_does() {
        let last = buckets(
            "UTC",
            "9999-12-31T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            Interval::Day,
        );
        assert_eq!(last.len(), 1);
    }
}
