//! The reader and writer of timestamps against jiff, and the texts that must be refused.

use proptest::prelude::*;

use super::*;

fn code(text: &str) -> FaultCode {
    Timestamp::parse(text).unwrap_err().code
}

#[test]
fn reads_offsets_and_fractions() {
    let at = |text| Timestamp::parse(text).unwrap().as_micros();
    assert_eq!(at("1970-01-01T00:00:00Z"), 0);
    assert_eq!(at("1970-01-01T01:00:00+01:00"), 0);
    assert_eq!(at("2007-02-01T00:01:00+01:00"), 1_170_284_460_000_000);
    assert_eq!(at("1970-01-01t00:00:00.5z"), 500_000);
    assert_eq!(at("1970-01-01T00:00:00.000001000Z"), 1);
    assert_eq!(at("9999-12-31T23:59:59.999999Z"), LAST);
}

#[test]
fn refuses_what_has_no_offset_or_does_not_exist() {
    for text in [
        "2013-01-01T00:00:00",
        "2013-01-01",
        "2013-01-01 00:00:00Z",
        "2013-02-29T00:00:00Z",
        "2013-13-01T00:00:00Z",
        "2013-00-01T00:00:00Z",
        "2013-01-00T00:00:00Z",
        "2013-01-01T24:00:00Z",
        "2013-01-01T00:60:00Z",
        "2016-12-31T23:59:60Z",
        "2013-01-01T00:00:00.Z",
        "2013-01-01T00:00:00.0000001Z",
        "2013-01-01T00:00:00+0100",
        "2013-01-01T00:00:00+24:00",
        "2013-01-01T00:00:00Zx",
        "+2013-01-01T00:00:00Z",
        "",
        "now",
        "２013-01-01T00:00:00Z",
    ] {
        assert_eq!(code(text), FaultCode::InvalidFormat, "{text:?}");
    }
}

#[test]
fn refuses_years_outside_1970_to_9999_by_the_instant() {
    assert_eq!(code("1969-12-31T23:59:59Z"), FaultCode::OutOfRange);
    assert_eq!(code("1970-01-01T00:00:00+00:01"), FaultCode::OutOfRange);
    assert_eq!(code("9999-12-31T23:59:59-00:01"), FaultCode::OutOfRange);
}

#[test]
fn writes_no_needless_digit() {
    for text in [
        "2013-03-31T00:30:00Z",
        "2013-03-31T00:30:00.5Z",
        "2013-03-31T00:30:00.000001Z",
    ] {
        assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
    }
}

#[test]
fn months_begin_where_the_calendar_says() {
    assert_eq!(
        month_of(Timestamp::parse("2012-02-29T23:59:59Z").unwrap()),
        42 * 12 + 1
    );
    assert_eq!(month_start(42 * 12 + 2).to_string(), "2012-03-01T00:00:00Z");
}

proptest! {
    #[test]
    fn agrees_with_jiff(micros in 0..=LAST) {
        let ours = Timestamp::from_micros(micros).unwrap();
        let theirs = jiff::Timestamp::from_microsecond(micros).unwrap();
        prop_assert_eq!(theirs.to_string(), ours.to_string());
        prop_assert_eq!(Timestamp::parse(&ours.to_string()).unwrap(), ours);
        let month = month_of(ours);
        prop_assert!(month_start(month) <= ours && (ours < month_start(month + 1) || month_start(month + 1) == Timestamp::MAX));
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}", digits in "[0-9TZ:.+-]{0,40}") {
        let _ = Timestamp::parse(&text);
        let _ = Timestamp::parse(&digits);
    }
}
