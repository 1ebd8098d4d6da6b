//! NDJSON: a JSON object a line. A line that is broken is one bad row, and the next is read.
//!
//! Blank lines are skipped at the end only; elsewhere a blank line is a broken row, so that the
//! index of a row is always the number of its line.

use super::{Decoded, Failure, Rules, fast, json, rows::Rows};

/// Reads a body of lines.
pub(super) fn lines(body: &[u8], rules: &Rules<'_>) -> Result<Decoded, Failure> {
    let mut rows = Rows::new(rules);
    let body = body.trim_ascii_end();
    // Checking the whole at once is faster; one broken line must not spoil the others.
    if let Ok(text) = std::str::from_utf8(body) {
        for line in split(body, |range| text.get(range)) {
            rows.begin()?;
            read(line.unwrap_or_default(), &mut rows);
        }
    } else {
        for line in split(body, |range| body.get(range)) {
            rows.begin()?;
            match std::str::from_utf8(line.unwrap_or_default()) {
                Ok(line) => read(line, &mut rows),
                Err(_) => rows.malformed("the line is not UTF-8"),
            }
        }
    }
    Ok(rows.finish())
}

/// The lines of a body, without their ends; none of an empty one.
fn split<T>(body: &[u8], slice: impl Fn(std::ops::Range<usize>) -> T) -> impl Iterator<Item = T> {
    let mut start = 0;
    let length = body.len();
    std::iter::from_fn(move || {
        if start >= length {
            return None;
        }
        let rest = body.get(start..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest).map_or(length, |at| start + at);
        let line = slice(start..end);
        start = end + 1;
        Some(line)
    })
}

fn read(line: &str, rows: &mut Rows<'_>) {
    let plain = fast::row(line, 0)
        .filter(|(_, end)| fast::skip_space(line.as_bytes(), *end) == line.len())
        .is_some_and(|(row, _)| rows.plain(&row));
    if plain {
        return;
    }
    if line.trim_ascii().is_empty() {
        rows.malformed("a blank line");
    } else {
        json::line(line, rows);
    }
}
