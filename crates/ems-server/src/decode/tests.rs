//! The three forms, row by row: what is taken, what is named, and that both paths agree.

//! Every form of rows, whole and broken, and that the fast path agrees with the careful one.

use ems_core::FaultCode;
use ems_core::scope::Pattern;
use proptest::prelude::*;

use super::{rows::Rows, *};

const LATEST: &str = "2020-01-01T00:00:00Z";

fn scope() -> Scope {
    Scope::of(vec![Pattern::parse("m*").unwrap()])
}

fn with_rules<T>(run: impl FnOnce(&Rules<'_>) -> T) -> T {
    run(&Rules {
        scope: &scope(),
        refused: &Refused {
            meters: HashSet::from([MeterId::parse("m-unregistered").unwrap()]),
            corrections: HashSet::from([(
                MeterId::parse("m-old").unwrap(),
                Timestamp::parse("2013-01-01T00:00:00Z").unwrap(),
            )]),
        },
        latest: Timestamp::parse(LATEST).unwrap(),
        max_rows: Some(10_000),
    })
}

fn decode(form: Form, body: impl AsRef<[u8]>) -> Result<Decoded, Failure> {
    with_rules(|rules| batch(form, body.as_ref(), rules))
}

fn named(decoded: &Decoded) -> Vec<(u64, &str, FaultCode)> {
    decoded
        .faults
        .iter()
        .map(|(index, fault)| (*index, fault.pointer.as_str(), fault.code))
        .collect()
}

fn readings(decoded: &Decoded) -> Vec<Row> {
    decoded
        .batch
        .groups()
        .iter()
        .flat_map(|(meter, group)| group.iter().map(|reading| (meter.clone(), reading.clone())))
        .collect()
}

fn row(kwh: &str) -> String {
    format!(r#"{{"meter_id":"m1","timestamp":"2013-01-01T00:00:00Z","energy_consumption":{kwh}}}"#)
}

fn codes(failure: Failure) -> Vec<(String, FaultCode)> {
    match failure {
        Failure::Invalid { faults, .. } => faults
            .into_iter()
            .map(|fault| (fault.pointer, fault.code))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn nested(depth: usize) -> String {
    format!(
        r#"{{"meter_id":"m1","timestamp":"2013-01-01T00:00:00Z","energy_consumption":1,"x":{}{}}}"#,
        "[".repeat(depth - 1),
        "]".repeat(depth - 1)
    )
}

#[test]
fn the_three_forms_of_the_same_rows_give_the_same_batch() {
    let json = r#"[{"meter_id":"m1","timestamp":"2013-01-01T00:00:00Z","energy_consumption":0.1},
        {"location":"Attic","power_factor":0.5,"energy_consumption":2,"timestamp":"2013-01-01T01:30:00+01:00","meter_id":"m2"}]"#;
    let ndjson = json.trim_matches(['[', ']']).replace("},\n", "}\n");
    let csv = "location,energy_consumption,power_factor,timestamp,meter_id\r\n\
        ,0.1,,2013-01-01T00:00:00Z,m1\r\n\
        \"Attic\",2,0.5,2013-01-01T01:30:00+01:00,m2\r\n";
    let expected = readings(&decode(Form::Json, json).unwrap());
    assert_eq!(expected.len(), 2);
    assert_eq!(expected[1].1.at.to_string(), "2013-01-01T00:30:00Z");
    assert_eq!(readings(&decode(Form::Ndjson, ndjson).unwrap()), expected);
    assert_eq!(readings(&decode(Form::Csv, csv).unwrap()), expected);
}

#[test]
fn one_bad_row_of_many_is_named_and_the_others_taken() {
    let lines: Vec<String> = (0..100)
        .map(|at| {
            if at == 41 {
                r#"{"meter_id":5}"#.to_owned()
            } else {
                row("1")
            }
        })
        .collect();
    for (form, body) in [
        (Form::Ndjson, lines.join("\n")),
        (Form::Json, format!("[{}]", lines.join(" ,\n"))),
    ] {
        let decoded = decode(form, body).unwrap();
        assert_eq!(
            (decoded.batch.len(), decoded.rejected, decoded.truncated),
            (99, 1, false)
        );
        assert_eq!(
            named(&decoded),
            [
                (41, "/meter_id", FaultCode::WrongType),
                (41, "/timestamp", FaultCode::MissingField),
                (41, "/energy_consumption", FaultCode::MissingField),
            ]
        );
    }
}

#[test]
fn what_is_not_json_is_malformed() {
    for text in [
        "",
        "{",
        "nul",
        r#"{"a":NaN}"#,
        r#"{"a":1e400}"#,
        r#"{"a":[-1e999]}"#,
        r#"{"a":01}"#,
        r#"{"a":"\ud800"}"#,
        "{\"a\":\"\u{1}\"}",
        r#"{"a":1,}"#,
        r#"{"a":Infinity}"#,
        "{} {}",
        "{}x",
        "\u{feff}{}",
        r#"{"a" 1}"#,
    ] {
        assert!(
            matches!(
                single(text.as_bytes(), Timestamp::MAX),
                Err(Failure::Malformed(_))
            ),
            "{text}"
        );
        if !text.is_empty() {
            let decoded = decode(Form::Ndjson, format!("{text}\n{}", row("1"))).unwrap();
            assert_eq!(named(&decoded), [(0, "", FaultCode::Malformed)], "{text}");
            assert_eq!(decoded.batch.len(), 1);
        }
        let array = decode(Form::Json, format!("[{},{text}]", row("1")));
        assert!(matches!(array, Err(Failure::Malformed(_))), "{text}");
    }
    assert!(matches!(
        single(b"{\"a\":\"\xff\"}", Timestamp::MAX),
        Err(Failure::Malformed(_))
    ));
}

#[test]
fn a_broken_array_is_malformed_as_a_whole() {
    for text in ["[", "[1", "[1,", "[1,]", "[1 2]", "[] x", "[[]", "[,1]"] {
        assert!(
            matches!(decode(Form::Json, text), Err(Failure::Malformed(_))),
            "{text}"
        );
    }
    assert_eq!(decode(Form::Json, " [ ] ").unwrap().rejected, 0);
}

#[test]
fn a_batch_that_is_no_array_and_a_row_that_is_no_object_are_of_a_wrong_type() {
    let expected = [(String::new(), FaultCode::WrongType)];
    for text in ["5", "null", "\"a\"", "true", "{}", "{\"x\":[{}]}"] {
        assert_eq!(
            codes(decode(Form::Json, text).unwrap_err()),
            expected,
            "{text}"
        );
    }
    for text in ["5", "-5", "0.5", "null", "\"a\"", "\"\\n\"", "true", "[{}]"] {
        assert_eq!(
            codes(single(text.as_bytes(), Timestamp::MAX).unwrap_err()),
            expected,
            "{text}"
        );
        assert_eq!(
            named(&decode(Form::Ndjson, text).unwrap()),
            [(0, "", FaultCode::WrongType)]
        );
        let array = decode(Form::Json, format!("[{text}, {text}]")).unwrap();
        assert_eq!(
            named(&array),
            [(0, "", FaultCode::WrongType), (1, "", FaultCode::WrongType)]
        );
    }
}

#[test]
fn nesting_is_taken_128_deep_and_refused_at_129() {
    let unknown = [("/x".to_owned(), FaultCode::UnknownField)];
    assert_eq!(
        codes(single(nested(128).as_bytes(), Timestamp::MAX).unwrap_err()),
        unknown
    );
    assert!(matches!(
        single(nested(129).as_bytes(), Timestamp::MAX),
        Err(Failure::Malformed(_))
    ));
    // In an array a row lies one deeper.
    let array = |depth| decode(Form::Json, format!("[{}]", nested(depth)));
    assert_eq!(array(127).unwrap().rejected, 1);
    assert!(matches!(array(128), Err(Failure::Malformed(_))));
    for deep in ["[", "{\"a\":", "[{\"x\":"] {
        let body = deep.repeat(1_000_000);
        assert!(matches!(
            single(body.as_bytes(), Timestamp::MAX),
            Err(Failure::Malformed(_))
        ));
        assert!(matches!(
            decode(Form::Json, &body),
            Err(Failure::Malformed(_))
        ));
        assert_eq!(decode(Form::Ndjson, &body).unwrap().rejected, 1);
    }
}

#[test]
fn null_is_absent_where_optional_and_of_a_wrong_type_where_required() {
    let text = r#"{"meter_id":"m1","timestamp":"2013-01-01T00:00:00Z","energy_consumption":1,"power_factor":null,"location":null}"#;
    let (_, reading) = single(text.as_bytes(), Timestamp::MAX).unwrap();
    assert_eq!((reading.power_factor, reading.location), (None, None));
    let text = r#"{"meter_id":null,"timestamp":null,"energy_consumption":null,"other":null}"#;
    let expected = [
        ("/other", FaultCode::UnknownField),
        ("/meter_id", FaultCode::WrongType),
        ("/timestamp", FaultCode::WrongType),
        ("/energy_consumption", FaultCode::WrongType),
    ];
    assert_eq!(
        codes(single(text.as_bytes(), Timestamp::MAX).unwrap_err()),
        expected.map(|(pointer, code)| (pointer.to_owned(), code))
    );
}

#[test]
fn numbers_are_never_strings_and_keep_every_bit() {
    for kwh in [
        "0.1",
        "1e-300",
        "5e-324",
        "99999.99999999999",
        "0.30000000000000004",
        "1.7976931348623157e-308",
        "2.2250738585072011e-308",
    ] {
        let (_, reading) = single(row(kwh).as_bytes(), Timestamp::MAX).unwrap();
        let expected: f64 = kwh.parse().unwrap();
        assert_eq!(reading.energy.get().to_bits(), expected.to_bits(), "{kwh}");
        let decoded = decode(Form::Ndjson, row(kwh)).unwrap();
        assert_eq!(
            readings(&decoded)[0].1.energy.get().to_bits(),
            expected.to_bits(),
            "{kwh}"
        );
    }
    let faults = codes(single(row("\"1\"").as_bytes(), Timestamp::MAX).unwrap_err());
    assert_eq!(
        faults,
        [("/energy_consumption".to_owned(), FaultCode::WrongType)]
    );
}

#[test]
fn duplicate_keys_are_faults_even_when_one_is_escaped() {
    for twice in [r#""meter_id":"m1","#, r#""meter\u005fid":"m1","#] {
        let text = row("1").replacen('{', &format!("{{{twice}"), 1);
        let expected = [("/meter_id".to_owned(), FaultCode::DuplicateField)];
        assert_eq!(
            codes(single(text.as_bytes(), Timestamp::MAX).unwrap_err()),
            expected
        );
    }
}

#[test]
fn a_meter_outside_the_scope_or_not_registered_is_a_fault_of_its_row() {
    let other = row("1").replace("m1", "x1");
    let both = row("-1").replace("m1", "x1");
    let unregistered = row("1").replace("m1", "m-unregistered");
    let decoded = decode(
        Form::Ndjson,
        [row("1"), other.clone(), both, unregistered, other].join("\n"),
    )
    .unwrap();
    assert_eq!(decoded.batch.len(), 1);
    assert_eq!(
        named(&decoded),
        [
            (1, "/meter_id", FaultCode::OutOfScope),
            (2, "/energy_consumption", FaultCode::OutOfRange),
            (2, "/meter_id", FaultCode::OutOfScope),
            (3, "/meter_id", FaultCode::OutOfScope),
            (4, "/meter_id", FaultCode::OutOfScope),
        ]
    );
}

#[test]
fn a_correction_that_comes_too_late_is_a_fault_of_its_row() {
    let late = row("1").replace("m1", "m-old");
    let other = late.replace("2013-01-01", "2013-01-02");
    let decoded = decode(Form::Ndjson, [late, other].join("\n")).unwrap();
    assert_eq!(named(&decoded), [(0, "/timestamp", FaultCode::OutOfRange)]);
    assert_eq!(decoded.batch.len(), 1);
}

#[test]
fn rows_past_the_limit_refuse_the_batch() {
    let rows = |count: usize| vec![row("1"); count];
    for (form, body) in [
        (Form::Ndjson, rows(10_001).join("\n")),
        (Form::Json, format!("[{}]", rows(10_001).join(","))),
        (
            Form::Csv,
            format!(
                "meter_id,timestamp,energy_consumption\n{}",
                "x\n".repeat(10_001)
            ),
        ),
    ] {
        assert_eq!(
            decode(form, body).unwrap_err(),
            Failure::TooManyRows(10_000)
        );
    }
    assert_eq!(
        decode(Form::Ndjson, rows(10_000).join("\n") + "\n")
            .unwrap()
            .batch
            .len(),
        10_000
    );
}

#[test]
fn broken_rules_past_a_hundred_are_counted_not_kept() {
    let decoded = decode(Form::Ndjson, "{}\n".repeat(1000)).unwrap();
    assert_eq!(
        (decoded.faults.len(), decoded.rejected, decoded.truncated),
        (100, 1000, true)
    );
    let keys: Vec<String> = (0..100_000).map(|at| format!("\"k{at}\":0")).collect();
    let decoded = decode(Form::Ndjson, format!("{{{}}}", keys.join(","))).unwrap();
    assert_eq!(
        (decoded.faults.len(), decoded.rejected, decoded.truncated),
        (100, 1, true)
    );
}

#[test]
fn blank_lines_are_skipped_at_the_end_only() {
    let body = format!("{}\r\n\n{}\n\r\n \n", row("1"), row("2"));
    let decoded = decode(Form::Ndjson, body).unwrap();
    assert_eq!(
        (decoded.batch.len(), named(&decoded)),
        (2, vec![(1, "", FaultCode::Malformed)])
    );
    assert!(decode(Form::Ndjson, "\n\n").unwrap().batch.is_empty());
}

#[test]
fn bytes_that_are_no_utf8_spoil_their_line_alone() {
    let good = row("1");
    let body = [
        good.as_bytes(),
        b"\n{\"meter_id\":\"\xff\"}\n",
        good.as_bytes(),
    ]
    .concat();
    let decoded = decode(Form::Ndjson, body).unwrap();
    assert_eq!(
        (decoded.batch.len(), named(&decoded)),
        (2, vec![(1, "", FaultCode::Malformed)])
    );
}

const HEADER: &str = "meter_id,timestamp,energy_consumption,power_factor,location\n";

fn csv(rows: &[&str]) -> Decoded {
    decode(Form::Csv, format!("{HEADER}{}", rows.join("\n"))).unwrap()
}

#[test]
fn a_csv_header_names_the_required_columns_once_and_no_other() {
    let refused = |header: &str| codes(decode(Form::Csv, header).unwrap_err());
    assert_eq!(
        refused("meter_id,voltage,meter_id,a/b\n"),
        [
            ("/voltage", FaultCode::UnknownField),
            ("/meter_id", FaultCode::DuplicateField),
            ("/a~1b", FaultCode::UnknownField),
            ("/timestamp", FaultCode::MissingField),
            ("/energy_consumption", FaultCode::MissingField),
        ]
        .map(|(pointer, code)| (pointer.to_owned(), code))
    );
    for broken in [&b""[..], b"\n\r\n", b"\xef\xbb\xbf", b"\xff,a\n", b"a\"b,c"] {
        assert!(
            matches!(decode(Form::Csv, broken), Err(Failure::Malformed(_))),
            "{broken:?}"
        );
    }
    assert_eq!(
        decode(Form::Csv, format!("\u{feff}{HEADER}"))
            .unwrap()
            .rejected,
        0
    );
    assert_eq!(
        decode(Form::Csv, ",".repeat(1_000_000))
            .map(drop)
            .map_err(codes)
            .unwrap_err()
            .len(),
        100
    );
}

#[test]
fn quoted_cells_are_read_as_rfc_4180_has_them() {
    let decoded = csv(&[
        r#""m1","2013-01-01T00:00:00Z","1.5","","say ""hi"", twice""#,
        "m1,2013-01-01T01:00:00Z,2,,\r",
    ]);
    let places: Vec<_> = readings(&decoded)
        .into_iter()
        .map(|(_, reading)| reading.location.map(|place| place.as_str().to_owned()))
        .collect();
    assert_eq!(places, [Some(r#"say "hi", twice"#.to_owned()), None]);
    assert_eq!(decoded.rejected, 0);
}

#[test]
fn a_line_break_in_a_quoted_cell_belongs_to_its_row() {
    let decoded = csv(&[
        "m1,2013-01-01T00:00:00Z,1,,\"a\r\nb\"",
        "m1,2013-01-01T00:00:00Z,1,,",
    ]);
    assert_eq!(
        named(&decoded),
        [(0, "/location", FaultCode::InvalidFormat)]
    );
    assert_eq!(decoded.batch.len(), 1);
}

#[test]
fn a_stray_quote_spoils_its_line_alone() {
    let good = "m1,2013-01-01T00:00:00Z,1,,";
    let long = format!("m1,2013-01-01T00:00:00Z,1,,\"{}", "x".repeat(10_000));
    for bad in [
        "m1,2013-01-01T00:00:00Z,1,,\"open",
        "m1,2013-01-01T00:00:00Z,1,,a\"b",
        "m1,\"a\"b,1,,",
        &long,
    ] {
        let decoded = csv(&[
            good,
            bad,
            good,
            "m1,2013-01-01T00:00:00Z,1,,\"closed\"",
            good,
        ]);
        assert_eq!(
            (decoded.batch.len(), named(&decoded)),
            (4, vec![(1, "", FaultCode::Malformed)]),
            "{bad}"
        );
    }
}

#[test]
fn a_csv_row_is_held_to_the_rules_of_its_cells() {
    let decoded = csv(&[
        "m1,2013-01-01T00:00:00Z",
        "m1,2013-01-01T00:00:00Z,1,,,",
        ",,,,",
        "m1,2013-01-01T00:00:00Z,NaN,1e400,",
        "m1,2013-01-01T00:00:00Z, 1,.5,",
        "",
        "m1,2013-01-01T00:00:00Z,1,0.5,7",
    ]);
    assert_eq!(
        named(&decoded),
        [
            (0, "", FaultCode::Malformed),
            (1, "", FaultCode::Malformed),
            (2, "/meter_id", FaultCode::MissingField),
            (2, "/timestamp", FaultCode::MissingField),
            (2, "/energy_consumption", FaultCode::MissingField),
            (3, "/energy_consumption", FaultCode::WrongType),
            (3, "/power_factor", FaultCode::OutOfRange),
            (4, "/energy_consumption", FaultCode::WrongType),
            (4, "/power_factor", FaultCode::WrongType),
            (5, "", FaultCode::Malformed),
        ]
    );
    assert_eq!(
        readings(&decoded)[0].1.location.as_ref().unwrap().as_str(),
        "7"
    );
}

/// Reads lines by the full parser alone.
fn by_the_full_parser(body: &str) -> Decoded {
    with_rules(|rules| {
        let mut rows = Rows::new(rules);
        for line in body.lines() {
            json::line(line, &mut rows);
        }
        rows.finish()
    })
}

fn near_rows() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<f64>().prop_map(|number| number.to_string()),
        (0.0..1e5_f64).prop_map(|number| format!("{number:?}")),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u64>().prop_map(|number| number.to_string()),
        "-?[0-9]{1,25}(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        Just("null".to_owned()),
        Just("\"1\"".to_owned()),
    ];
    let text = prop_oneof![
        Just("\"m1\"".to_owned()),
        Just("\"x\"".to_owned()),
        Just("\"2013-01-01T00:00:00Z\"".to_owned()),
        "\"[a-zé\\\\\"\\x00-\\x20]{0,6}\"",
        "\"20[0-9]{2}-0[1-9]-[0-3][0-9]T0[0-9]:00:00(Z|\\+01:00|)\"",
    ];
    let value = prop_oneof![number, text, "[\\[\\]{}, :a-z0-9\"]{0,5}"];
    let key = prop_oneof![
        4 => prop::sample::select(ems_core::reading::FIELDS.to_vec()).prop_map(str::to_owned),
        1 => "[a-z_\\\\\"]{0,5}",
    ];
    let field = ("[ \\t]{0,1}", key, "[ ]{0,1}", value)
        .prop_map(|(a, key, b, value)| format!("{a}\"{key}\"{b}:{b}{value}{a}"));
    prop_oneof![
        3 => prop::collection::vec(field, 0..6).prop_map(|fields| format!("{{{}}}", fields.join(","))),
        3 => ("-?[0-9]{1,6}(\\.[0-9]{1,20})?([eE]-?[0-9]{1,2})?", "[0-9]{2}", "[a-zé\"\\\\]{0,4}").prop_map(|(kwh, minute, place)| format!(
            r#"{{"timestamp":"2013-01-01T00:{minute}:00Z", "meter_id":"m{minute}","location":"{place}","energy_consumption":{kwh}}}"#)),
        1 => "[\\[\\]{}:,\"a-z0-9 ]{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_fast_path_agrees_with_the_full_parser(lines in prop::collection::vec(near_rows(), 1..8)) {
        let body = lines.iter().map(|line| line.replace(['\n', '\r'], " ").trim_end().to_owned()).filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join("\n");
        let (fast, full) = (decode(Form::Ndjson, &body).unwrap(), by_the_full_parser(&body));
        prop_assert_eq!(readings(&fast), readings(&full));
        prop_assert_eq!((fast.rejected, fast.faults), (full.rejected, full.faults));
    }

    #[test]
    fn an_array_and_its_lines_give_the_same(lines in prop::collection::vec(near_rows(), 0..8)) {
        let good: Vec<String> = lines.into_iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).map(|line| line.replace(['\n', '\r'], " ")).collect();
        let lines = decode(Form::Ndjson, good.join("\n")).unwrap();
        let array = decode(Form::Json, format!("[{}]", good.join("\n,"))).unwrap();
        prop_assert_eq!(readings(&lines), readings(&array));
        prop_assert_eq!((lines.rejected, lines.faults), (array.rejected, array.faults));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic_or_miscount(body in prop::collection::vec(any::<u8>(), 0..400)) {
        for form in [Form::Json, Form::Ndjson, Form::Csv] {
            let _ = decode(form, &body);
        }
        let rows = [HEADER.as_bytes(), &body].concat();
        let decoded = decode(Form::Csv, &rows).unwrap();
        prop_assert!(decoded.rejected <= u64::try_from(body.len()).unwrap());
    }

    #[test]
    fn csv_without_breaks_in_cells_has_a_row_a_line(lines in prop::collection::vec("[a-z,\"0-9\r]{0,20}[a-z,]", 0..12)) {
        // Rows whose quotes are balanced within their lines, or broken: never one across lines.
        let lines: Vec<String> = lines.into_iter().map(|line| line.replace('"', "q")).collect();
        let decoded = decode(Form::Csv, format!("{HEADER}{}\n", lines.join("\n"))).unwrap();
        prop_assert_eq!(decoded.rejected, u64::try_from(lines.len()).unwrap());
    }
}
