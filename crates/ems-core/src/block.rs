//! Readings of one meter as columns, in the order of time: what the store returns and analytics
//! sums, without a struct a reading.

use crate::{
    quantity::{Kwh, Location, PowerFactor},
    reading::Reading,
    time::{TimeRange, Timestamp},
};

/// What stands for a power factor that a reading does not have: a double that no power factor is.
pub const NO_FACTOR: f64 = -1.0;
/// How far back a place is looked for among those known: readings hardly change their place.
const LOOK_BACK: usize = 8;

/// Columns of equal length, strictly ascending in time. An optional column that no reading has is
/// empty. 28 bytes a reading with all of them.
#[derive(Debug, Clone, Default)]
pub struct Block {
    at: Vec<i64>,
    energy: Vec<f64>,
    /// [`NO_FACTOR`] where a reading has none.
    power_factor: Vec<f64>,
    places: Places,
}

/// Where readings were taken: each text once (or a few times), and a number a reading.
#[derive(Debug, Clone, Default)]
pub struct Places {
    texts: Vec<Location>,
    /// 0 where a reading has none, else one more than its text's place in `texts`.
    numbers: Vec<u32>,
}

impl Places {
    /// Texts and, for each reading, 0 or one more than the place of its text; `None` where a number
    /// has no text.
    pub fn new(texts: Vec<Location>, numbers: Vec<u32>) -> Option<Self> {
        let most = u32::try_from(texts.len()).ok()?;
        let known = numbers.iter().all(|number| *number <= most);
        known.then_some(Self { texts, numbers })
    }

    /// The texts. One may come more than once.
    pub fn texts(&self) -> &[Location] {
        &self.texts
    }

    /// For each reading 0, or one more than the place of its text; empty when no reading has one.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// The place of a reading.
    pub fn get(&self, index: usize) -> Option<&Location> {
        let number = self.numbers.get(index)?.checked_sub(1)?;
        self.texts.get(usize::try_from(number).ok()?)
    }

    /// Adds a reading's place behind `before` readings.
    fn push(&mut self, before: usize, place: Option<Location>) {
        let Some(place) = place else {
            if !self.numbers.is_empty() {
                self.numbers.push(0);
            }
            return;
        };
        self.numbers.resize(before, 0);
        let number = self.number(place);
        self.numbers.push(number);
    }

    fn number(&mut self, place: Location) -> u32 {
        let known = self.texts.iter().enumerate().rev().take(LOOK_BACK);
        let found = known
            .filter(|(_, text)| **text == place)
            .map(|(at, _)| at)
            .next();
        let at = found.unwrap_or_else(|| {
            self.texts.push(place);
            self.texts.len() - 1
        });
        // A block of more than four thousand million places fits into no memory.
        u32::try_from(at + 1).unwrap_or(0)
    }

    /// Adds the places of the readings from `before` to `length`.
    fn extend(&mut self, before: usize, other: Self, length: usize) {
        if self.numbers.is_empty() && other.numbers.is_empty() {
            return;
        }
        let texts = other.texts.into_iter();
        let renumbered: Vec<u32> = texts.map(|text| self.number(text)).collect();
        let renumbered = |number: u32| {
            let text = usize::try_from(number).ok()?.checked_sub(1)?;
            renumbered.get(text).copied()
        };
        make_room(&mut self.numbers, length);
        self.numbers.resize(before, 0);
        let numbers = other.numbers.into_iter();
        self.numbers
            .extend(numbers.map(|number| renumbered(number).unwrap_or(0)));
        self.numbers.resize(length, 0);
    }

    fn part(&self, start: usize, end: usize) -> Self {
        let numbers = part(&self.numbers, start, end);
        if numbers.iter().all(|number| *number == 0) {
            return Self::default();
        }
        if self.texts.len() > numbers.len() {
            // A meter that moves at every reading: a part costs what it holds, not what all hold.
            let mut places = Self::default();
            for before in 0..numbers.len() {
                places.push(before, self.get(start + before).cloned());
            }
            return places;
        }
        Self {
            texts: self.texts.clone(),
            numbers,
        }
    }
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
        power_factor: Vec<f64>,
        places: Places,
    ) -> Option<Self> {
        let length = at.len();
        let fits = |column: usize| column == 0 || column == length;
        let whole =
            energy.len() == length && fits(power_factor.len()) && fits(places.numbers.len());
        let ascending = at.is_sorted_by(|before, after| before < after);
        let bounded = at.first().is_none_or(|at| *at >= 0)
            && at
                .last()
                .is_none_or(|at| Timestamp::from_micros(*at).is_some())
            && energy
                .iter()
                .all(|energy| (0.0..=Kwh::MAX).contains(energy))
            && power_factor
                .iter()
                .all(|factor| factor.to_bits() == NO_FACTOR.to_bits() || is_factor(*factor));
        (whole && ascending && bounded).then_some(Self {
            at,
            energy,
            power_factor,
            places,
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
        let factor = reading.power_factor.map(PowerFactor::get);
        if factor.is_some() || !self.power_factor.is_empty() {
            self.power_factor.resize(before, NO_FACTOR);
            self.power_factor.push(factor.unwrap_or(NO_FACTOR));
        }
        self.places.push(before, reading.location);
        Ok(())
    }

    /// Puts a reading in place of the one at `index`.
    pub fn replace(&mut self, index: usize, reading: Reading) {
        let length = self.at.len();
        if index >= length {
            return;
        }
        let factor = reading.power_factor.map(PowerFactor::get);
        if factor.is_some() {
            self.power_factor.resize(length, NO_FACTOR);
        }
        if reading.location.is_some() {
            self.places.numbers.resize(length, 0);
        }
        let number = reading
            .location
            .map_or(0, |place| self.places.number(place));
        set(&mut self.at, index, reading.at.as_micros());
        set(&mut self.energy, index, reading.energy.get());
        set(&mut self.power_factor, index, factor.unwrap_or(NO_FACTOR));
        set(&mut self.places.numbers, index, number);
    }

    /// Adds all readings of another block; those that are not later than the last are left out.
    pub fn extend(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        if self.at.last() >= other.at.first() {
            other.iter().for_each(|reading| drop(self.push(reading)));
            return;
        }
        let (before, length) = (self.len(), self.len() + other.len());
        make_room(&mut self.at, length);
        make_room(&mut self.energy, length);
        self.at.extend(other.at);
        self.energy.extend(other.energy);
        if !(self.power_factor.is_empty() && other.power_factor.is_empty()) {
            make_room(&mut self.power_factor, length);
            self.power_factor.resize(before, NO_FACTOR);
            self.power_factor.extend(other.power_factor);
            self.power_factor.resize(length, NO_FACTOR);
        }
        self.places.extend(before, other.places, length);
    }

    /// Puts all readings of another block between two of this one, or at an end.
    ///
    /// # Errors
    /// The other block, where its readings do not all lie in one gap.
    pub fn insert(&mut self, other: Self) -> Result<(), Self> {
        let (Some(first), Some(last)) = (other.at.first(), other.at.last()) else {
            return Ok(());
        };
        let place = self.at.partition_point(|at| at < first);
        if self.at.get(place).is_some_and(|next| next <= last) {
            return Err(other);
        }
        let later = self.split_off(place);
        self.extend(other);
        self.extend(later);
        Ok(())
    }

    /// Takes away the readings from a place in the columns on.
    #[must_use]
    pub fn split_off(&mut self, place: usize) -> Self {
        let rest = self.slice(place, self.len());
        self.at.truncate(place);
        self.energy.truncate(place);
        self.power_factor.truncate(place);
        self.places.numbers.truncate(place);
        rest
    }

    /// The number of readings before an instant.
    pub fn count_before(&self, instant: Timestamp) -> usize {
        self.at.partition_point(|at| *at < instant.as_micros())
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

    /// Power factors, [`NO_FACTOR`] where a reading has none; empty when no reading has one.
    pub fn power_factor(&self) -> &[f64] {
        &self.power_factor
    }

    /// Where the readings were taken.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The power factor of the reading at a place in the columns.
    pub fn power_factor_at(&self, index: usize) -> Option<PowerFactor> {
        PowerFactor::new(*self.power_factor.get(index)?).ok()
    }

    /// The reading at a place in the columns.
    pub fn get(&self, index: usize) -> Option<Reading> {
        Some(Reading {
            at: Timestamp::saturating_from_micros(*self.at.get(index)?),
            energy: Kwh::new(*self.energy.get(index)?).ok()?,
            power_factor: self.power_factor_at(index),
            location: self.places.get(index).cloned(),
        })
    }

    /// All readings in order.
    pub fn iter(&self) -> impl Iterator<Item = Reading> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The readings in `range`, in order.
    pub fn iter_within(&self, range: TimeRange) -> impl Iterator<Item = Reading> + '_ {
        let (start, end) = self.bounds(range);
        (start..end).filter_map(|index| self.get(index))
    }

    /// The number of readings in `range`.
    pub fn count_within(&self, range: TimeRange) -> usize {
        let (start, end) = self.bounds(range);
        end.saturating_sub(start)
    }

    /// The first and the last timestamp in `range`.
    pub fn span_within(&self, range: TimeRange) -> Option<(Timestamp, Timestamp)> {
        let (start, end) = self.bounds(range);
        let at = self.at.get(start..end)?;
        let instant = |micros: &i64| Timestamp::saturating_from_micros(*micros);
        Some((instant(at.first()?), instant(at.last()?)))
    }

    /// The first and the last timestamp.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        let instant = |micros: &i64| Timestamp::saturating_from_micros(*micros);
        Some((instant(self.at.first()?), instant(self.at.last()?)))
    }

    /// Where the readings of `range` begin and end in the columns.
    fn bounds(&self, range: TimeRange) -> (usize, usize) {
        let place = |limit: Timestamp| self.at.partition_point(|at| *at < limit.as_micros());
        (place(range.start()), place(range.end()))
    }

    /// A copy of what lies in `range`.
    #[must_use]
    pub fn within(&self, range: TimeRange) -> Self {
        let (start, end) = self.bounds(range);
        self.slice(start, end)
    }

    /// A copy of the readings at some places in the columns.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> Self {
        Self {
            at: part(&self.at, start, end),
            energy: part(&self.energy, start, end),
            power_factor: part(&self.power_factor, start, end),
            places: self.places.part(start, end),
        }
    }
}

/// Blocks are equal when their readings are.
impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

fn is_factor(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

/// Room for a length. A column grows by a quarter, not to the double: there are many, and what they
/// do not use is memory too.
fn make_room<T>(column: &mut Vec<T>, length: usize) {
    if column.capacity() < length {
        column.reserve_exact((length + length / 4).saturating_sub(column.len()));
    }
}

/// Puts a value in a column, if it has that place.
fn set<T>(column: &mut [T], index: usize, value: T) {
    if let Some(old) = column.get_mut(index) {
        *old = value;
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
    use proptest::prelude::*;

    use super::*;

    /// Readings at distinct times: power factor and place by small numbers, 0 for none.
    fn rows() -> impl Strategy<Value = Vec<Reading>> {
        let row = (0_u8..4, 0_u8..12);
        prop::collection::btree_map(0_i64..200, row, 0..40).prop_map(|rows| {
            let made = |(at, (factor, place)): (i64, (u8, u8))| Reading {
                power_factor: (factor > 0)
                    .then(|| PowerFactor::new(1.0 / f64::from(factor)).unwrap()),
                location: (place > 0).then(|| Location::parse(&format!("room {place}")).unwrap()),
                ..reading(at, None)
            };
            rows.into_iter().map(made).collect()
        })
    }

    proptest! {
        #[test]
        fn holds_what_a_list_of_readings_would(
            older in rows(), newer in rows(), replaced in prop::collection::vec((0_usize..60, rows()), 0..4)
        ) {
            let mut block: Block = older.iter().cloned().collect();
            let mut list = older;
            block.extend(newer.iter().cloned().collect());
            for row in newer {
                if list.last().is_none_or(|last| last.at < row.at) {
                    list.push(row);
                }
            }
            for (index, others) in replaced {
                let (Some(old), Some(other)) = (list.get_mut(index), others.first()) else { continue };
                *old = Reading { at: old.at, ..other.clone() };
                block.replace(index, old.clone());
            }
            prop_assert_eq!(block.iter().collect::<Vec<_>>(), list.clone());
            let mut parts = block.clone();
            let gap = list.len() / 3..list.len() / 3 * 2;
            let later = parts.split_off(gap.end);
            let between = parts.split_off(gap.start);
            parts.extend(later);
            prop_assert_eq!(parts.insert(between.clone()), Ok(()));
            prop_assert_eq!(&parts, &block);
            if !between.is_empty() {
                prop_assert_eq!(parts.insert(between.clone()), Err(between), "no gap");
            }
            let range = TimeRange::new(Timestamp::from_micros(20).unwrap(), Timestamp::from_micros(90).unwrap()).unwrap();
            let within: Vec<Reading> = list.into_iter().filter(|row| range.contains(row.at)).collect();
            prop_assert_eq!(block.within(range).iter().collect::<Vec<_>>(), within.clone());
            prop_assert_eq!(block.iter_within(range).collect::<Vec<_>>(), within);
        }
    }

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
        assert!(block.places().numbers().is_empty());
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
