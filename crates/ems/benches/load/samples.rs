//! The one-minute series of the samples: real readings, so that what is stored compresses as such.

use std::{io::Read as _, path::Path};

use anyhow::{Context as _, Result};

/// A reading of the series, its numbers as texts of one width.
pub struct Minute {
    /// RFC 3339, with an offset.
    pub time: String,
    /// Below 1 kWh, to six decimals.
    pub energy: [u8; 8],
    /// To four decimals.
    pub factor: [u8; 6],
    pub location: String,
}

/// The series in order; two minutes are missing in it.
pub fn minutes() -> Result<Vec<Minute>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/sceaux-one-minute.csv.gz");
    let packed = std::fs::File::open(&file).with_context(|| file.display().to_string())?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text)?;
    let rows = text.lines().skip(1);
    rows.map(|row| minute(row).with_context(|| format!("sample: {row}")))
        .collect()
}

fn minute(row: &str) -> Option<Minute> {
    let mut fields = row.splitn(5, ',').skip(1);
    Some(Minute {
        time: fields.next()?.to_owned(),
        energy: padded(fields.next()?)?,
        factor: padded(fields.next()?)?,
        location: fields.next()?.trim_matches('"').to_owned(),
    })
}

/// A decimal fraction with zeros at its end up to a width; nothing where it is longer already.
fn padded<const N: usize>(number: &str) -> Option<[u8; N]> {
    format!("{number:0<N$}").into_bytes().try_into().ok()
}
