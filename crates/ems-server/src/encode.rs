//! Readings into bytes, by hand: a page of JSON, or the rows of an NDJSON or CSV stream.
//!
//! Doubles are written in the shortest text that reads back as the same double, timestamps in UTC.
//! CSV is lossless and quoted as RFC 4180 has it: a location that begins with `=`, `+`, `-` or `@`
//! is quoted, but not changed, because a prefix against spreadsheet formulas would come back as
//! another location. Import such a file as text. An empty location and none look alike in CSV.

mod time;

use ems_core::{
    block::Block,
    meter::MeterId,
    quantity::{Location, PowerFactor},
};

use self::time::Times;

/// The columns of the CSV form, in order.
pub const CSV_HEADER: &[u8] = b"meter_id,timestamp,energy_consumption,power_factor,location\r\n";

/// The forms readings are given in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A page of `application/json`.
    Json,
    /// A stream of `application/x-ndjson`.
    Ndjson,
    /// A stream of `text/csv`.
    Csv,
}

impl Form {
    /// The media types, the preferred one first.
    pub const MEDIA_TYPES: [&str; 3] = ["application/json", "application/x-ndjson", "text/csv"];

    /// The form of a media type; JSON of any other.
    pub fn of(media_type: &str) -> Self {
        match media_type {
            "application/x-ndjson" => Self::Ndjson,
            "text/csv" => Self::Csv,
            _ => Self::Json,
        }
    }

    /// The `Content-Type` of an answer in this form.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }
}

/// Writes the readings of one meter in one form, block after block.
#[derive(Debug)]
pub struct Rows {
    form: Form,
    meter: MeterId,
    times: Times,
    power_factors: Repeated,
    written: u64,
}

/// The columns of one reading.
struct Row<'a> {
    at: i64,
    energy: f64,
    power_factor: Option<f64>,
    location: Option<&'a Location>,
}

impl Rows {
    /// A writer that has written nothing.
    pub fn new(form: Form, meter: MeterId) -> Self {
        Self {
            form,
            meter,
            times: Times::default(),
            power_factors: Repeated::default(),
            written: 0,
        }
    }

    /// What comes before the first row.
    pub fn begin(&self, out: &mut Vec<u8>) {
        match self.form {
            Form::Json => {
                put(out, "{\"meter_id\":\"");
                put(out, self.meter.as_str());
                put(out, "\",\"readings\":[");
            }
            Form::Csv => out.extend_from_slice(CSV_HEADER),
            Form::Ndjson => {}
        }
    }

    /// Writes at most `limit` readings of a block.
    pub fn push(&mut self, out: &mut Vec<u8>, block: &Block, limit: usize) {
        out.reserve(block.len().min(limit).saturating_mul(128));
        for (index, (at, energy)) in block
            .at()
            .iter()
            .zip(block.energy())
            .take(limit)
            .enumerate()
        {
            let row = Row {
                at: *at,
                energy: *energy,
                power_factor: block.power_factor_at(index).map(PowerFactor::get),
                location: block.places().get(index),
            };
            match self.form {
                Form::Json => self.json(out, &row),
                Form::Ndjson => self.ndjson(out, &row),
                Form::Csv => self.csv(out, &row),
            }
            self.written += 1;
        }
    }

    /// What comes after the last row; `next_cursor` only in a page of JSON.
    pub fn end(&self, out: &mut Vec<u8>, next_cursor: Option<&str>) {
        if self.form != Form::Json {
            return;
        }
        put(out, "]");
        if let Some(cursor) = next_cursor {
            put(out, ",\"next_cursor\":\"");
            put(out, cursor); // base64url: nothing to escape
            put(out, "\"");
        }
        put(out, "}");
    }

    /// The number of readings written.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn json(&mut self, out: &mut Vec<u8>, row: &Row<'_>) {
        if self.written > 0 {
            put(out, ",");
        }
        put(out, "{");
        self.fields(out, row);
    }

    fn ndjson(&mut self, out: &mut Vec<u8>, row: &Row<'_>) {
        put(out, "{\"meter_id\":\"");
        put(out, self.meter.as_str());
        put(out, "\",");
        self.fields(out, row);
        put(out, "\n");
    }

    fn fields(&mut self, out: &mut Vec<u8>, row: &Row<'_>) {
        put(out, "\"timestamp\":\"");
        self.times.write(out, row.at);
        put(out, "\",\"energy_consumption\":");
        double(out, row.energy);
        if let Some(power_factor) = row.power_factor {
            put(out, ",\"power_factor\":");
            self.power_factors.write(out, power_factor);
        }
        if let Some(location) = row.location {
            put(out, ",\"location\":\"");
            // A location has no control character: only these two need an escape (RFC 8259, 7).
            escaped(out, location.as_str(), b"\"\\", b'\\');
            put(out, "\"");
        }
        put(out, "}");
    }

    fn csv(&mut self, out: &mut Vec<u8>, row: &Row<'_>) {
        put(out, self.meter.as_str());
        put(out, ",");
        self.times.write(out, row.at);
        put(out, ",");
        double(out, row.energy);
        put(out, ",");
        if let Some(power_factor) = row.power_factor {
            self.power_factors.write(out, power_factor);
        }
        put(out, ",");
        if let Some(location) = row.location {
            csv_cell(out, location.as_str());
        }
        put(out, "\r\n");
    }
}

fn csv_cell(out: &mut Vec<u8>, text: &str) {
    let edge = |c: Option<char>| matches!(c, Some(' ' | '=' | '+' | '-' | '@'));
    let quoted = text.contains([',', '"']) || edge(text.chars().next()) || text.ends_with(' ');
    if !quoted {
        return put(out, text);
    }
    put(out, "\"");
    escaped(out, text, b"\"", b'"');
    put(out, "\"");
}

/// Writes text with `prefix` before each of some ASCII characters.
fn escaped(out: &mut Vec<u8>, text: &str, special: &[u8], prefix: u8) {
    if !text.bytes().any(|byte| special.contains(&byte)) {
        return put(out, text);
    }
    for byte in text.bytes() {
        if special.contains(&byte) {
            out.push(prefix);
        }
        out.push(byte);
    }
}

/// A double and its text. Power factors hardly change from row to row.
#[derive(Debug, Default)]
struct Repeated {
    bits: u64,
    text: String,
}

impl Repeated {
    fn write(&mut self, out: &mut Vec<u8>, value: f64) {
        if self.text.is_empty() || self.bits != value.to_bits() {
            self.bits = value.to_bits();
            self.text.clear();
            self.text.push_str(zmij::Buffer::new().format(value));
        }
        put(out, &self.text);
    }
}

fn double(out: &mut Vec<u8>, value: f64) {
    put(out, zmij::Buffer::new().format(value));
}

#[inline]
fn put(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
