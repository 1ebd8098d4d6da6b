//! The content of a block in a run: one meter's few young rows, on their way to a segment.
//!
//! A fold of many meters with a row or two each would pay for a segment and a manifest a meter. It
//! writes one run instead: a table of small blocks, each sealed for its subject. Runs are merged into
//! segments, many folds at once, by [`super::merge`].

use ems_core::{block::Block, meter::MeterId};

use super::{
    codec::{put_readings, take_readings},
    wire::{Malformed, Reader, Writer},
};

/// Rows that a block of a run holds at most; more are worth a segment.
pub(crate) const MOST: u64 = 256;
/// No two live runs are further apart than this: a fold goes to segments as long as an old one is
/// not merged.
pub(crate) const SPAN: u64 = 32;

/// The content of a block, to be sealed. It names its meter: a merge knows only tokens.
pub(crate) fn encode(meter: &MeterId, rows: &Block) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes(meter.as_str().as_bytes());
    let rows: Vec<_> = rows.iter().collect();
    put_readings(&mut out, rows.iter());
    out.0
}

/// Reads a content back.
pub(crate) fn decode(bytes: &[u8]) -> Result<(MeterId, Block), Malformed> {
    let mut input = Reader(bytes);
    let meter = MeterId::parse(input.text()?).map_err(|_| Malformed)?;
    let rows = take_readings(&mut input)?;
    input.end()?;
    let count = rows.len();
    let block: Block = rows.into_iter().collect();
    if block.len() == count {
        Ok((meter, block))
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use ems_core::{quantity::Kwh, reading::Reading, time::Timestamp};

    use super::*;

    #[test]
    fn comes_back_with_its_meter_and_not_cut() {
        let row = |at| Reading {
            at: Timestamp::from_micros(at).unwrap(),
            energy: Kwh::new(0.25).unwrap(),
            power_factor: None,
            location: None,
        };
        let meter = MeterId::parse("plant7-3").unwrap();
        let rows: Block = [row(5), row(9)].into_iter().collect();
        let content = encode(&meter, &rows);
        assert_eq!(decode(&content), Ok((meter, rows)));
        for cut in 0..content.len() {
            assert!(decode(&content[..cut]).is_err(), "{cut}");
        }
    }
}
