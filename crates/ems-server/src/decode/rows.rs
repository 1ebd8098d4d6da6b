//! Gathers rows: good ones into the batch, of bad ones their broken rules and their number.

use std::{borrow::Cow, collections::HashMap};

use ems_core::{
    Fault, FaultCode,
    meter::MeterId,
    quantity::{Kwh, Location, PowerFactor},
    reading::{Draft, Reading, Value},
    time::Timestamp,
};

use super::{Decoded, Failure, MAX_FAULTS, Row, Rules};

/// A row of nothing but plain strings and numbers, each field at most once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Plain<'a> {
    pub(super) meter_id: Option<&'a str>,
    pub(super) timestamp: Option<&'a str>,
    pub(super) energy: Option<f64>,
    pub(super) power_factor: Option<f64>,
    pub(super) location: Option<&'a str>,
}

/// The fields of a row as the full parser found them.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    draft: Draft<'a>,
    meter: Option<Cow<'a, str>>,
    count: usize,
}

impl<'a> Fields<'a> {
    /// Past so many fields every further one is one more fault: they are no longer kept.
    const MAX: usize = MAX_FAULTS + ems_core::reading::FIELDS.len() + 1;

    pub(super) fn put(&mut self, name: &str, value: Value<'a>) {
        self.count += 1;
        if self.count > Self::MAX {
            return;
        }
        if let ("meter_id", Value::Text(text)) = (name, &value) {
            self.meter.get_or_insert_with(|| text.clone());
        }
        self.draft.put(name, value);
    }

    /// The row, if it breaks no rule of a reading.
    pub(super) fn check(self, latest: Timestamp) -> Result<Row, Vec<Fault>> {
        self.draft.check(latest)
    }
}

/// Whether a caller may write a meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admission {
    Admitted,
    OutOfScope,
    Unregistered,
}

impl Admission {
    fn fault(self) -> Option<Fault> {
        let why = match self {
            Self::Admitted => return None,
            Self::OutOfScope => "this meter is outside the caller's meters",
            Self::Unregistered => "this meter is not registered",
        };
        Some(Fault::new("/meter_id", FaultCode::OutOfScope, why))
    }
}

/// The gatherer.
pub(super) struct Rows<'r> {
    rules: &'r Rules<'r>,
    /// Meters met so far; their ids are shared by all their rows.
    meters: HashMap<MeterId, Admission>,
    last: Option<(MeterId, Admission)>,
    place: Option<Location>,
    index: u64,
    decoded: Decoded,
}

impl<'r> Rows<'r> {
    pub(super) fn new(rules: &'r Rules<'r>) -> Self {
        Self {
            rules,
            meters: HashMap::new(),
            last: None,
            place: None,
            index: 0,
            decoded: Decoded::default(),
        }
    }

    /// Begins a row. Every row is begun once, and then taken or rejected once.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        match self.rules.max_rows {
            Some(max) if self.index >= max => Err(Failure::TooManyRows(max)),
            _ => Ok(()),
        }
    }

    /// The number of rows before this one.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    /// Takes a plain row; `false`, and nothing done, when any rule is broken.
    pub(super) fn plain(&mut self, row: &Plain<'_>) -> bool {
        let Some((meter, reading)) = self.accept(row) else {
            return false;
        };
        self.index += 1;
        self.decoded.batch.push(meter, reading);
        true
    }

    fn accept(&mut self, row: &Plain<'_>) -> Option<Row> {
        let meter = self.meter(row.meter_id?)?;
        let at = Timestamp::parse(row.timestamp?).ok()?;
        if at > self.rules.latest {
            return None;
        }
        let energy = Kwh::new(row.energy?).ok()?;
        let power_factor = row.power_factor.map(PowerFactor::new).transpose().ok()?;
        let location = match row.location {
            Some(text) => Some(self.location(text)?),
            None => None,
        };
        let reading = Reading { at, energy, power_factor, location };
        Some((meter, reading))
    }

    /// The shared id of an admitted meter.
    fn meter(&mut self, text: &str) -> Option<MeterId> {
        if self.last.as_ref().is_none_or(|(last, _)| last.as_str() != text) {
            let known = self.meters.get_key_value(text).map(|(meter, known)| (meter.clone(), *known));
            self.last = Some(match known {
                Some(known) => known,
                None => self.first(MeterId::parse(text).ok()?),
            });
        }
        match &self.last {
            Some((meter, Admission::Admitted)) => Some(meter.clone()),
            _ => None,
        }
    }

    fn first(&mut self, meter: MeterId) -> (MeterId, Admission) {
        let admission = self.admission(&meter);
        self.meters.insert(meter.clone(), admission);
        (meter, admission)
    }

    fn admission(&self, meter: &MeterId) -> Admission {
        if !self.rules.scope.contains(meter) {
            return Admission::OutOfScope;
        }
        if self.rules.unregistered.contains(meter) {
            return Admission::Unregistered;
        }
        Admission::Admitted
    }

    /// The place of a text; rows of one meter mostly name the same, which is then kept once.
    fn location(&mut self, text: &str) -> Option<Location> {
        if self.place.as_ref().is_none_or(|place| place.as_str() != text) {
            self.place = Some(Location::parse(text).ok()?);
        }
        self.place.clone()
    }

    /// Takes or rejects a row from the full parser.
    pub(super) fn fields(&mut self, fields: Fields<'_>) {
        let more = fields.count > Fields::MAX;
        let meter = fields.meter.as_deref().and_then(|text| MeterId::parse(text).ok());
        let refused = meter.as_ref().and_then(|meter| self.admission(meter).fault());
        match (fields.check(self.rules.latest), refused) {
            (Ok((meter, reading)), None) => {
                self.index += 1;
                // The shared id in place of a new one of the same text.
                let meter = self.meter(meter.as_str()).unwrap_or(meter);
                self.decoded.batch.push(meter, reading);
            }
            (Ok(_), Some(refused)) => self.reject(vec![refused], more),
            (Err(mut faults), refused) => {
                faults.extend(refused);
                self.reject(faults, more);
            }
        }
    }

    /// Rejects a row that is not well-formed.
    pub(super) fn malformed(&mut self, why: impl Into<String>) {
        self.reject(vec![Fault::new("", FaultCode::Malformed, why)], false);
    }

    /// Rejects a row. `more`: it broke more rules than `faults` names.
    pub(super) fn reject(&mut self, faults: Vec<Fault>, more: bool) {
        let room = MAX_FAULTS.saturating_sub(self.decoded.faults.len());
        self.decoded.truncated |= more || faults.len() > room;
        let index = self.index;
        self.decoded.faults.extend(faults.into_iter().take(room).map(|fault| (index, fault)));
        self.decoded.rejected += 1;
        self.index += 1;
    }

    pub(super) fn finish(self) -> Decoded {
        self.decoded
    }
}
