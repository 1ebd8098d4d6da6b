//! A meter reading, from an unchecked draft to a batch that is valid because it exists.
//!
//! Decoders (JSON, NDJSON, CSV) fill a [`Draft`]; [`Draft::check`] names every broken rule of the
//! row at once; a [`ReadingBatch`] takes only what passed.

use std::{borrow::Cow, collections::HashMap};

use crate::{
    Fault, FaultCode,
    meter::MeterId,
    quantity::{Kwh, Location, PowerFactor},
    time::Timestamp,
};

/// The energy a meter measured over one interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The start of the interval.
    pub at: Timestamp,
    /// The energy of the interval.
    pub energy: Kwh,
    /// The power factor over the interval, where known.
    pub power_factor: Option<PowerFactor>,
    /// Where it was taken, where told.
    pub location: Option<Location>,
}

/// One field of a row as its decoder found it.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Value<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// A JSON number, or a CSV cell that reads as one.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// Anything else, by the name of its type.
    Other(&'static str),
}

/// A row before any rule was asked.
#[derive(Debug, Clone, Default)]
pub struct Draft<'a> {
    values: [Value<'a>; 5],
    seen: [bool; 5],
    faults: Vec<Fault>,
}

/// The fields of a row, in the order of the CSV form.
pub const FIELDS: [&str; 5] = [
    "meter_id",
    "timestamp",
    "energy_consumption",
    "power_factor",
    "location",
];

impl<'a> Draft<'a> {
    /// Puts a field by name; an unknown name or a second time is a fault of the row.
    pub fn put(&mut self, name: &str, value: Value<'a>) {
        let Some(slot) = FIELDS.iter().position(|field| *field == name) else {
            self.faults.push(Fault::new(
                pointer(name),
                FaultCode::UnknownField,
                "a reading has no such field",
            ));
            return;
        };
        let (Some(seen), Some(place)) = (self.seen.get_mut(slot), self.values.get_mut(slot)) else {
            return;
        };
        if std::mem::replace(seen, true) {
            self.faults.push(Fault::new(
                pointer(name),
                FaultCode::DuplicateField,
                "a field is given once",
            ));
            return;
        }
        *place = value;
    }

    /// Asks every rule. `latest` is the last instant that is not the future.
    ///
    /// # Errors
    /// Every rule that the row breaks.
    pub fn check(self, latest: Timestamp) -> Result<(MeterId, Reading), Vec<Fault>> {
        let Self {
            values: [meter_id, timestamp, energy, power_factor, location],
            mut faults,
            ..
        } = self;
        let meter_id = required(
            keep(text(&meter_id, "/meter_id", MeterId::parse), &mut faults),
            "/meter_id",
            &mut faults,
        );
        let at = keep(
            text(&timestamp, "/timestamp", |text| not_future(text, latest)),
            &mut faults,
        );
        let at = required(at, "/timestamp", &mut faults);
        let energy = keep(
            number(&energy, "/energy_consumption", Kwh::new),
            &mut faults,
        );
        let energy = required(energy, "/energy_consumption", &mut faults);
        let power_factor = keep(
            number(&power_factor, "/power_factor", PowerFactor::new),
            &mut faults,
        );
        let location = keep(text(&location, "/location", Location::parse), &mut faults);
        match (meter_id, at, energy, power_factor, location) {
            (Ok(meter_id), Ok(at), Ok(energy), Ok(power_factor), Ok(location))
                if faults.is_empty() =>
            {
                Ok((
                    meter_id,
                    Reading {
                        at,
                        energy,
                        power_factor,
                        location,
                    },
                ))
            }
            _ => Err(faults),
        }
    }
}

fn not_future(text: &str, latest: Timestamp) -> Result<Timestamp, Fault> {
    let at = Timestamp::parse(text)?;
    if at > latest {
        return Err(Fault::new(
            "/timestamp",
            FaultCode::FutureTimestamp,
            "a reading cannot begin in the future",
        ));
    }
    Ok(at)
}

/// A JSON pointer to a field, its name escaped (RFC 6901) and cut to a bounded length.
fn pointer(name: &str) -> String {
    let name: String = name.chars().take(64).collect();
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A broken rule that was noted among the row's faults.
struct Noted;

fn keep<T>(result: Result<T, Fault>, faults: &mut Vec<Fault>) -> Result<T, Noted> {
    result.map_err(|fault| {
        faults.push(fault);
        Noted
    })
}

fn required<T>(
    value: Result<Option<T>, Noted>,
    pointer: &str,
    faults: &mut Vec<Fault>,
) -> Result<T, Noted> {
    let missing = || Fault::new(pointer, FaultCode::MissingField, "this field is required");
    value.and_then(|value| keep(value.ok_or_else(missing), faults))
}

fn text<T>(
    value: &Value<'_>,
    at: &str,
    read: impl FnOnce(&str) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    match value {
        Value::Absent => Ok(None),
        Value::Text(text) => read(text).map(Some),
        Value::Number(_) => Err(wrong_type(at, "a string", "a number")),
        Value::Other(kind) => Err(wrong_type(at, "a string", kind)),
    }
}

fn number<T>(
    value: &Value<'_>,
    at: &str,
    read: impl FnOnce(f64) -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    match value {
        Value::Absent => Ok(None),
        Value::Number(number) => read(*number).map(Some),
        Value::Text(_) => Err(wrong_type(at, "a number", "a string")),
        Value::Other(kind) => Err(wrong_type(at, "a number", kind)),
    }
}

fn wrong_type(pointer: &str, wanted: &str, found: &str) -> Fault {
    Fault::new(
        pointer,
        FaultCode::WrongType,
        format!("this is {wanted}, not {found}"),
    )
}

/// Valid readings, grouped by meter; within a meter in the order in which they came.
#[derive(Debug, Clone, Default)]
pub struct ReadingBatch {
    groups: Vec<(MeterId, Vec<Reading>)>,
    places: HashMap<MeterId, usize>,
    last: usize,
    rows: usize,
}

impl ReadingBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of one reading.
    pub fn of(meter: MeterId, reading: Reading) -> Self {
        let mut batch = Self::new();
        batch.push(meter, reading);
        batch
    }

    /// Adds a reading behind those of its meter.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "who adds a reading is done with its meter's id"
    )]
    pub fn push(&mut self, meter: MeterId, reading: Reading) {
        let known = self
            .groups
            .get(self.last)
            .is_some_and(|(last, _)| *last == meter);
        let slot = if known { self.last } else { self.slot(&meter) };
        self.push_at(slot, reading);
    }

    /// The place of a meter's readings, for [`ReadingBatch::push_at`]; it is made where it is not.
    pub fn slot(&mut self, meter: &MeterId) -> usize {
        if let Some(slot) = self.places.get(meter) {
            return *slot;
        }
        let slot = self.groups.len();
        self.groups.push((meter.clone(), Vec::new()));
        self.places.insert(meter.clone(), slot);
        slot
    }

    /// Adds a reading behind those of the meter whose place this is; without a look-up, for who
    /// adds many.
    pub fn push_at(&mut self, slot: usize, reading: Reading) {
        if let Some((_, readings)) = self.groups.get_mut(slot) {
            readings.push(reading);
            self.rows += 1;
            self.last = slot;
        }
    }

    /// The readings by meter.
    pub fn groups(&self) -> &[(MeterId, Vec<Reading>)] {
        &self.groups
    }

    /// The number of readings.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft<'static> {
        let mut draft = Draft::default();
        draft.put("meter_id", Value::Text("m-1".into()));
        draft.put("timestamp", Value::Text("2013-01-01T00:00:00Z".into()));
        draft.put("energy_consumption", Value::Number(0.25));
        draft
    }

    fn codes(draft: Draft<'_>) -> Vec<(String, FaultCode)> {
        let faults = draft
            .check(Timestamp::parse("2014-01-01T00:00:00Z").unwrap())
            .unwrap_err();
        faults
            .into_iter()
            .map(|fault| (fault.pointer, fault.code))
            .collect()
    }

    #[test]
    fn a_row_with_the_required_fields_passes() {
        let (meter, reading) = draft().check(Timestamp::MAX).unwrap();
        assert_eq!(meter.as_str(), "m-1");
        assert_eq!(reading.energy.get().to_bits(), 0.25_f64.to_bits());
        assert_eq!((reading.power_factor, reading.location), (None, None));
    }

    #[test]
    fn every_broken_rule_is_named_at_once() {
        let mut draft = Draft::default();
        draft.put("meter_id", Value::Text("batch".into()));
        draft.put(
            "timestamp",
            Value::Text("2014-01-01T00:00:00.000001Z".into()),
        );
        draft.put("power_factor", Value::Text("1".into()));
        draft.put("location", Value::Other("an array"));
        draft.put("a/b~", Value::Absent);
        draft.put("meter_id", Value::Absent);
        let expected = [
            ("/a~1b~0", FaultCode::UnknownField),
            ("/meter_id", FaultCode::DuplicateField),
            ("/meter_id", FaultCode::Reserved),
            ("/timestamp", FaultCode::FutureTimestamp),
            ("/energy_consumption", FaultCode::MissingField),
            ("/power_factor", FaultCode::WrongType),
            ("/location", FaultCode::WrongType),
        ];
        assert_eq!(
            codes(draft),
            expected.map(|(pointer, code)| (pointer.to_owned(), code))
        );
    }

    #[test]
    fn a_reading_at_this_very_instant_is_not_the_future() {
        assert!(
            draft()
                .check(Timestamp::parse("2013-01-01T00:00:00Z").unwrap())
                .is_ok()
        );
    }

    #[test]
    fn a_batch_keeps_the_order_within_a_meter() {
        let mut batch = ReadingBatch::new();
        for (meter, kwh) in [("a", 1.0), ("b", 2.0), ("a", 3.0)] {
            let reading = Reading {
                at: Timestamp::MIN,
                energy: Kwh::new(kwh).unwrap(),
                power_factor: None,
                location: None,
            };
            batch.push(MeterId::parse(meter).unwrap(), reading);
        }
        let kwh: Vec<Vec<f64>> = batch
            .groups()
            .iter()
            .map(|(_, g)| g.iter().map(|r| r.energy.get()).collect())
            .collect();
        assert_eq!((batch.len(), kwh), (3, vec![vec![1.0, 3.0], vec![2.0]]));
    }
}
