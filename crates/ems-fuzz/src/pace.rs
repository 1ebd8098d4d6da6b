//! No input may cost more than its share: time is bounded by the input's length, and grows with it
//! and no faster.
//!
//! What is measured is the processor time of this thread, so that a busy machine does not count; of
//! several looks the least, since what else the processor does only ever adds to it.

use std::{hint::black_box, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Built for speed and nothing else. A fuzzer's build counts edges and checks addresses, and a test's is
/// not made for speed at all.
const FAST: bool = !cfg!(fuzzing) && !cfg!(debug_assertions);
/// What any input may take.
const FIXED: Duration = Duration::from_millis(if FAST { 1 } else { 10 });
/// What each byte may take beside that.
const EACH: Duration = Duration::from_micros(if FAST { 5 } else { 50 });
/// The length from which an input is repeated to see how its time grows, and below which
/// measures are too coarse.
const UNIT: usize = 1024;
/// Longer inputs are not repeated: they would be longer than anything that is inspected whole.
const LONGEST: usize = 1 << 16;
/// What four times the length may take, in times of what the length takes; half as much again for
/// what a measure is off by.
const SHARE: u32 = 6;
/// Looks before a time is believed.
const LOOKS: usize = 6;

/// Plays an input, and holds the time that takes against its length; of one input in sixteen also
/// the time of the same input two and four times as long.
///
/// # Panics
/// Where it takes too long.
pub fn linear(data: &[u8], mut play: impl FnMut(&[u8])) {
    let bound = FIXED + EACH * u32::try_from(data.len()).unwrap_or(u32::MAX);
    let took = least(data, bound, &mut play);
    assert!(took <= bound, "{} bytes took {took:?}", data.len());
    let chosen = crc32fast::hash(data).trailing_zeros() >= 4;
    if chosen && (1..=LONGEST).contains(&data.len()) {
        grows(data, &mut play);
    }
}

/// Holds the time of an input that is repeated against that of the input.
fn grows(data: &[u8], play: &mut impl FnMut(&[u8])) {
    let unit = data.repeat(UNIT.div_ceil(data.len()));
    let (twice, four) = (unit.repeat(2), unit.repeat(4));
    // The first look at anything fills caches.
    let once = least(&unit, Duration::ZERO, play);
    for (longer, share) in [(twice, SHARE / 2), (four, SHARE)] {
        let bound = FIXED + once * share;
        let took = least(&longer, bound, play);
        let (short, long) = (unit.len(), longer.len());
        assert!(
            took <= bound,
            "{short} bytes took {once:?}, {long} of the same {took:?}"
        );
    }
}

/// The least time of a few looks; the first that is within `enough` ends them.
fn least(data: &[u8], enough: Duration, play: &mut impl FnMut(&[u8])) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..LOOKS {
        let began = now();
        play(black_box(data));
        least = least.min(now().saturating_sub(began));
        if least <= enough {
            break;
        }
    }
    least
}

/// The processor time that this thread has had.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So much work a byte, in a form that no compiler takes away.
    fn work(times: usize) {
        black_box((0..times).fold(1_u64, |sum, n| {
            sum.rotate_left(7) ^ black_box(u64::try_from(n).unwrap())
        }));
    }

    #[test]
    fn what_grows_with_its_length_passes() {
        grows(b"abc", &mut |data| work(data.len() * 100));
    }

    #[test]
    #[should_panic(expected = "of the same")]
    fn what_grows_with_the_square_of_its_length_does_not() {
        grows(b"abc", &mut |data| work(data.len() * data.len() / 4));
    }

    #[test]
    #[should_panic(expected = "3 bytes took")]
    fn what_takes_long_from_the_start_does_not() {
        linear(b"abc", |_| work(2_000_000));
    }
}
