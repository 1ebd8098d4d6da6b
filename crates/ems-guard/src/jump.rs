//! Readings that jump: a reset counter, a swapped meter or a forged value shows as a reading many
//! times the largest that its meter ever had.
//!
//! Each process learns for itself, in a table of fixed size: 12 bytes a meter, where one of two
//! meters that fall into one place takes it from the other. A meter is judged after 48 readings.

use std::hash::{BuildHasher as _, RandomState};

use ems_core::{meter::MeterId, reading::ReadingBatch};
use parking_lot::Mutex;

use crate::{door::Finding, journal::Violation};

/// Places of the table: 3 MB.
const PLACES: usize = 1 << 18;
/// Readings after which a meter is known.
const KNOWN: u16 = 48;
/// Readings in a row that jump, after which they are what is usual.
const USUAL: u16 = 48;
/// No reading below this jumps, in kWh.
const LEAST: f64 = 1.0;

/// What the meters had so far.
pub struct Jumps {
    times: f64,
    places: Mutex<Box<[Place]>>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Which meter's it is.
    tag: u32,
    largest: f32,
    seen: u16,
    beyond: u16,
}

/// Readings of a batch that jumped.
#[derive(Debug, Clone, PartialEq)]
pub struct Jump {
    /// The meter that jumped furthest.
    pub meter: MeterId,
    /// How many times its largest reading so far.
    pub times: f64,
    /// How many meters jumped.
    pub meters: u64,
}

impl Jump {
    /// What is told of it; `meter` is the meter's pseudonym.
    pub fn finding(&self, meter: Option<String>) -> Finding {
        Finding::new(Violation::ReadingJump, 0)
            .with("meter", meter)
            .with("meters", self.meters)
            .with("times", self.times.round())
    }
}

impl Jumps {
    /// Tells readings of more than `times` the largest; `None` for 0.
    pub fn new(times: u64) -> Option<Self> {
        let times = u32::try_from(times).ok().filter(|times| *times > 0)?;
        Some(Self {
            times: times.into(),
            places: Mutex::new(vec![Place::default(); PLACES].into_boxed_slice()),
            hasher: RandomState::new(),
        })
    }

    /// Learns the readings of a batch, and tells whether some jumped.
    pub fn see(&self, batch: &ReadingBatch) -> Option<Jump> {
        let mut furthest: Option<(&MeterId, f64)> = None;
        let mut meters = 0;
        let mut places = self.places.lock();
        for (meter, readings) in batch.groups() {
            let hash = self.hasher.hash_one(meter);
            let at = usize::try_from(hash).unwrap_or(0) % PLACES;
            let Some(place) = places.get_mut(at) else {
                continue;
            };
            let tag = u32::try_from(hash >> 32).unwrap_or(0);
            if place.tag != tag {
                *place = Place {
                    tag,
                    ..Place::default()
                };
            }
            let energies = readings.iter().map(|reading| reading.energy.get());
            let jumps = energies.filter_map(|energy| place.see(energy, self.times));
            if let Some(times) = jumps.max_by(f64::total_cmp) {
                meters += 1;
                if furthest.is_none_or(|(_, so_far)| times > so_far) {
                    furthest = Some((meter, times));
                }
            }
        }
        drop(places);
        furthest.map(|(meter, times)| Jump {
            meter: meter.clone(),
            times,
            meters,
        })
    }
}

impl Place {
    /// Learns a reading; how many times the largest it is, where it jumped.
    fn see(&mut self, energy: f64, times: f64) -> Option<f64> {
        let largest = f64::from(self.largest);
        let jumped = self.seen >= KNOWN && energy > LEAST && energy > times * largest;
        if jumped && self.beyond < USUAL {
            self.beyond += 1;
            return Some(energy / largest.max(f64::from(f32::MIN_POSITIVE)));
        }
        self.beyond = 0;
        self.seen = self.seen.saturating_add(1);
        if energy > largest {
            self.largest = nearest(energy);
        }
        None
    }
}

/// A reading has at most 100,000 kWh, so a float of half the size holds it nearly.
#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "there is no other conversion, and the nearest is what is meant"
)]
fn nearest(energy: f64) -> f32 {
    energy as f32
}

impl std::fmt::Debug for Jumps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jumps")
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ems_core::{
        quantity::Kwh,
        reading::Reading,
        time::{SECOND, Timestamp},
    };

    use super::*;

    fn batch(values: impl IntoIterator<Item = f64>) -> ReadingBatch {
        let mut batch = ReadingBatch::new();
        for (at, value) in (0..).zip(values) {
            let reading = Reading {
                at: Timestamp::saturating_from_micros(at * SECOND),
                energy: Kwh::new(value).unwrap(),
                power_factor: None,
                location: None,
            };
            batch.push(MeterId::parse("a").unwrap(), reading);
        }
        batch
    }

    #[test]
    fn a_reading_far_beyond_the_largest_jumps_and_teaches_nothing() {
        let jumps = Jumps::new(20).unwrap();
        assert_eq!(jumps.see(&batch([0.5; 48])), None);
        assert_eq!(jumps.see(&batch([10.0])), None);
        let jump = jumps.see(&batch([0.5, 53_700.0, 0.5])).unwrap();
        assert_eq!(
            (jump.meter.as_str(), jump.meters, jump.times),
            ("a", 1, 5370.0)
        );
        assert!(jumps.see(&batch([250.0])).is_some());
    }

    #[test]
    fn a_meter_that_is_not_known_yet_and_a_small_reading_jump_not() {
        let jumps = Jumps::new(20).unwrap();
        assert_eq!(jumps.see(&batch([0.5; 47])), None);
        assert_eq!(jumps.see(&batch([1000.0])), None);
        let idle = Jumps::new(20).unwrap();
        assert_eq!(idle.see(&batch([0.0; 100])), None);
        assert_eq!(idle.see(&batch([0.9])), None);
        assert!(Jumps::new(0).is_none());
    }

    #[test]
    fn what_goes_on_for_long_is_what_is_usual() {
        let jumps = Jumps::new(20).unwrap();
        jumps.see(&batch([0.5; 48]));
        for _ in 0..48 {
            assert!(jumps.see(&batch([900.0])).is_some());
        }
        assert_eq!(jumps.see(&batch([900.0])), None);
        assert_eq!(jumps.see(&batch([900.0])), None);
    }
}
