//! JSON bodies (RFC 8259): one reading, or an array of them.
//!
//! A value may be nested 128 deep, counted from the body's outermost; the parser's own bound is
//! off because it is one less, and depth is counted here in every value, known or not.

use std::{borrow::Cow, fmt};

use ems_core::{Fault, FaultCode, reading::Value, time::Timestamp};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    Decoded, Failure, Row, Rules,
    fast::{self, skip_space},
    rows::{Fields, Rows},
};

/// The deepest nesting taken.
const MAX_DEPTH: u32 = 128;

/// Reads a body that is one reading.
pub fn single(body: &[u8], latest: Timestamp) -> Result<Row, Failure> {
    let text = utf8(body)?;
    let parsed =
        whole::<Parsed<'_, 1>>(text).map_err(|error| Failure::Malformed(reason(&error)))?;
    match parsed.0 {
        Ok(fields) => fields
            .check(latest)
            .map_err(|faults| Failure::invalid(faults, false)),
        Err(kind) => Err(Failure::invalid(vec![not_an_object(kind)], false)),
    }
}

/// Reads one line of NDJSON that is not plain.
pub(super) fn line(text: &str, rows: &mut Rows<'_>) {
    match whole::<Parsed<'_, 1>>(text) {
        Ok(parsed) => take(parsed.0, rows),
        Err(error) => rows.malformed(reason(&error)),
    }
}

/// Reads an array of rows.
pub(super) fn array(body: &[u8], rules: &Rules<'_>) -> Result<Decoded, Failure> {
    let text = utf8(body)?;
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return Err(no_array(text));
    }
    let mut rows = Rows::new(rules);
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return end(text, at + 1, rows);
    }
    loop {
        rows.begin()?;
        at = match fast::row(text, at).filter(|(row, _)| rows.plain(row)) {
            Some((_, end)) => end,
            None => element(text, at, &mut rows)?,
        };
        at = skip_space(bytes, at);
        match bytes.get(at) {
            Some(b',') => at = skip_space(bytes, at + 1),
            Some(b']') => return end(text, at + 1, rows),
            Some(_) => return Err(broken(&rows, "',' or ']' is expected behind a row")),
            None => return Err(broken(&rows, "the array does not end")),
        }
    }
}

/// Reads the element at `at` by the full parser; where it ends.
fn element(text: &str, at: usize, rows: &mut Rows<'_>) -> Result<usize, Failure> {
    let mut parser = serde_json::Deserializer::from_str(text.get(at..).unwrap_or_default());
    parser.disable_recursion_limit();
    let mut stream = parser.into_iter::<Parsed<'_, 2>>();
    match stream.next() {
        Some(Ok(parsed)) => take(parsed.0, rows),
        Some(Err(error)) => return Err(broken(rows, &reason(&error))),
        None => return Err(broken(rows, "a row is expected")),
    }
    Ok(at + stream.byte_offset())
}

fn end(text: &str, at: usize, rows: Rows<'_>) -> Result<Decoded, Failure> {
    if skip_space(text.as_bytes(), at) != text.len() {
        return Err(Failure::Malformed("something follows the array".to_owned()));
    }
    Ok(rows.finish())
}

fn take(parsed: Result<Fields<'_>, &'static str>, rows: &mut Rows<'_>) {
    match parsed {
        Ok(fields) => rows.fields(fields),
        Err(kind) => rows.reject(vec![not_an_object(kind)], false),
    }
}

fn utf8(body: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(body)
        .map_err(|error| Failure::Malformed(format!("no UTF-8 at byte {}", error.valid_up_to())))
}

fn whole<'de, T: Deserialize<'de>>(text: &'de str) -> serde_json::Result<T> {
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.disable_recursion_limit();
    let value = T::deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

/// What the parser says, without its line and column: they count from where it was set to work.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let why = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(why, _)| why);
    format!("this is not JSON: {why}")
}

fn broken(rows: &Rows<'_>, why: &str) -> Failure {
    Failure::Malformed(format!("row {}: {why}", rows.index()))
}

fn not_an_object(kind: &str) -> Fault {
    Fault::new(
        "",
        FaultCode::WrongType,
        format!("a reading is an object, not {kind}"),
    )
}

/// Why a body that is no array is refused: broken, or of another type.
fn no_array(text: &str) -> Failure {
    match whole::<Parsed<'_, 1>>(text) {
        Err(error) => Failure::Malformed(reason(&error)),
        Ok(parsed) => {
            let kind = parsed.0.err().unwrap_or("an object");
            let detail = format!("a batch is an array of readings, not {kind}");
            Failure::invalid(vec![Fault::new("", FaultCode::WrongType, detail)], false)
        }
    }
}

/// A row that is an object, or else the name of its type; `DEPTH` is how deep it lies in the body.
struct Parsed<'a, const DEPTH: u32>(Result<Fields<'a>, &'static str>);

impl<'de, const DEPTH: u32> Deserialize<'de> for Parsed<'de, DEPTH> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(RowVisitor { depth: DEPTH })
            .map(Self)
    }
}

struct RowVisitor {
    depth: u32,
}

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Result<Fields<'de>, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a reading")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(Field {
                depth: self.depth + 1,
            })?;
            let value = match value {
                Found::Null if OPTIONAL.contains(&&*name) => Value::Absent,
                Found::Null => Value::Other("null"),
                Found::Value(value) => value,
            };
            fields.put(&name, value);
        }
        Ok(Ok(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Field { depth: self.depth }
            .visit_seq(seq)
            .map(|_| Err("an array"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Err("a boolean"))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Err("null"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err("a string"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Err("a number"))
    }
}

/// Fields in which null says the same as absence.
const OPTIONAL: [&str; 2] = ["power_factor", "location"];

/// A key, borrowed from the body where it has no escape.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// A field's value.
enum Found<'a> {
    Null,
    Value(Value<'a>),
}

/// Reads a value of any type and keeps it if it is a string or a number. `depth` is its own, were
/// it an array or an object.
struct Field {
    depth: u32,
}

impl Field {
    /// The seed of what lies within; refused where that is too deep.
    fn inner<E: de::Error>(&self) -> Result<u32, E> {
        if self.depth > MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Field {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let depth = self.inner()?;
        while map.next_key_seed(Name)?.is_some() {
            map.next_value_seed(Self { depth })?;
        }
        Ok(Found::Value(Value::Other("an object")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let depth = self.inner()?;
        while seq.next_element_seed(Self { depth })?.is_some() {}
        Ok(Found::Value(Value::Other("an array")))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Found::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Found::Value(Value::Other("a boolean")))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Found::Value(Value::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Found::Value(Value::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Found::Value(Value::Number(number)))
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "rounds to the nearest double, as reading the digits would"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Found::Value(Value::Number(number as f64)))
    }

    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "rounds to the nearest double, as reading the digits would"
    )]
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Found::Value(Value::Number(number as f64)))
    }
}
