//! CSV (RFC 4180): a header row with the names of the fields, in any order, then a row a reading.
//!
//! An empty cell is an absent field, quoted or not. A byte-order mark is tolerated, CRLF and LF
//! both end a row, blank lines are skipped at the end only. A row with another number of cells, a
//! stray quote or bytes that are no UTF-8 is one bad row; reading goes on at the next line, so
//! that one stray quote does not swallow the rows behind it.

use std::borrow::Cow;

use ems_core::{
    Fault, FaultCode,
    reading::{FIELDS, Value},
};

use super::{
    Decoded, Failure, MAX_FAULTS, Rules, fast,
    rows::{Fields, Plain, Rows},
};

/// How far behind its line's end a quoted cell may close.
const MAX_OVERHANG: usize = 4096;
/// Cells of a row that are kept; more are counted.
const MAX_CELLS: usize = MAX_FAULTS + FIELDS.len() + 1;

/// Reads a table.
pub(super) fn table(body: &[u8], rules: &Rules<'_>) -> Result<Decoded, Failure> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut reader = Reader {
        rest: trim_lines(body),
    };
    let mut record = Record::default();
    match reader.next(&mut record) {
        Some(Ok(())) => {}
        Some(Err(why)) => return Err(Failure::Malformed(format!("the header row: {why}"))),
        None => {
            return Err(Failure::Malformed(
                "a table begins with a header row".to_owned(),
            ));
        }
    }
    let columns = header(&record)?;
    let mut rows = Rows::new(rules);
    while let Some(read) = reader.next(&mut record) {
        rows.begin()?;
        match read {
            Ok(()) if record.count == columns.len() => row(&columns, &record.cells, &mut rows),
            Ok(()) => rows.malformed(format!(
                "the row has {} cells, the header {}",
                record.count,
                columns.len()
            )),
            Err(why) => rows.malformed(why),
        }
    }
    Ok(rows.finish())
}

fn trim_lines(mut body: &[u8]) -> &[u8] {
    while let Some((b'\r' | b'\n', rest)) = body.split_last() {
        body = rest;
    }
    body
}

/// The fields of the columns, or every fault of the header.
fn header(record: &Record<'_>) -> Result<Vec<&'static str>, Failure> {
    let mut faults = Vec::new();
    let mut columns = Vec::with_capacity(FIELDS.len());
    for name in &record.cells {
        let fault = |code, why: &str| {
            let name: String = name.chars().take(64).collect();
            Fault::new(
                format!("/{}", name.replace('~', "~0").replace('/', "~1")),
                code,
                why,
            )
        };
        match FIELDS.into_iter().find(|field| *field == name.as_ref()) {
            None => faults.push(fault(
                FaultCode::UnknownField,
                "a reading has no such field",
            )),
            Some(field) if columns.contains(&field) => {
                faults.push(fault(FaultCode::DuplicateField, "a field is one column"));
            }
            Some(field) => columns.push(field),
        }
    }
    for required in FIELDS
        .into_iter()
        .take(3)
        .filter(|field| !columns.contains(field))
    {
        let pointer = format!("/{required}");
        faults.push(Fault::new(
            pointer,
            FaultCode::MissingField,
            "this column is required",
        ));
    }
    if faults.is_empty() {
        return Ok(columns);
    }
    Err(Failure::invalid(faults, record.count > record.cells.len()))
}

fn row(columns: &[&'static str], cells: &[Cow<'_, str>], rows: &mut Rows<'_>) {
    if plain(columns, cells).is_some_and(|row| rows.plain(&row)) {
        return;
    }
    let mut fields = Fields::default();
    for (column, cell) in columns.iter().zip(cells) {
        let cell: &str = cell;
        let value = match *column {
            _ if cell.is_empty() => Value::Absent,
            "energy_consumption" | "power_factor" => {
                fast::number(cell).map_or(Value::Text(cell.into()), Value::Number)
            }
            _ => Value::Text(cell.into()),
        };
        fields.put(column, value);
    }
    rows.fields(fields);
}

fn plain<'a>(columns: &[&'static str], cells: &'a [Cow<'_, str>]) -> Option<Plain<'a>> {
    let mut row = Plain::default();
    for (column, cell) in columns.iter().zip(cells) {
        let cell: &str = cell;
        if cell.is_empty() {
            continue;
        }
        match *column {
            "meter_id" => row.meter_id = Some(cell),
            "timestamp" => row.timestamp = Some(cell),
            "energy_consumption" => row.energy = Some(fast::number(cell)?),
            "power_factor" => row.power_factor = Some(fast::number(cell)?),
            _ => row.location = Some(cell),
        }
    }
    Some(row)
}

/// The cells of a row.
#[derive(Default)]
struct Record<'a> {
    cells: Vec<Cow<'a, str>>,
    count: usize,
}

impl<'a> Record<'a> {
    fn push(&mut self, cell: Cow<'a, str>) {
        self.count += 1;
        if self.cells.len() < MAX_CELLS {
            self.cells.push(cell);
        }
    }
}

/// Why a row cannot be split into cells.
type Broken = &'static str;

const STRAY_QUOTE: Broken = "a quote that does not open or close a cell";
const NOT_UTF8: Broken = "the row is not UTF-8";

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads the next row into `record`; `None` behind the last.
    fn next(&mut self, record: &mut Record<'a>) -> Option<Result<(), Broken>> {
        record.cells.clear();
        record.count = 0;
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, _) = self.rest.split_at(end);
        let read = if memchr::memchr(b'"', line).is_none() {
            plain_cells(line, record).map(|()| end)
        } else {
            quoted_cells(self.rest, end, record)
        };
        let end = read.unwrap_or(end);
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        Some(read.map(|_| ()))
    }
}

/// Splits a line without a quote.
fn plain_cells<'a>(line: &'a [u8], record: &mut Record<'a>) -> Result<(), Broken> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| NOT_UTF8)?;
    for cell in line.split(',') {
        record.push(Cow::Borrowed(cell));
    }
    Ok(())
}

/// Splits a row with quotes, whose first line ends at `line_end`; where the row ends.
fn quoted_cells<'a>(
    text: &'a [u8],
    line_end: usize,
    record: &mut Record<'a>,
) -> Result<usize, Broken> {
    let limit = text.len().min(line_end.saturating_add(MAX_OVERHANG));
    let cut = limit < text.len();
    let text = text.get(..limit).unwrap_or_default();
    let mut at = 0;
    loop {
        let (cell, end) = if text.get(at) == Some(&b'"') {
            quoted_cell(text, at + 1)?
        } else {
            bare_cell(text, at)?
        };
        record.push(cell);
        match text.get(end) {
            Some(b',') => at = end + 1,
            Some(b'\r') if text.get(end + 1) == Some(&b'\n') => return Ok(end + 1),
            Some(b'\n') => return Ok(end),
            None if !cut => return Ok(end),
            _ => return Err(STRAY_QUOTE),
        }
    }
}

fn bare_cell(text: &[u8], at: usize) -> Result<(Cow<'_, str>, usize), Broken> {
    let rest = text.get(at..).unwrap_or_default();
    let length = memchr::memchr3(b',', b'\n', b'"', rest).unwrap_or(rest.len());
    if rest.get(length) == Some(&b'"') {
        return Err(STRAY_QUOTE);
    }
    let cell = rest.get(..length).unwrap_or_default();
    let ends_row = rest.get(length) != Some(&b',');
    let cell = if ends_row {
        cell.strip_suffix(b"\r").unwrap_or(cell)
    } else {
        cell
    };
    let end = at + cell.len();
    Ok((
        Cow::Borrowed(std::str::from_utf8(cell).map_err(|_| NOT_UTF8)?),
        end,
    ))
}

/// The cell whose opening quote lies before `start`, and what comes behind its closing one.
fn quoted_cell(text: &[u8], start: usize) -> Result<(Cow<'_, str>, usize), Broken> {
    let mut at = start;
    let mut doubled = false;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let quote = at + memchr::memchr(b'"', rest).ok_or("a quoted cell does not end")?;
        if text.get(quote + 1) == Some(&b'"') {
            doubled = true;
            at = quote + 2;
            continue;
        }
        let cell = text.get(start..quote).unwrap_or_default();
        let cell = std::str::from_utf8(cell).map_err(|_| NOT_UTF8)?;
        let cell = if doubled {
            Cow::Owned(cell.replace("\"\"", "\""))
        } else {
            Cow::Borrowed(cell)
        };
        return Ok((cell, quote + 1));
    }
}
