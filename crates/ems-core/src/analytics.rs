//! Usage over buckets of time, summed on slices of columns.

use crate::time::TimeRange;

/// What one bucket holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Total energy in kWh.
    pub energy_kwh: f64,
    /// The smallest reading in kWh.
    pub min: f64,
    /// The largest reading in kWh.
    pub max: f64,
    /// The number of readings.
    pub count: u64,
}

impl Usage {
    const EMPTY: Self = Self {
        energy_kwh: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        count: 0,
    };

    /// The mean reading in kWh. Of an existing reading, so never a division by zero.
    pub fn mean(&self) -> f64 {
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "a count of readings is far below 2^53"
        )]
        let count = self.count as f64;
        self.energy_kwh / count
    }

    fn add(&mut self, energy: &[f64]) {
        let (sum, min, max) = sum(energy);
        self.energy_kwh += sum;
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        self.count += u64::try_from(energy.len()).unwrap_or(u64::MAX);
    }
}

/// Sum, minimum and maximum in eight lanes, which the compiler turns into vector instructions.
fn sum(values: &[f64]) -> (f64, f64, f64) {
    let (mut sums, mut mins, mut maxs) = ([0.0; 8], [f64::INFINITY; 8], [f64::NEG_INFINITY; 8]);
    let (chunks, rest) = values.as_chunks::<8>();
    for chunk in chunks {
        for (lane, value) in chunk.iter().enumerate() {
            add_lane(&mut sums, &mut mins, &mut maxs, (lane, *value));
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        add_lane(&mut sums, &mut mins, &mut maxs, (lane, *value));
    }
    (
        sums.iter().sum(),
        mins.into_iter().fold(f64::INFINITY, f64::min),
        maxs.into_iter().fold(f64::NEG_INFINITY, f64::max),
    )
}

#[inline]
fn add_lane(
    sums: &mut [f64; 8],
    mins: &mut [f64; 8],
    maxs: &mut [f64; 8],
    (lane, value): (usize, f64),
) {
    if let (Some(sum), Some(min), Some(max)) =
        (sums.get_mut(lane), mins.get_mut(lane), maxs.get_mut(lane))
    {
        *sum += value;
        *min = if value < *min { value } else { *min };
        *max = if value > *max { value } else { *max };
    }
}

/// Gathers usage for consecutive buckets; readings of any number of meters are added to it.
#[derive(Debug, Clone)]
pub struct UsageTable {
    buckets: Vec<(TimeRange, Usage)>,
}

impl UsageTable {
    /// An empty table over buckets in ascending order (see [`crate::calendar::Zone::buckets`]).
    pub fn new(buckets: Vec<TimeRange>) -> Self {
        Self {
            buckets: buckets
                .into_iter()
                .map(|range| (range, Usage::EMPTY))
                .collect(),
        }
    }

    /// Adds readings given as columns of equal length, ascending in time. What lies in no bucket
    /// is left out.
    pub fn add(&mut self, at: &[i64], energy: &[f64]) {
        let Some(first) = at.first() else { return };
        let from = self
            .buckets
            .partition_point(|(range, _)| range.end().as_micros() <= *first);
        let mut start = 0;
        for (range, usage) in self.buckets.iter_mut().skip(from) {
            let (Some(rest), Some(values)) = (at.get(start..), energy.get(start..)) else {
                return;
            };
            let skipped = rest.partition_point(|at| *at < range.start().as_micros());
            let until = rest.partition_point(|at| *at < range.end().as_micros());
            if let Some(values) = values
                .get(skipped..until)
                .filter(|values| !values.is_empty())
            {
                usage.add(values);
            }
            start += until;
            if start >= at.len() {
                return;
            }
        }
    }

    /// The buckets in order; `None` for one without a reading.
    pub fn rows(&self) -> impl Iterator<Item = (TimeRange, Option<Usage>)> + '_ {
        self.buckets
            .iter()
            .map(|(range, usage)| (*range, (usage.count > 0).then_some(*usage)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::Timestamp;

    fn range(start: i64, end: i64) -> TimeRange {
        TimeRange::new(
            Timestamp::from_micros(start).unwrap(),
            Timestamp::from_micros(end).unwrap(),
        )
        .unwrap()
    }

    #[test]
    fn a_gap_is_no_reading_not_zero() {
        let mut table = UsageTable::new(vec![range(0, 10), range(10, 20), range(20, 30)]);
        table.add(&[1, 2, 25], &[0.5, 1.5, 0.0]);
        let rows: Vec<_> = table
            .rows()
            .map(|(_, usage)| usage.map(|u| (u.energy_kwh, u.min, u.max, u.mean(), u.count)))
            .collect();
        assert_eq!(
            rows,
            [
                Some((2.0, 0.5, 1.5, 1.0, 2)),
                None,
                Some((0.0, 0.0, 0.0, 0.0, 1))
            ]
        );
    }

    proptest! {
        #[test]
        fn agrees_with_adding_one_by_one(
            mut at in prop::collection::btree_set(0_i64..200, 0..60).prop_map(|set| set.into_iter().collect::<Vec<_>>()),
            split in 0_usize..60,
        ) {
            at.retain(|at| *at != 77);
            let energy: Vec<f64> = at.iter().map(|at| f64::from(i32::try_from(*at).unwrap()) / 4.0).collect();
            let buckets = vec![range(20, 50), range(50, 51), range(51, 120), range(120, 180)];
            let mut table = UsageTable::new(buckets.clone());
            let split = split.min(at.len());
            table.add(&at[..split], &energy[..split]);
            table.add(&at[split..], &energy[split..]);
            for (bucket, usage) in table.rows() {
                let inside: Vec<f64> = at.iter().zip(&energy)
                    .filter(|(at, _)| bucket.contains(Timestamp::from_micros(**at).unwrap())).map(|(_, e)| *e).collect();
                prop_assert_eq!(usage.map_or(0, |u| u.count), u64::try_from(inside.len()).unwrap());
                if let Some(usage) = usage {
                    prop_assert_eq!(usage.energy_kwh, inside.iter().sum::<f64>());
                    prop_assert_eq!(usage.min, inside.iter().copied().fold(f64::INFINITY, f64::min));
                    prop_assert_eq!(usage.max, inside.iter().copied().fold(f64::NEG_INFINITY, f64::max));
                }
            }
        }
    }
}
