//! Batches made once, whose times, values and meters move on by writing digits in place: making a
//! load must cost little beside serving it. The values are those of the samples' one-minute series,
//! which each meter begins at another place.

use std::sync::Arc;

use anyhow::Result;

use crate::{
    client::request,
    load::Source,
    samples::{Minute, minutes},
};

/// Readings of a request.
pub const ROWS: u64 = 10_000;
/// 2020-01-01T00:00:00Z.
pub const EPOCH: i64 = 1_577_836_800;
/// How far apart in the series two meters begin.
const APART: u64 = 977;

/// How a reading is written, and where it goes.
#[derive(Clone, Copy)]
pub enum Form {
    /// Our own batch.
    Ndjson,
    /// `InfluxDB`'s line protocol, with all that a reading has.
    Line,
    /// The same with the energy alone.
    LineOfEnergy,
}

/// A batch of so many meters, taken in turn from a larger number of them.
#[derive(Clone)]
pub struct Shape {
    pub form: Form,
    /// What the meters' ids begin with; a number of seven digits follows.
    pub prefix: String,
    /// Meters of one request.
    pub meters: u64,
    /// Meters in all, over which the requests go round.
    pub all: u64,
}

/// Where the digits of a row stand in the request.
struct Row {
    meter: usize,
    at: usize,
    energy: usize,
    /// None in a line of energy alone.
    factor: Option<usize>,
    /// Which of the request's meters and which of its minutes.
    number: u64,
    slot: u64,
}

struct Template {
    shape: Shape,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    series: Vec<Minute>,
}

impl Shape {
    /// Minutes of one request.
    fn slots(&self) -> u64 {
        ROWS / self.meters
    }

    /// A source of requests from the one of this number on; request after request, time moves on.
    pub fn source(self, token: &str, first: u64) -> Result<impl Fn() -> Source + use<>> {
        let template = Arc::new(Template::new(self, token, minutes()?));
        Ok(move || -> Source {
            let template = Arc::clone(&template);
            Box::new(move |number, buffer| template.write(first + number, buffer))
        })
    }

    /// What stands before the meter, the time and the numbers, and after all.
    fn row(&self) -> [&'static str; 5] {
        match self.form {
            Form::Ndjson => [
                r#"{"meter_id":""#,
                r#"","timestamp":""#,
                r#"","energy_consumption":"#,
                r#","power_factor":"#,
                r#","location":"Leeds"}"#,
            ],
            Form::Line => [
                "reading,location=Leeds,meter=",
                " ",
                " energy_consumption=",
                ",power_factor=",
                "",
            ],
            Form::LineOfEnergy => ["reading,meter=", " ", " energy_consumption=", "", ""],
        }
    }
}

impl Row {
    /// Adds a row without its digits to a body.
    fn append(shape: &Shape, body: &mut Vec<u8>, number: u64, slot: u64) -> Self {
        let mut gap = |text: &str, width: usize| {
            body.extend_from_slice(text.as_bytes());
            body.extend(std::iter::repeat_n(b'0', width));
            body.len() - width
        };
        let [before_meter, before_time, before_energy, before_factor, end] = shape.row();
        let meter = gap(&format!("{before_meter}{}", shape.prefix), 7);
        let (at, energy, factor) = if matches!(shape.form, Form::Ndjson) {
            let at = gap(before_time, 20);
            (at, gap(before_energy, 8), Some(gap(before_factor, 6)))
        } else {
            // The time comes last.
            let energy = gap(before_energy, 8);
            let factor = matches!(shape.form, Form::Line).then(|| gap(before_factor, 6));
            (gap(before_time, 19), energy, factor)
        };
        gap(&format!("{end}\n"), 0);
        Self {
            meter,
            at,
            energy,
            factor,
            number,
            slot,
        }
    }
}

impl Template {
    fn new(shape: Shape, token: &str, series: Vec<Minute>) -> Self {
        let (mut body, mut rows) = (Vec::with_capacity(2 << 20), Vec::with_capacity(10_000));
        for number in 0..shape.meters {
            for slot in 0..shape.slots() {
                rows.push(Row::append(&shape, &mut body, number, slot));
            }
        }
        let ndjson = matches!(shape.form, Form::Ndjson);
        let (target, kind) = if ndjson {
            ("/api/v1/data/batch", "application/x-ndjson")
        } else {
            ("/write?db=bench", "text/plain")
        };
        let bytes = request("POST", target, token, (kind, &body));
        let head = bytes.len() - body.len();
        for row in &mut rows {
            row.meter += head;
            row.at += head;
            row.energy += head;
            row.factor = row.factor.map(|factor| factor + head);
        }
        Self {
            shape,
            bytes,
            rows,
            series,
        }
    }

    /// Makes the request of this number of what the buffer holds.
    fn write(&self, number: u64, buffer: &mut Vec<u8>) {
        if buffer.len() != self.bytes.len() {
            buffer.clone_from(&self.bytes);
        }
        let Shape { meters, all, .. } = self.shape;
        let (round, part) = (number * meters / all, number * meters % all);
        let slots = self.shape.slots();
        let times: Vec<String> = (0..slots)
            .map(|slot| self.time(round * slots + slot))
            .collect();
        let mut meter = (u64::MAX, [0; 7]);
        for row in &self.rows {
            if meter.0 != row.number {
                meter = (row.number, digits(part + row.number));
            }
            let time = times[row.slot as usize].as_bytes();
            let minute = (part + row.number) * APART + round * slots + row.slot;
            let minute = &self.series[(minute % self.series.len() as u64) as usize];
            buffer[row.meter..row.meter + 7].copy_from_slice(&meter.1);
            buffer[row.at..row.at + time.len()].copy_from_slice(time);
            buffer[row.energy..row.energy + 8].copy_from_slice(&minute.energy);
            if let Some(factor) = row.factor {
                buffer[factor..factor + 6].copy_from_slice(&minute.factor);
            }
        }
    }

    fn time(&self, minute: u64) -> String {
        let second = EPOCH + i64::try_from(minute).unwrap_or(0) * 60;
        match self.shape.form {
            Form::Ndjson => text(second),
            Form::Line | Form::LineOfEnergy => format!("{second}000000000"),
        }
    }
}

/// The last digits of a number, as many as there is room for.
fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// A reading as JSON, its value made of a number so that no two of a series are alike.
pub fn row(meter: &str, second: i64, number: u64) -> String {
    let energy = (number * 7919 % 100_003) as f64 / 1e5;
    format!(
        r#"{{"meter_id":"{meter}","timestamp":"{}","energy_consumption":{energy},"power_factor":0.97,"location":"Leeds"}}"#,
        text(second)
    )
}

/// A time as the API writes it.
pub fn text(second: i64) -> String {
    ems_core::time::Timestamp::saturating_from_micros(second * 1_000_000).to_string()
}
