//! Fuzz targets: what decodes from stored bytes encodes and decodes to itself, and takes no longer
//! than its length allows. The bytes were authentic before a decoder saw them; these hold even for
//! a store that was written by a broken program.

use ems_core::{
    block::Block,
    quantity::{Kwh, Location, PowerFactor},
    reading::Reading,
    time::Timestamp,
};
use ems_fuzz::{Input, linear};

use super::{
    codec::{Group, GroupWriter, put_readings, take_readings},
    manifest::{Head, Manifest},
    run, segment,
    wire::{Malformed, Reader, Writer},
};
use crate::{Columns, RecordChange};

/// Places of generated readings.
const PLACES: [&str; 4] = ["", "Leeds", "Sceaux, France", "Straße 5"];

/// A segment. The first byte says: readings, which come back to the bit, or stored bytes. A block
/// that decodes has the same energy and times by themselves, and comes back from its own encoding.
///
/// # Panics
/// Where that does not hold.
pub fn segment(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte().is_multiple_of(2) {
        comes_back(&block(input));
        return;
    }
    let bytes = input.rest();
    linear(bytes, |bytes| {
        let _ = segment::decode(bytes, Columns::All);
    });
    let Ok(block) = segment::decode(bytes, Columns::All) else {
        return;
    };
    assert!(block.len() <= segment::MOST);
    let times = segment::times(bytes);
    // Of none there may be no column.
    assert!(block.is_empty() || times.is_ok_and(|times| times == block.at()));
    let energy = segment::decode(bytes, Columns::Energy);
    assert!(energy.is_ok_and(|energy| energy.energy() == block.energy()));
    comes_back(&block);
}

fn comes_back(block: &Block) {
    let back = segment::encode(block).and_then(|bytes| segment::decode(&bytes, Columns::All));
    assert!(back.is_ok_and(|back| {
        let bits = |block: &Block| -> Vec<u64> {
            let doubles = block.energy().iter().chain(block.power_factor());
            doubles.map(|value| value.to_bits()).collect()
        };
        back == *block && bits(&back) == bits(block)
    }));
}

/// Readings in the order of time, eight bytes each.
fn block(mut input: Input<'_>) -> Block {
    let mut block = Block::default();
    let mut at = 0;
    while !input.rest().is_empty() {
        at += 1 + i64::from(input.short()) * 1000;
        let place = input.pick(&PLACES).filter(|place| !place.is_empty());
        let energy = match input.byte() % 4 {
            0 => f64::from(input.short()) / 1000.0,
            1 => f64::from(input.short()).sqrt(),
            2 => f64::from(input.short()) / 7.0,
            _ => f64::from(input.short()),
        };
        let factor = f64::from(input.short()) / f64::from(u16::MAX);
        let reading = (|| {
            Some(Reading {
                at: Timestamp::from_micros(at)?,
                energy: Kwh::new(energy).ok()?,
                power_factor: (at % 3 != 0).then(|| PowerFactor::new(factor).ok())?,
                location: place.and_then(|place| Location::parse(place).ok()),
            })
        })();
        if let Some(reading) = reading {
            assert!(block.push(reading).is_ok(), "times ascend");
        }
    }
    block
}

/// The content of a journal's record: the batches of one group commit.
///
/// # Panics
/// Where what decodes does not come back from its own encoding.
pub fn group(data: &[u8]) {
    linear(data, |data| {
        let _ = Group::decode(data);
    });
    fixpoint(data, Group::decode, |group| {
        let mut writer = GroupWriter::default();
        for entry in &group.entries {
            let records: Vec<&RecordChange> = entry.records.iter().collect();
            writer.put((&entry.deletions, &entry.readings), &records, &entry.ledger);
        }
        writer.finish(group.sequence, group.at)
    });
}

/// What else is stored: the first byte says a manifest, a head, a block of a run, or replaced values.
///
/// # Panics
/// Where what decodes does not come back from its own encoding.
pub fn stored(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte() % 5;
    let bytes = input.rest();
    match kind {
        0 => fixpoint(bytes, Manifest::decode, Manifest::encode),
        1 => fixpoint(bytes, Head::decode, Head::encode),
        2 => fixpoint(bytes, run::decode, |(meter, rows)| run::encode(meter, rows)),
        3 => fixpoint(bytes, segment::decode_superseded, |rows| {
            segment::encode_superseded(rows)
        }),
        _ => fixpoint(
            bytes,
            |bytes| take_readings(&mut Reader(bytes)),
            |readings| {
                let mut out = Writer::default();
                put_readings(&mut out, readings.iter());
                out.0
            },
        ),
    }
}

/// Holds a decoder and its encoder against each other: what decodes, encoded, decodes to the same.
fn fixpoint<T>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, Malformed>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let Ok(decoded) = decode(bytes) else {
        return;
    };
    let encoded = encode(&decoded);
    let again = decode(&encoded).map(|again| encode(&again));
    assert_eq!(again, Ok(encoded));
}

/// A block of a few readings, for seeds.
#[cfg(test)]
pub(crate) fn example() -> Block {
    block(Input::new(&[7; 400]))
}

/// The readings of [`example`] as a batch.
#[cfg(test)]
pub(crate) fn example_batch() -> ems_core::reading::ReadingBatch {
    let mut batch = ems_core::reading::ReadingBatch::new();
    let meter = ems_core::meter::MeterId::parse("m-1").unwrap();
    example()
        .iter()
        .for_each(|reading| batch.push(meter.clone(), reading));
    batch
}
