//! A segment: an immutable, sorted, columnar block of one subject's meter within one calendar month
//! (UTC), at most 32,768 readings, compressed column by column, sealed by its owner.
//!
//! Columns describe themselves (quantity, unit, encoding), so that others can join later without
//! rewriting what is stored; a reader takes those that it was asked for.

use std::collections::HashMap;

use ems_core::{
    block::{Block, Places},
    quantity::Location,
    reading::Reading,
    time::Timestamp,
};
use pco::{ChunkConfig, DeltaSpec, standalone};

use super::wire::{Malformed, Reader, Writer};
use crate::Columns;

/// Readings a segment holds at most.
pub(crate) const MOST: usize = 32_768;

/// What a column measures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Time = 1,
    Energy = 2,
    PowerFactor = 3,
    Location = 4,
}

impl Quantity {
    fn code(self) -> u8 {
        match self {
            Self::Time => 1,
            Self::Energy => 2,
            Self::PowerFactor => 3,
            Self::Location => 4,
        }
    }
}

/// How a column's values are laid down.
const PCO: u8 = 1;
/// Dictionary of texts, then a code a reading (0: none), the codes by pco.
const DICTIONARY: u8 = 2;
/// The one text that every reading has.
const CONSTANT: u8 = 3;
/// A power of ten, then whole numbers by pco: each value is one of them divided by that power.
const DECIMAL: u8 = 4;

/// The largest power of ten that is tried: more digits after the point are rare.
const DECIMALS: u8 = 9;
/// Doubles below this are whole numbers without a gap.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The content of a segment, to be sealed.
pub(crate) fn encode(block: &Block) -> Result<Vec<u8>, Malformed> {
    let mut out = Writer::default();
    out.count(block.len());
    column(&mut out, Quantity::Time, PCO, &compress(block.at())?);
    doubles(&mut out, Quantity::Energy, block.energy())?;
    if !block.power_factor().is_empty() {
        doubles(&mut out, Quantity::PowerFactor, block.power_factor())?;
    }
    if !block.places().numbers().is_empty() {
        let (encoding, bytes) = encode_places(block.places())?;
        column(&mut out, Quantity::Location, encoding, &bytes);
    }
    Ok(out.0)
}

fn column(out: &mut Writer, quantity: Quantity, encoding: u8, bytes: &[u8]) {
    out.u8(quantity.code());
    out.u8(encoding);
    out.bytes(bytes);
}

/// A column of doubles. Meters count in decimals: as whole numbers they take a third less room than
/// as doubles, and differences from one to the next are found at once.
fn doubles(out: &mut Writer, quantity: Quantity, values: &[f64]) -> Result<(), Malformed> {
    let Some((exponent, whole)) = decimals(values) else {
        column(out, quantity, PCO, &compress(values)?);
        return Ok(());
    };
    let config = config(values.len()).with_delta_spec(DeltaSpec::TryConsecutive(1));
    let packed = standalone::simple_compress(&whole, &config).map_err(|_| Malformed)?;
    let mut bytes = vec![exponent];
    bytes.extend(packed);
    column(out, quantity, DECIMAL, &bytes);
    Ok(())
}

/// The smallest power of ten by which all values are whole numbers, and those numbers; `None` where
/// there is none, or a value would not come back bit by bit.
fn decimals(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut exponent = 0;
    // What the first values need is mostly what all need: each further power reads them again.
    for value in values {
        while whole(*value, exponent).is_none() {
            exponent += 1;
            if exponent > DECIMALS {
                return None;
            }
        }
    }
    let all = values.iter().map(|value| whole(*value, exponent));
    all.collect::<Option<_>>().map(|all| (exponent, all))
}

fn whole(value: f64, exponent: u8) -> Option<i64> {
    let scaled = (value * power(exponent)).round();
    if scaled.abs() >= EXACT || scaled.is_nan() {
        return None;
    }
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "it is in bounds"
    )]
    let scaled = scaled as i64;
    (fraction(scaled, exponent).to_bits() == value.to_bits()).then_some(scaled)
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "below 2^53 it is exact"
)]
fn fraction(whole: i64, exponent: u8) -> f64 {
    whole as f64 / power(exponent)
}

fn power(exponent: u8) -> f64 {
    10_f64.powi(i32::from(exponent))
}

/// Reads a column of doubles.
fn decode_doubles(encoding: u8, bytes: &[u8], count: usize) -> Result<Vec<f64>, Malformed> {
    if encoding == PCO {
        return decompress(bytes, count);
    }
    let (exponent, bytes) = bytes.split_first().ok_or(Malformed)?;
    if encoding != DECIMAL || *exponent > DECIMALS {
        return Err(Malformed);
    }
    let divisor = power(*exponent);
    let whole: Vec<i64> = decompress(bytes, count)?;
    #[expect(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "below 2^53 it is exact"
    )]
    let value = |whole: i64| whole as f64 / divisor;
    Ok(whole.into_iter().map(value).collect())
}

/// How hard to look for a short form: a small segment is soon merged with others.
fn config(count: usize) -> ChunkConfig {
    let level = if count < MOST / 2 {
        4
    } else {
        pco::DEFAULT_COMPRESSION_LEVEL
    };
    ChunkConfig::default().with_compression_level(level)
}

fn compress<T: pco::data_types::Number>(values: &[T]) -> Result<Vec<u8>, Malformed> {
    standalone::simple_compress(values, &config(values.len())).map_err(|_| Malformed)
}

/// Reads so many numbers and no more: how many there are, the bytes may claim as they like.
fn decompress<T: pco::data_types::Number>(bytes: &[u8], count: usize) -> Result<Vec<T>, Malformed> {
    let mut values = vec![T::default(); count];
    let read = standalone::simple_decompress_into(bytes, &mut values).map_err(|_| Malformed)?;
    if read.finished && read.n_processed == count {
        Ok(values)
    } else {
        Err(Malformed)
    }
}

fn encode_places(places: &Places) -> Result<(u8, Vec<u8>), Malformed> {
    let mut out = Writer::default();
    // Each text once, numbered in the order in which they first come.
    let mut texts: Vec<&Location> = Vec::new();
    let mut known = HashMap::new();
    let mut renumbered: Vec<u32> = vec![0; places.texts().len()];
    let mut codes: Vec<u32> = Vec::with_capacity(places.numbers().len());
    for number in places.numbers() {
        let Some(place) = number
            .checked_sub(1)
            .and_then(|at| usize::try_from(at).ok())
        else {
            codes.push(0);
            continue;
        };
        let code = renumbered.get_mut(place).ok_or(Malformed)?;
        if *code == 0 {
            let text = places.texts().get(place).ok_or(Malformed)?;
            let next = u32::try_from(texts.len() + 1).map_err(|_| Malformed)?;
            *code = *known.entry(text).or_insert(next);
            if *code == next {
                texts.push(text);
            }
        }
        codes.push(*code);
    }
    if let ([text], true) = (texts.as_slice(), codes.iter().all(|code| *code == 1)) {
        out.bytes(text.as_str().as_bytes());
        return Ok((CONSTANT, out.0));
    }
    out.count(texts.len());
    texts
        .iter()
        .for_each(|text| out.bytes(text.as_str().as_bytes()));
    out.bytes(&compress(&codes)?);
    Ok((DICTIONARY, out.0))
}

fn decode_places(encoding: u8, bytes: &[u8], count: usize) -> Result<Places, Malformed> {
    let mut input = Reader(bytes);
    let place = |text: &str| Location::parse(text).map_err(|_| Malformed);
    if encoding == CONSTANT {
        return Places::new(vec![place(input.text()?)?], vec![1; count]).ok_or(Malformed);
    }
    let texts = (0..input.count()?)
        .map(|_| place(input.text()?))
        .collect::<Result<Vec<_>, _>>()?;
    Places::new(texts, decompress(input.bytes()?, count)?).ok_or(Malformed)
}

/// The columns of a segment, as far as they were asked for.
#[derive(Default)]
struct Decoded {
    at: Vec<i64>,
    energy: Vec<f64>,
    power_factor: Vec<f64>,
    places: Places,
}

/// The times of a segment's content, ascending, in microseconds; its other columns are passed over,
/// not decompressed.
pub(crate) fn times(bytes: &[u8]) -> Result<Vec<i64>, Malformed> {
    let mut input = Reader(bytes);
    let count = usize::try_from(input.varint()?)
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or(Malformed)?;
    let mut times = None;
    while !input.0.is_empty() {
        let (quantity, _, bytes) = (input.u8()?, input.u8()?, input.bytes()?);
        if quantity == Quantity::Time.code() {
            times = Some(decompress(bytes, count)?);
        }
    }
    times.ok_or(Malformed)
}

/// Reads a segment's content. Columns that are not known here are passed over.
pub(crate) fn decode(bytes: &[u8], columns: Columns) -> Result<Block, Malformed> {
    let mut input = Reader(bytes);
    let count = usize::try_from(input.varint()?)
        .ok()
        .filter(|count| *count <= MOST)
        .ok_or(Malformed)?;
    let mut found = Decoded::default();
    while !input.0.is_empty() {
        let (quantity, encoding, bytes) = (input.u8()?, input.u8()?, input.bytes()?);
        match (quantity, columns) {
            (1, _) => found.at = decompress(bytes, count)?,
            (2, _) => found.energy = decode_doubles(encoding, bytes, count)?,
            (3, Columns::All) => {
                found.power_factor = decode_doubles(encoding, bytes, count)?;
            }
            (4, Columns::All) => found.places = decode_places(encoding, bytes, count)?,
            _ => {}
        }
    }
    let Decoded {
        at,
        energy,
        power_factor,
        places,
    } = found;
    Block::from_columns(at, energy, power_factor, places)
        .filter(|block| block.len() == count)
        .ok_or(Malformed)
}

/// Readings outside their time: values that were replaced, with the instant when.
pub(crate) fn encode_superseded(rows: &[(Timestamp, Reading)]) -> Vec<u8> {
    let mut out = Writer::default();
    super::codec::put_readings(
        &mut out,
        rows.iter()
            .map(|(_, reading)| reading)
            .collect::<Vec<_>>()
            .into_iter(),
    );
    rows.iter()
        .for_each(|(when, _)| out.zigzag(when.as_micros()));
    out.0
}

/// Reads replaced values back.
pub(crate) fn decode_superseded(bytes: &[u8]) -> Result<Vec<(Timestamp, Reading)>, Malformed> {
    let mut input = Reader(bytes);
    let readings = super::codec::take_readings(&mut input)?;
    let when = |reading| {
        Ok((
            Timestamp::from_micros(input.zigzag()?).ok_or(Malformed)?,
            reading,
        ))
    };
    readings.into_iter().map(when).collect()
}

#[cfg(test)]
mod tests {
    use ems_core::quantity::{Kwh, PowerFactor};
    use proptest::prelude::*;

    use super::*;

    fn blocks() -> impl Strategy<Value = Block> {
        let place = prop::option::of(prop_oneof![Just("Leeds"), Just("Sceaux, France")]);
        let row = (0.0..=100_000.0_f64, prop::option::of(0.0..=1.0_f64), place);
        prop::collection::btree_map(0_i64..1_000_000_000, row, 1..80).prop_map(|rows| {
            let reading =
                |(at, (energy, factor, place)): (i64, (f64, Option<f64>, Option<&str>))| Reading {
                    at: Timestamp::from_micros(at).unwrap(),
                    energy: Kwh::new(energy).unwrap(),
                    power_factor: factor.map(|value| PowerFactor::new(value).unwrap()),
                    location: place.map(|text| Location::parse(text).unwrap()),
                };
            rows.into_iter().map(reading).collect()
        })
    }

    #[test]
    fn decimals_come_back_bit_by_bit_and_others_stay_doubles() {
        let kwh = [0.005_433, 0.0054, 12.0, 99_999.999_999, 0.0];
        assert_eq!(decimals(&kwh).unwrap().0, 6);
        assert_eq!(decimals(&[-1.0, 0.9308]).unwrap(), (4, vec![-10_000, 9308]));
        for odd in [1.0 / 3.0, f64::MIN_POSITIVE, -0.0, 1e300, f64::NAN] {
            assert_eq!(decimals(&[odd]), None, "{odd}");
        }
        let mut out = Writer::default();
        doubles(&mut out, Quantity::Energy, &kwh).unwrap();
        let mut input = Reader(&out.0);
        let (_, encoding, bytes) = (
            input.u8().unwrap(),
            input.u8().unwrap(),
            input.bytes().unwrap(),
        );
        assert_eq!(
            (encoding, decode_doubles(encoding, bytes, 5)),
            (DECIMAL, Ok(kwh.to_vec()))
        );
        assert_eq!(decode_doubles(DECIMAL, &[DECIMALS + 1], 0), Err(Malformed));
    }

    proptest! {
        #[test]
        fn every_column_comes_back_to_the_bit(block in blocks()) {
            let bytes = encode(&block).unwrap();
            let back = decode(&bytes, Columns::All).unwrap();
            prop_assert_eq!(back.iter().collect::<Vec<_>>(), block.iter().collect::<Vec<_>>());
            let energy = decode(&bytes, Columns::Energy).unwrap();
            prop_assert_eq!(energy.energy(), block.energy());
        }

        #[test]
        fn hostile_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes, Columns::All);
        }
    }

    #[test]
    fn a_minute_series_takes_two_bytes_a_reading() {
        let rows = (0..MOST).map(|minute| {
            let minute = i64::try_from(minute).unwrap();
            Reading {
                at: Timestamp::from_micros(minute * 60_000_000).unwrap(),
                energy: Kwh::new(f64::from(u32::try_from(minute * 7919 % 977).unwrap()) / 1e6)
                    .unwrap(),
                power_factor: None,
                location: Some(Location::parse("Leeds").unwrap()),
            }
        });
        let bytes = encode(&rows.collect()).unwrap();
        assert!(bytes.len() < MOST * 2, "{}", bytes.len());
    }
}
