//! Readings of one meter in memory, newer than anything under them: what was written since the last
//! fold, and which older stretches were deleted.

use std::collections::BTreeMap;

use ems_core::{
    block::Block,
    reading::Reading,
    time::{TimeRange, Timestamp},
};

/// Rows that may follow a place where a block of late ones is put among them, for each of the block:
/// moving them costs less than keeping those apart.
const MOVED: usize = 32;

/// One layer of a meter: rows that win over, and deletions that hide, what lies below.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    /// Rows that came in order.
    rows: Block,
    /// Rows that came late; none at a time that is in `rows`.
    late: BTreeMap<Timestamp, Reading>,
    /// Stretches of older data that are no more. Rows of this layer are not touched by them.
    deleted: Vec<TimeRange>,
    /// Values that were replaced, and when: kept for their time, out of the way of scans.
    superseded: Vec<(Timestamp, Reading)>,
}

/// What a layer knows about an instant.
pub(crate) enum Known {
    /// Its reading.
    Row(Reading),
    /// That there is none.
    Deleted,
    /// Nothing: ask the layer below.
    Unknown,
}

impl Layer {
    /// A layer of some rows.
    pub(crate) fn of(rows: Block) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }

    /// Whether nothing would be lost without it.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
            && self.late.is_empty()
            && self.deleted.is_empty()
            && self.superseded.is_empty()
    }

    /// The latest row's time.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        let late = self.late.last_key_value().map(|(at, _)| *at);
        self.rows.span().map(|(_, last)| last).max(late)
    }

    /// What is known about an instant.
    pub(crate) fn at(&self, at: Timestamp) -> Known {
        let place = self.rows.at().binary_search(&at.as_micros()).ok();
        let found = place.and_then(|place| self.rows.get(place));
        if let Some(row) = found.or_else(|| self.late.get(&at).cloned()) {
            return Known::Row(row);
        }
        if self.deleted.iter().any(|range| range.contains(at)) {
            Known::Deleted
        } else {
            Known::Unknown
        }
    }

    /// Puts a row, in place of one at the same time.
    pub(crate) fn put(&mut self, row: Reading) {
        if self.late.is_empty() || !self.late.contains_key(&row.at) {
            let Err(row) = self.rows.push(row) else {
                return;
            };
            match self.rows.at().binary_search(&row.at.as_micros()) {
                Ok(place) => self.rows.replace(place, row),
                Err(_) => drop(self.late.insert(row.at, row)),
            }
        } else {
            self.late.insert(row.at, row);
        }
    }

    /// Deletes a stretch: from this layer, and hidden in those below.
    pub(crate) fn delete(&mut self, range: TimeRange) {
        if self.rows.iter_within(range).next().is_some() {
            let kept = self.rows.iter().filter(|row| !range.contains(row.at));
            self.rows = kept.collect();
        }
        self.late.retain(|at, _| !range.contains(*at));
        self.deleted
            .retain(|old| !(range.start() <= old.start() && old.end() <= range.end()));
        self.deleted.push(range);
    }

    /// Keeps a value that was replaced.
    pub(crate) fn supersede(&mut self, when: Timestamp, old: Reading) {
        self.superseded.push((when, old));
    }

    /// Lays a newer layer over this one.
    pub(crate) fn absorb(&mut self, newer: Self) {
        for range in newer.deleted {
            self.delete(range);
        }
        if let Err(rows) = self.put_among(newer.rows) {
            rows.iter().for_each(|row| self.put(row));
        }
        newer.late.into_values().for_each(|row| self.put(row));
        self.superseded.extend(newer.superseded);
    }

    /// Puts rows that all lie between two others, or behind all. Batches of one meter that overtake
    /// each other are such.
    fn put_among(&mut self, rows: Block) -> Result<(), Block> {
        let Some((first, last)) = rows.span() else {
            return Ok(());
        };
        let behind = self.rows.len() - self.rows.count_before(first);
        if behind > rows.len() * MOVED || self.late.range(first..=last).next().is_some() {
            return Err(rows);
        }
        self.rows.insert(rows)
    }

    /// Rows in a stretch, ascending.
    pub(crate) fn rows(&self, range: TimeRange) -> impl Iterator<Item = Reading> + '_ {
        let mut rows = self.rows.iter_within(range).peekable();
        let late = self.late.range(range.start()..range.end());
        let mut late = late.map(|(_, row)| row).peekable();
        std::iter::from_fn(move || match (rows.peek(), late.peek()) {
            (Some(row), Some(other)) if other.at < row.at => late.next().cloned(),
            (Some(_), _) => rows.next(),
            (None, _) => late.next().cloned(),
        })
    }

    /// The number of rows in a stretch.
    pub(crate) fn count(&self, range: TimeRange) -> u64 {
        let late = self.late.range(range.start()..range.end()).count();
        u64::try_from(self.rows.count_within(range) + late).unwrap_or(u64::MAX)
    }

    /// The times of the first and the last row in a stretch.
    pub(crate) fn span(&self, range: TimeRange) -> Option<(Timestamp, Timestamp)> {
        let rows = self.rows.span_within(range);
        let mut late = self
            .late
            .range(range.start()..range.end())
            .map(|(at, _)| *at);
        let late = late
            .next()
            .map(|first| (first, late.next_back().unwrap_or(first)));
        match (rows, late) {
            (Some(rows), Some(late)) => Some((rows.0.min(late.0), rows.1.max(late.1))),
            (rows, late) => rows.or(late),
        }
    }

    /// A copy of the rows in a stretch, if none of them came late: then they are columns already.
    pub(crate) fn columns(&self, range: TimeRange) -> Option<Block> {
        let late = self.late.range(range.start()..range.end()).next();
        late.is_none().then(|| self.rows.within(range))
    }

    /// The deleted stretches.
    pub(crate) fn deleted(&self) -> &[TimeRange] {
        &self.deleted
    }

    /// The replaced values.
    pub(crate) fn superseded(&self) -> &[(Timestamp, Reading)] {
        &self.superseded
    }
}

#[cfg(test)]
mod tests {
    use ems_core::quantity::Kwh;
    use proptest::prelude::*;

    use super::*;

    fn row(at: i64, kwh: f64) -> Reading {
        let at = Timestamp::from_micros(at).unwrap();
        Reading {
            at,
            energy: Kwh::new(kwh).unwrap(),
            power_factor: None,
            location: None,
        }
    }

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange::new(
            Timestamp::from_micros(start).unwrap(),
            Timestamp::from_micros(end).unwrap(),
        )
        .unwrap()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(i64, f64),
        Delete(i64, i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let put = (0_i64..40, 0.0..9.0_f64).prop_map(|(at, kwh)| Step::Put(at, kwh));
        let delete =
            (0_i64..40, 1_i64..8).prop_map(|(start, length)| Step::Delete(start, start + length));
        prop::collection::vec(prop_oneof![6 => put, 1 => delete], 0..60)
    }

    fn play(steps: &[Step], layer: &mut Layer, model: &mut BTreeMap<i64, f64>) {
        for step in steps {
            match *step {
                Step::Put(at, kwh) => {
                    layer.put(row(at, kwh));
                    model.insert(at, kwh);
                }
                Step::Delete(start, end) => {
                    layer.delete(range(start, end));
                    model.retain(|at, _| !(start..end).contains(at));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_sorted_map(older in steps(), newer in steps()) {
            let (mut below, mut above, mut model) = (Layer::default(), Layer::default(), BTreeMap::new());
            play(&older, &mut below, &mut model);
            play(&newer, &mut above, &mut model);
            below.absorb(above);
            let rows: Vec<(i64, f64)> = below.rows(range(5, 35)).map(|row| (row.at.as_micros(), row.energy.get())).collect();
            let expected: Vec<(i64, f64)> = model.range(5..35).map(|(at, kwh)| (*at, *kwh)).collect();
            prop_assert_eq!(rows, expected);
            prop_assert_eq!(below.rows(TimeRange::ALL).count(), model.len());
            prop_assert_eq!(below.last().map(Timestamp::as_micros), model.last_key_value().map(|(at, _)| *at));
        }
    }
}
