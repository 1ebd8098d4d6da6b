//! What is written, and that it reads back to the bit.

//! Rows leave as the exact doubles and instants they were.

use ems_core::{quantity::Kwh, reading::Reading, scope::Scope, time::Timestamp};
use proptest::prelude::*;

use super::*;
use crate::decode::{self, Refused, Rules};

fn meter() -> MeterId {
    MeterId::parse("m-1").unwrap()
}

fn written(form: Form, block: &Block, cursor: Option<&str>) -> String {
    let mut out = Vec::new();
    let mut rows = Rows::new(form, meter());
    rows.begin(&mut out);
    rows.push(&mut out, block, usize::MAX);
    rows.end(&mut out, cursor);
    assert_eq!(rows.written(), u64::try_from(block.len()).unwrap());
    String::from_utf8(out).unwrap()
}

fn reading(at: &str, kwh: f64, power_factor: Option<f64>, location: Option<&str>) -> Reading {
    Reading {
        at: Timestamp::parse(at).unwrap(),
        energy: Kwh::new(kwh).unwrap(),
        power_factor: power_factor.map(|value| PowerFactor::new(value).unwrap()),
        location: location.map(|text| Location::parse(text).unwrap()),
    }
}

fn two() -> Block {
    Block::from_iter([
        reading("2013-03-31T00:30:00Z", 0.1, None, None),
        reading(
            "2013-03-31T01:00:00.5Z",
            100_000.0,
            Some(1.0),
            Some("=a \"b\" \\ c"),
        ),
    ])
}

#[test]
fn a_page_is_json_with_a_cursor_only_when_there_is_more() {
    let rows = r#"{"timestamp":"2013-03-31T00:30:00Z","energy_consumption":0.1},{"timestamp":"2013-03-31T01:00:00.5Z","energy_consumption":100000.0,"power_factor":1.0,"location":"=a \"b\" \\ c"}"#;
    let page = |rest: &str| format!(r#"{{"meter_id":"m-1","readings":[{rows}]{rest}}}"#);
    assert_eq!(written(Form::Json, &two(), None), page(""));
    assert_eq!(
        written(Form::Json, &two(), Some("abc")),
        page(r#","next_cursor":"abc""#)
    );
    let empty = r#"{"meter_id":"m-1","readings":[]}"#;
    assert_eq!(written(Form::Json, &Block::default(), None), empty);
}

#[test]
fn csv_quotes_what_needs_it_and_changes_nothing() {
    assert_eq!(
        written(Form::Csv, &two(), None),
        "meter_id,timestamp,energy_consumption,power_factor,location\r\n\
         m-1,2013-03-31T00:30:00Z,0.1,,\r\n\
         m-1,2013-03-31T01:00:00.5Z,100000.0,1.0,\"=a \"\"b\"\" \\ c\"\r\n"
    );
}

#[test]
fn no_more_than_the_limit_is_written() {
    let (mut out, mut rows) = (Vec::new(), Rows::new(Form::Ndjson, meter()));
    rows.push(&mut out, &two(), 1);
    let line = "{\"meter_id\":\"m-1\",\"timestamp\":\"2013-03-31T00:30:00Z\",\"energy_consumption\":0.1}\n";
    assert_eq!(
        (String::from_utf8(out).unwrap().as_str(), rows.written()),
        (line, 1)
    );
}

fn blocks() -> impl Strategy<Value = Block> {
    let column = (
        0..=Timestamp::MAX.as_micros(),
        prop_oneof![
            0.0..1e5_f64,
            Just(0.0),
            (0_u64..1 << 62).prop_map(f64::from_bits)
        ],
        prop::option::of(0.0..=1.0_f64),
        prop::option::of("[ -~é€\u{2028}\u{1F600}]{1,12}"),
    );
    prop::collection::vec(column, 0..20).prop_map(|mut rows| {
        rows.sort_by_key(|row| row.0);
        rows.into_iter()
            .filter_map(|(at, kwh, power_factor, location)| {
                Some(Reading {
                    at: Timestamp::from_micros(at)?,
                    energy: Kwh::new(kwh).ok()?,
                    power_factor: power_factor.map(|value| PowerFactor::new(value).unwrap()),
                    location: location.map(|text| Location::parse(&text).unwrap()),
                })
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_to_the_bit(block in blocks()) {
        let rules = Rules {
            scope: &Scope::all(),
            refused: &Refused::default(),
            latest: Timestamp::MAX,
            max_rows: None,
        };
        let expected: Vec<Reading> = block.iter().collect();
        for (given, form) in [(Form::Ndjson, decode::Form::Ndjson), (Form::Csv, decode::Form::Csv)] {
            let text = written(given, &block, None);
            let decoded = decode::batch(form, text.as_bytes(), &rules).unwrap();
            prop_assert_eq!(decoded.faults, vec![]);
            let back: Vec<Reading> = decoded.batch.groups().iter().flat_map(|(_, group)| group.clone()).collect();
            prop_assert_eq!(&back, &expected);
        }
        let page: ems_api::reading::Readings = serde_json::from_str(&written(Form::Json, &block, None)).unwrap();
        for (given, expected) in page.readings.iter().zip(&expected) {
            prop_assert_eq!(given.energy_consumption.to_bits(), expected.energy.get().to_bits());
            prop_assert_eq!(given.timestamp, expected.at);
            prop_assert_eq!(&given.location, &expected.location);
        }
        prop_assert_eq!(page.readings.len(), expected.len());
    }
}
