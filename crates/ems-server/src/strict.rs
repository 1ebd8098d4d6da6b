//! Reads a JSON object strictly: every field once, none unknown, each of its type.
//!
//! serde's derive stops at the first fault; people mend a body faster when all of its faults are
//! named at once. So the body is parsed into [`Json`], and fields are taken from it one by one.

use std::{collections::HashSet, fmt};

use ems_core::{Fault, FaultCode, time::Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use crate::problem::Problem;

/// The deepest nesting that is parsed.
pub const MAX_DEPTH: usize = 128;
/// The longest part of an unknown field's name that an answer repeats, in characters.
const SHOWN_NAME: usize = 64;

/// A JSON value that forgets nothing: repeated fields are kept.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number; its value is not needed by any body read here.
    Number,
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in its own order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a whole document. UTF-8, at most [`MAX_DEPTH`] deep, numbers within a double.
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        if too_deep(bytes) {
            return Err(Problem::malformed("the JSON is nested more than 128 deep"));
        }
        let mut parser = serde_json::Deserializer::from_slice(bytes);
        parser.disable_recursion_limit(); // the depth is counted above
        let broken = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            Problem::malformed(format!(
                "the JSON is broken at line {line}, column {column}"
            ))
        };
        let value = Self::deserialize(&mut parser).map_err(broken)?;
        parser.end().map_err(broken)?;
        Ok(value)
    }
}

fn too_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Number)
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Json::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Json::Object(fields))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// What reading one value gives: the value, or what is wrong with it, by pointers relative to it.
pub type Read<T> = Result<T, Vec<Fault>>;

/// An object whose fields are being taken.
#[derive(Debug)]
pub struct Object {
    fields: Vec<(String, Json)>,
    faults: Vec<Fault>,
}

impl Object {
    /// Parses a body that is to be an object. A body that is not JSON is a problem at once; what
    /// else is wrong is kept for [`Object::finish`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let Json::Object(all) = Json::parse(bytes)? else {
            return Err(Problem::invalid(wrong_type("an object")));
        };
        let mut object = Self {
            fields: Vec::with_capacity(all.len()),
            faults: Vec::new(),
        };
        // A body may hold thousands of names.
        let mut known = HashSet::with_capacity(all.len());
        for (name, value) in all {
            if known.insert(name.clone()) {
                object.fields.push((name, value));
                continue;
            }
            object.faults.push(Fault::new(
                pointer(&name),
                FaultCode::DuplicateField,
                "a field is given once",
            ));
            if object.faults.len() > ems_api::problem::MAX_ERRORS {
                break;
            }
        }
        Ok(object)
    }

    /// Takes a field that must be there.
    pub fn required<T>(&mut self, name: &str, read: impl FnOnce(Json) -> Read<T>) -> Option<T> {
        let Some(value) = self.take(name) else {
            self.fault(Fault::new(
                pointer(name),
                FaultCode::MissingField,
                "this field is required",
            ));
            return None;
        };
        self.read(name, value, read)
    }

    /// Takes a field that may be absent.
    pub fn optional<T>(&mut self, name: &str, read: impl FnOnce(Json) -> Read<T>) -> Option<T> {
        let value = self.take(name)?;
        self.read(name, value, read)
    }

    /// Takes a field that may be absent (`None`) or null (`Some(None)`).
    pub fn nullable<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Json) -> Read<T>,
    ) -> Option<Option<T>> {
        match self.take(name)? {
            Json::Null => Some(None),
            value => self.read(name, value, read).map(Some),
        }
    }

    /// Notes a fault that is not of one field's form.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Whether a field of this name is still there to be taken.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    /// Ends the reading: whatever was not taken is unknown. The value, or every fault there is.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, Problem> {
        for (name, _) in &self.fields {
            self.faults.push(Fault::new(
                pointer(name),
                FaultCode::UnknownField,
                "there is no such field",
            ));
        }
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Problem::invalid(self.faults)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Json> {
        let place = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.swap_remove(place).1)
    }

    fn read<T>(
        &mut self,
        name: &str,
        value: Json,
        read: impl FnOnce(Json) -> Read<T>,
    ) -> Option<T> {
        match read(value) {
            Ok(value) => Some(value),
            Err(faults) => {
                let prefix = pointer(name);
                self.faults
                    .extend(faults.into_iter().map(|fault| below(&prefix, fault)));
                None
            }
        }
    }
}

fn below(prefix: &str, fault: Fault) -> Fault {
    Fault {
        pointer: format!("{prefix}{}", fault.pointer),
        ..fault
    }
}

/// The JSON pointer (RFC 6901) of a field.
fn pointer(name: &str) -> String {
    let shown: String = name.chars().take(SHOWN_NAME).collect();
    format!("/{}", shown.replace('~', "~0").replace('/', "~1"))
}

fn wrong_type(what: &str) -> Vec<Fault> {
    vec![Fault::new(
        "",
        FaultCode::WrongType,
        format!("this has to be {what}"),
    )]
}

/// Reads a text.
pub fn text(value: Json) -> Read<String> {
    match value {
        Json::Text(text) => Ok(text),
        _ => Err(wrong_type("a text")),
    }
}

/// Reads a text of `least` to `most` characters (Unicode scalar values).
pub fn sized_text(value: Json, least: usize, most: usize) -> Read<String> {
    let text = text(value)?;
    let count = text.chars().count();
    let (code, detail) = if count > most {
        (FaultCode::TooLong, format!("at most {most} characters"))
    } else if count < least {
        (
            FaultCode::OutOfRange,
            format!("at least {least} characters"),
        )
    } else {
        return Ok(text);
    };
    Err(vec![Fault::new("", code, detail)])
}

/// Reads a text by a parser of the domain. The parser's pointer is replaced by the field's own.
pub fn parsed<T>(value: Json, parse: impl FnOnce(&str) -> Result<T, Fault>) -> Read<T> {
    let text = text(value)?;
    parse(&text).map_err(|fault| {
        vec![Fault {
            pointer: String::new(),
            ..fault
        }]
    })
}

/// Reads one of a few names.
pub fn named<T: Copy>(value: Json, names: &[(&str, T)]) -> Read<T> {
    let text = text(value)?;
    let found = names
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value);
    found.ok_or_else(|| {
        let all: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let detail = format!("one of {}", all.join(", "));
        vec![Fault::new("", FaultCode::InvalidFormat, detail)]
    })
}

/// Reads `true` or `false`.
#[expect(
    clippy::needless_pass_by_value,
    reason = "of one shape with the other readers"
)]
pub fn flag(value: Json) -> Read<bool> {
    match value {
        Json::Bool(flag) => Ok(flag),
        _ => Err(wrong_type("true or false")),
    }
}

/// Reads an instant.
pub fn instant(value: Json) -> Read<Timestamp> {
    parsed(value, Timestamp::parse)
}

/// Reads an array of `least` to `most` items.
pub fn list<T>(
    value: Json,
    (least, most): (usize, usize),
    read: impl Fn(Json) -> Read<T>,
) -> Read<Vec<T>> {
    let Json::List(items) = value else {
        return Err(wrong_type("an array"));
    };
    if items.len() < least || items.len() > most {
        let detail = format!("{least} to {most} items");
        return Err(vec![Fault::new("", FaultCode::OutOfRange, detail)]);
    }
    let (mut values, mut faults) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        match read(item) {
            Ok(value) => values.push(value),
            Err(wrong) => {
                let prefix = format!("/{index}");
                faults.extend(wrong.into_iter().map(|fault| below(&prefix, fault)));
            }
        }
    }
    if faults.is_empty() {
        Ok(values)
    } else {
        Err(faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(body: &str) -> Vec<(String, String)> {
        let read = || {
            let mut object = Object::parse(body.as_bytes())?;
            let name = object.required("name", |value| sized_text(value, 1, 5));
            let tags = object.optional("tags", |value| list(value, (0, 2), text));
            object.nullable("on", flag);
            object.finish(name.zip(Some(tags)))
        };
        let problem = read().map(|_| ()).unwrap_err();
        let errors = problem.document("r").errors;
        errors
            .into_iter()
            .map(|error| (error.pointer, error.code))
            .collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn names_every_fault_of_a_body_at_once() {
        assert_eq!(
            faults(r#"{"tags": ["a", 1], "tags": [], "x/y": 1, "on": "yes"}"#),
            pairs(&[
                ("/tags", "duplicate_field"),
                ("/name", "missing_field"),
                ("/tags/1", "wrong_type"),
                ("/on", "wrong_type"),
                ("/x~1y", "unknown_field"),
            ])
        );
        assert_eq!(
            faults(r#"{"name": "sixsix"}"#),
            pairs(&[("/name", "too_long")])
        );
        assert_eq!(
            faults(r#"{"name": null}"#),
            pairs(&[("/name", "wrong_type")])
        );
        assert_eq!(faults("[]"), pairs(&[("", "wrong_type")]));
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(128), "]".repeat(128));
        for body in [
            "",
            "{",
            "{}x",
            "{\"a\":NaN}",
            "{\"a\":1e400}",
            "{\"a\":\"\u{1}\"}",
            &deep,
        ] {
            let problem = Object::parse(body.as_bytes()).unwrap_err();
            assert_eq!(problem.code(), ems_api::ErrorCode::Malformed, "{body}");
        }
        assert!(Object::parse(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn takes_the_deepest_nesting_allowed() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(127), "]".repeat(127));
        assert!(Object::parse(deep.as_bytes()).is_ok());
        assert!(Object::parse(format!("{{\"a\":\"{}\"}}", "[".repeat(999)).as_bytes()).is_ok());
    }
}
