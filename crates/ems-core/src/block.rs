//! Readings of one meter as columns, in the order of time: what the store returns and analytics
//! sums, without a struct a reading.

use crate::{
    quantity::{Kwh, Location, PowerFactor},
    reading::Reading,
    time::{TimeRange, Timestamp},
};

/// Columns of equal length, strictly ascending in time. An optional column that no reading has is
/// empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    at: Vec<i64>,
    energy: Vec<f64>,
    power_factor: Vec<Option<PowerFactor>>,
    location: Vec<Option<Location>>,
}

impl Block {
    /// Columns with room for `readings`.
    pub fn with_capacity(readings: usize) -> Self {
        Self {
            at: Vec::with_capacity(readings),
            energy: Vec::with_capacity(readings),
            ..Self::default()
        }
    }

    /// Columns that were read back; `None` unless they are of equal length (an optional one may be
    /// empty), ascending in time, and within the bounds of their quantities.
    pub fn from_columns(
        at: Vec<i64>,
        energy: Vec<f64>,
        power_factor: Vec<Option<PowerFactor>>,
        location: Vec<Option<Location>>,
    ) -> Option<Self> {
        let length = at.len();
        let fits = |column: usize| column == 0 || column == length;
        let whole = energy.len() == length && fits(power_factor.len()) && fits(location.len());
        let ascending = at.is_sorted_by(|before, after| before < after);
        let bounded = at.first().is_none_or(|at| *at >= 0)
            && at
                .last()
                .is_none_or(|at| Timestamp::from_micros(*at).is_some())
            && energy
                .iter()
                .all(|energy| (0.0..=Kwh::MAX).contains(energy));
        (whole && ascending && bounded).then_some(Self {
            at,
            energy,
            power_factor,
            location,
        })
    }

    /// Adds a reading behind the last; one that is not later is not taken and given back.
    pub fn push(&mut self, reading: Reading) -> Result<(), Reading> {
        if self
            .at
            .last()
            .is_some_and(|last| *last >= reading.at.as_micros())
        {
            return Err(reading);
        }
        let before = self.at.len();
        self.at.push(reading.at.as_micros());
        self.energy.push(reading.energy.get());
        append(&mut self.power_factor, before, reading.power_factor);
        append(&mut self.location, before, reading.location);
        Ok(())
    }

    /// The number of readings.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Timestamps in microseconds since 1970, strictly ascending.
    pub fn at(&self) -> &[i64] {
        &self.at
    }

    /// Energy in kWh.
    pub fn energy(&self) -> &[f64] {
        &self.energy
    }

    /// Power factors; empty when no reading has one.
    pub fn power_factor(&self) -> &[Option<PowerFactor>] {
        &self.power_factor
    }

    /// Places; empty when no reading has one.
    pub fn location(&self) -> &[Option<Location>] {
        &self.location
    }

    /// The reading at a place in the columns.
    pub fn get(&self, index: usize) -> Option<Reading> {
        Some(Reading {
            at: Timestamp::saturating_from_micros(*self.at.get(index)?),
            energy: Kwh::new(*self.energy.get(index)?).ok()?,
            power_factor: self.power_factor.get(index).copied().flatten(),
            location: self.location.get(index).cloned().flatten(),
        })
    }

    /// All readings in order.
    pub fn iter(&self) -> impl Iterator<Item = Reading> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The first and the last timestamp.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let instant = |micros: &i64| Timestamp::saturating_from_micros(*micros);
        Some((instant(self.at.first()?), instant(self.at.last()?)))
    }

    /// A copy of what lies in `range`.
    #[must_use]
    pub fn within(&self, range: TimeRange) -> Self {
        let start = self
            .at
            .partition_point(|at| *at < range.start().as_micros());
        let end = self.at.partition_point(|at| *at < range.end().as_micros());
        Self {
            at: part(&self.at, start, end),
            energy: part(&self.energy, start, end),
            power_factor: part(&self.power_factor, start, end),
            location: part(&self.location, start, end),
        }
    }
}

/// Adds to an optional column, which stays empty until a first value comes.
fn append<T: Clone>(column: &mut Vec<Option<T>>, before: usize, value: Option<T>) {
    if value.is_some() || !column.is_empty() {
        column.resize(before, None);
        column.push(value);
    }
}

/// A part of a column; of an empty one, nothing.
fn part<T: Clone>(column: &[T], start: usize, end: usize) -> Vec<T> {
    column.get(start..end).unwrap_or_default().to_vec()
}

impl FromIterator<Reading> for Block {
    /// Collects readings; those that are not later than the one before are left out.
    fn from_iter<I: IntoIterator<Item = Reading>>(readings: I) -> Self {
        let mut block = Self::default();
        for reading in readings {
            drop(block.push(reading));
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(micros: i64, power_factor: Option<f64>) -> Reading {
        Reading {
            at: Timestamp::from_micros(micros).unwrap(),
            energy: Kwh::new(1.5).unwrap(),
            power_factor: power_factor.map(|value| PowerFactor::new(value).unwrap()),
            location: None,
        }
    }

    #[test]
    fn returns_what_was_pushed() {
        let readings = vec![reading(1, None), reading(2, Some(0.5)), reading(9, None)];
        let block: Block = readings.clone().into_iter().collect();
        assert_eq!(block.iter().collect::<Vec<_>>(), readings);
        assert!(block.location().is_empty());
    }

    #[test]
    fn refuses_an_earlier_or_equal_timestamp() {
        let mut block: Block = [reading(5, None)].into_iter().collect();
        assert!(block.push(reading(5, None)).is_err());
        assert!(block.push(reading(4, None)).is_err());
        assert_eq!(block.len(), 1);
    }

    #[test]
    fn cuts_to_a_half_open_range() {
        let block: Block = (0..10).map(|at| reading(at, Some(1.0))).collect();
        let range = TimeRange::new(
            Timestamp::from_micros(3).unwrap(),
            Timestamp::from_micros(6).unwrap(),
        )
        .unwrap();
        let cut = block.within(range);
        assert_eq!(
            (cut.at(), cut.power_factor().len()),
            ([3, 4, 5].as_slice(), 3)
        );
    }
}
