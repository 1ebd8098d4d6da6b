//! Gathers rows: good ones into the batch, of bad ones their broken rules and their number.

use std::{borrow::Cow, collections::HashMap};

use ems_core::{
    Fault, FaultCode,
    meter::MeterId,
    quantity::{Kwh, Location, PowerFactor},
    reading::{Draft, Reading, Value},
    time::Timestamp,
};

use super::{Decoded, Failure, MAX_FAULTS, NOT_REGISTERED, Row, Rules, TOO_OLD};

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
            Self::Unregistered => NOT_REGISTERED,
        };
        Some(Fault::new("/meter_id", FaultCode::OutOfScope, why))
    }
}

/// A meter met in this batch.
struct Known {
    meter: MeterId,
    admission: Admission,
    /// Where its rows go in the batch; there once it has one.
    slot: Option<usize>,
    /// Where its last row was taken: mostly the next names the same, which is then kept once.
    place: Option<Location>,
}

impl Known {
    fn location(&mut self, text: &str) -> Option<Location> {
        if self
            .place
            .as_ref()
            .is_none_or(|place| place.as_str() != text)
        {
            self.place = Some(Location::parse(text).ok()?);
        }
        self.place.clone()
    }
}

/// Whether a reading would correct one that is too old for that.
fn frozen(rules: &Rules<'_>, meter: &MeterId, at: Timestamp) -> bool {
    let corrections = &rules.refused.corrections;
    !corrections.is_empty() && corrections.contains(&(meter.clone(), at))
}

/// The gatherer.
pub(super) struct Rows<'r> {
    rules: &'r Rules<'r>,
    known: Vec<Known>,
    /// Meters by their place in `known`.
    meters: HashMap<MeterId, usize>,
    /// The meter of the row before.
    last: usize,
    index: u64,
    decoded: Decoded,
}

impl<'r> Rows<'r> {
    pub(super) fn new(rules: &'r Rules<'r>) -> Self {
        Self {
            rules,
            known: Vec::new(),
            meters: HashMap::new(),
            last: 0,
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
        self.accept(row).is_some()
    }

    fn accept(&mut self, row: &Plain<'_>) -> Option<()> {
        let at = Timestamp::parse(row.timestamp?).ok()?;
        if at > self.rules.latest {
            return None;
        }
        let energy = Kwh::new(row.energy?).ok()?;
        let power_factor = row.power_factor.map(PowerFactor::new).transpose().ok()?;
        self.last = self.find(row.meter_id?)?;
        let known = self.known.get_mut(self.last)?;
        if known.admission != Admission::Admitted || frozen(self.rules, &known.meter, at) {
            return None;
        }
        let location = match row.location {
            Some(text) => Some(known.location(text)?),
            None => None,
        };
        let batch = &mut self.decoded.batch;
        let slot = *known.slot.get_or_insert_with(|| batch.slot(&known.meter));
        batch.push_at(
            slot,
            Reading {
                at,
                energy,
                power_factor,
                location,
            },
        );
        self.index += 1;
        Some(())
    }

    /// The place of a meter in `known`; it is added where it is new.
    fn find(&mut self, text: &str) -> Option<usize> {
        if self
            .known
            .get(self.last)
            .is_some_and(|known| known.meter.as_str() == text)
        {
            return Some(self.last);
        }
        if let Some(place) = self.meters.get(text) {
            return Some(*place);
        }
        let meter = MeterId::parse(text).ok()?;
        let admission = self.admission(&meter);
        let place = self.known.len();
        self.known.push(Known {
            meter: meter.clone(),
            admission,
            slot: None,
            place: None,
        });
        self.meters.insert(meter, place);
        Some(place)
    }

    fn admission(&self, meter: &MeterId) -> Admission {
        if !self.rules.scope.contains(meter) {
            return Admission::OutOfScope;
        }
        if self.rules.refused.meters.contains(meter) {
            return Admission::Unregistered;
        }
        Admission::Admitted
    }

    /// Takes or rejects a row from the full parser.
    pub(super) fn fields(&mut self, fields: Fields<'_>) {
        let more = fields.count > Fields::MAX;
        let meter = fields
            .meter
            .as_deref()
            .and_then(|text| MeterId::parse(text).ok());
        let refused = meter
            .as_ref()
            .and_then(|meter| self.admission(meter).fault());
        match (fields.check(self.rules.latest), refused) {
            (Ok((meter, reading)), None) if frozen(self.rules, &meter, reading.at) => {
                self.reject(
                    vec![Fault::new("/timestamp", FaultCode::OutOfRange, TOO_OLD)],
                    more,
                );
            }
            (Ok((meter, reading)), None) => {
                self.index += 1;
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
        self.decoded
            .faults
            .extend(faults.into_iter().take(room).map(|fault| (index, fault)));
        self.decoded.rejected += 1;
        self.index += 1;
    }

    pub(super) fn finish(self) -> Decoded {
        self.decoded
    }
}
