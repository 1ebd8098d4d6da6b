//! Fuzz targets: readings in their three forms. Every row is taken or rejected and counted once, what
//! is taken means the same in each form, and no body takes more than linear time.

use std::{
    collections::{BTreeSet, HashSet},
    sync::LazyLock,
};

use ems_core::{FaultCode, scope::Pattern};
use ems_fuzz::{Input, linear};
use serde::de::IgnoredAny;
use serde_json::json;

use super::{
    Decoded, Failure, Form, MAX_FAULTS, MeterId, Reading, Refused, Rules, Scope, Timestamp, batch,
    fast, single,
};

const FORMS: [Form; 3] = [Form::Json, Form::Ndjson, Form::Csv];
const MOST_ROWS: u64 = 1000;
/// The longest field of a row that is made up: a quoted cell may hold so much behind a line's end.
const LONGEST: usize = 256;

/// What rows are held against.
struct Held {
    scope: Scope,
    refused: Refused,
    latest: Timestamp,
}

#[expect(clippy::unwrap_used, reason = "what is fixed is well-formed")]
static HELD: LazyLock<Held> = LazyLock::new(|| Held {
    scope: Scope::of(vec![Pattern::parse("m*").unwrap()]),
    refused: Refused {
        meters: HashSet::from([MeterId::parse("m-unregistered").unwrap()]),
        corrections: HashSet::from([(
            MeterId::parse("m-old").unwrap(),
            Timestamp::parse("2013-01-01T00:00:00Z").unwrap(),
        )]),
    },
    latest: Timestamp::parse("2020-01-01T00:00:00Z").unwrap(),
});

fn read(form: Form, body: &[u8]) -> Result<Decoded, Failure> {
    let rules = Rules {
        scope: &HELD.scope,
        refused: &HELD.refused,
        latest: HELD.latest,
        max_rows: Some(MOST_ROWS),
    };
    batch(form, body, &rules)
}

/// A table. Without quotes, its rows are its lines.
///
/// # Panics
/// Where [`holds`] does, or rows are lost.
pub fn csv(data: &[u8]) {
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let end = text.iter().rposition(|byte| !b"\r\n".contains(byte));
    let text = text.get(..end.map_or(0, |end| end + 1)).unwrap_or_default();
    let plain = !text.contains(&b'"');
    let lines = text.split(|byte| *byte == b'\n').count() - 1;
    holds(Form::Csv, data, plain.then_some(lines));
}

/// Lines of JSON: a row each.
///
/// # Panics
/// Where [`holds`] does, or rows are lost.
pub fn ndjson(data: &[u8]) {
    let text = data.trim_ascii_end();
    let lines = text.split(|byte| *byte == b'\n').count();
    holds(
        Form::Ndjson,
        data,
        Some(if text.is_empty() { 0 } else { lines }),
    );
}

/// A JSON array, and one reading: an element is a row, and one that is taken by itself is taken in an
/// array.
///
/// # Panics
/// Where [`holds`] does, rows are lost, or the two differ.
pub fn json(data: &[u8]) {
    let elements = serde_json::from_slice::<Vec<IgnoredAny>>(data);
    holds(
        Form::Json,
        data,
        elements.ok().map(|elements| elements.len()),
    );
    let single = single(data, HELD.latest);
    let Ok(all) = read(Form::Json, &[b"[", data, b"]"].concat()) else {
        assert!(
            single.is_err(),
            "an array does not take what is taken alone"
        );
        return;
    };
    if let Ok((meter, reading)) = single {
        let admitted = HELD.scope.contains(&meter) && !HELD.refused.meters.contains(&meter);
        let frozen = HELD
            .refused
            .corrections
            .contains(&(meter.clone(), reading.at));
        let expected = [(meter, vec![reading])];
        assert!(all.batch.groups() == expected || !admitted || frozen);
    }
}

/// Rows that are made up, a line each, their fields divided by tabs: all three forms of them take the
/// same, and reject the same for the same reasons.
///
/// # Panics
/// Where that does not hold.
pub fn rows(data: &[u8]) {
    let mut input = Input::new(data);
    let mut rows = Vec::new();
    while let Some(line) = input.line() {
        let text = String::from_utf8_lossy(line).into_owned();
        let mut fields = text.splitn(5, '\t').map(|field| {
            let end = field.char_indices().map(|(at, c)| at + c.len_utf8());
            let end = end.take_while(|end| *end <= LONGEST).last();
            // A line's end within a field is written as one that no line has.
            field
                .get(..end.unwrap_or(0))
                .unwrap_or_default()
                .replace('\r', "\n")
        });
        let row: [String; 5] = std::array::from_fn(|_| fields.next().unwrap_or_default());
        if [&row[2], &row[3]]
            .iter()
            .all(|text| fast::number(text).is_none_or(f64::is_finite))
        {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return;
    }
    let [json, ndjson, csv] = FORMS.map(|form| read(form, &written(form, &rows)));
    let told = |read: &Result<Decoded, Failure>| -> Option<Told> { read.as_ref().ok().map(told) };
    assert!(told(&csv).is_some() || rows.len() > 1000);
    assert_eq!(told(&json), told(&ndjson));
    assert_eq!(told(&json), told(&csv));
}

/// What became of rows.
type Told = (
    Vec<(MeterId, Vec<Reading>)>,
    u64,
    Vec<(u64, String, FaultCode)>,
    bool,
);

fn told(decoded: &Decoded) -> Told {
    let faults = decoded.faults.iter();
    let faults = faults.map(|(index, fault)| (*index, fault.pointer.clone(), fault.code));
    (
        decoded.batch.groups().to_vec(),
        decoded.rejected,
        faults.collect(),
        decoded.truncated,
    )
}

/// Rows in a form; an empty field is absent.
fn written(form: Form, rows: &[[String; 5]]) -> Vec<u8> {
    let names = ems_core::reading::FIELDS;
    if form == Form::Csv {
        let cell = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
        let row = |row: &[String; 5]| row.each_ref().map(cell).join(",");
        let lines = rows.iter().map(row);
        let lines = std::iter::once(names.join(",")).chain(lines);
        return lines.collect::<Vec<_>>().join("\r\n").into_bytes();
    }
    let object = |row: &[String; 5]| {
        let fields = names.iter().zip(row).filter(|(_, text)| !text.is_empty());
        let fields = fields.map(|(name, text)| {
            let number = matches!(*name, "energy_consumption" | "power_factor")
                && fast::number(text).is_some();
            let value = if number {
                text.clone()
            } else {
                json!(text).to_string()
            };
            format!("\"{name}\":{value}")
        });
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    };
    let objects: Vec<_> = rows.iter().map(object).collect();
    match form {
        Form::Json => format!("[{}]", objects.join(" , ")).into_bytes(),
        _ => objects.join("\n").into_bytes(),
    }
}

/// Holds a body to what every form promises; `count`: its rows, where they are known otherwise.
fn holds(form: Form, data: &[u8], count: Option<usize>) {
    linear(data, |data| {
        let _ = read(form, data);
    });
    let Ok(decoded) = read(form, data) else {
        return;
    };
    let taken = u64::try_from(decoded.batch.len()).unwrap_or(u64::MAX);
    let all = taken + decoded.rejected;
    assert!(all <= MOST_ROWS);
    assert!(
        count.is_none_or(|count| u64::try_from(count) == Ok(all)),
        "a row is lost"
    );
    let named: BTreeSet<u64> = decoded.faults.iter().map(|(index, _)| *index).collect();
    assert!(decoded.faults.len() <= MAX_FAULTS && named.iter().all(|index| *index < all));
    assert!(decoded.faults.is_sorted_by_key(|(index, _)| *index));
    let each = u64::try_from(named.len()) == Ok(decoded.rejected);
    assert!(each || decoded.truncated, "a bad row is not named");
    // What was taken is taken again in every form, and is the same.
    let groups = decoded.batch.groups();
    let rows: Vec<_> = groups
        .iter()
        .flat_map(|(meter, readings)| readings.iter().map(move |reading| fields(meter, reading)))
        .collect();
    for form in FORMS.into_iter().filter(|_| !rows.is_empty()) {
        let again = read(form, &written(form, &rows));
        let same = again.is_ok_and(|again| again.rejected == 0 && again.batch.groups() == groups);
        assert!(same, "{form:?} is another batch");
    }
}

/// The fields of a reading, as they are written.
fn fields(meter: &MeterId, reading: &Reading) -> [String; 5] {
    let factor = reading
        .power_factor
        .map(|factor| json!(factor.get()).to_string());
    let place = reading
        .location
        .as_ref()
        .map(|place| place.as_str().to_owned());
    [
        meter.as_str().to_owned(),
        reading.at.to_string(),
        json!(reading.energy.get()).to_string(),
        factor.unwrap_or_default(),
        place.unwrap_or_default(),
    ]
}
