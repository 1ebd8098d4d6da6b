//! Rows out of a text, without reading what is in them: the server alone says what is right.
//!
//! A row keeps its bytes and its line, so that one that is refused can be given back as it was.
//! The bytes consumed and a checksum of them make a place to which a later import can return.

use std::{
    collections::VecDeque,
    io::{BufRead as _, Read as _},
};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::source::Text;

/// The longest row that is sent, in bytes; no valid one is near.
const LONGEST: usize = 64 * 1024;
/// How far behind its first line a row with an open quote may end (the server's own bound).
const OVERHANG: usize = 4096;

/// The form of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// A header row, then a row a reading
    Csv,
    /// A JSON object a line
    Ndjson,
}

/// A place in a text: all that comes before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Bytes before it, decompressed.
    pub(crate) offset: u64,
    /// Lines before it.
    pub(crate) lines: u64,
    /// CRC-32 of those bytes.
    pub(crate) checksum: u32,
}

/// A row, without its line end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The number of its first line, from 1.
    pub(crate) line: u64,
    /// Its bytes; the beginning only of one that is too long.
    pub(crate) bytes: Vec<u8>,
    /// Why it is not worth sending.
    pub(crate) fault: Option<&'static str>,
}

/// A line as it was read.
struct Line {
    bytes: Vec<u8>,
    checksum: crc32fast::Hasher,
    length: u64,
    too_long: bool,
}

impl Line {
    fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    fn quotes(&self) -> usize {
        memchr::memchr_iter(b'"', &self.bytes).count()
    }
}

/// The rows of a text.
pub(crate) struct Rows {
    text: Text,
    form: Form,
    header: Vec<u8>,
    ahead: VecDeque<Line>,
    offset: u64,
    lines: u64,
    checksum: crc32fast::Hasher,
}

impl Rows {
    /// The rows of a text of this form, or of the form that it looks like.
    pub(crate) fn new(mut text: Text, form: Option<Form>) -> Result<Self> {
        let begins = text.fill_buf()?.trim_ascii_start();
        let looks = match begins.first() {
            Some(b'{') => Form::Ndjson,
            Some(b'[') if form.is_none() => bail!(
                "this is a JSON array: write one object a line (`jq -c '.[]'`) and import that"
            ),
            _ => Form::Csv,
        };
        let mut rows = Self {
            text,
            form: form.unwrap_or(looks),
            header: Vec::new(),
            ahead: VecDeque::new(),
            offset: 0,
            lines: 0,
            checksum: crc32fast::Hasher::new(),
        };
        if rows.form == Form::Csv
            && let Some(line) = rows.peek(0)?.then(|| rows.take()).flatten()
        {
            rows.header = line.bytes;
        }
        Ok(rows)
    }

    /// The form.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// The header row of CSV with its line end; nothing of NDJSON.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// The place behind the last row that was given out.
    pub(crate) fn place(&self) -> Place {
        Place {
            offset: self.offset,
            lines: self.lines,
            checksum: self.checksum.clone().finalize(),
        }
    }

    /// Skips the rows before a place; `false` where the text before it is another.
    pub(crate) fn skip_to(&mut self, place: Place) -> Result<bool> {
        while self.offset < place.offset {
            if !self.peek(0)? {
                break;
            }
            self.take();
        }
        Ok(self.place() == place)
    }

    /// The next row. Blank lines count as rows that are at fault, but not those at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Row>> {
        let mut blank = 0;
        while self.peek(blank)? && self.ahead.get(blank).is_some_and(Line::is_blank) {
            blank += 1;
        }
        if !self.peek(blank)? {
            // Nothing but blank lines is left.
            while self.take().is_some() {}
            return Ok(None);
        }
        let line = self.lines + 1;
        let joined = if blank == 0 { self.quoted_lines()? } else { 1 };
        let mut row = Row {
            line,
            bytes: Vec::new(),
            fault: None,
        };
        for _ in 0..joined {
            if let Some(taken) = self.take() {
                row.fault = taken
                    .too_long
                    .then_some("the row is too long")
                    .or(row.fault);
                row.bytes.extend(taken.bytes);
            }
        }
        while let Some(b'\n' | b'\r') = row.bytes.last() {
            row.bytes.pop();
        }
        if row.bytes.trim_ascii().is_empty() {
            row.fault = Some("a blank line");
        }
        Ok(Some(row))
    }

    /// How many lines the row takes: more than one where a quoted cell holds line ends.
    fn quoted_lines(&mut self) -> Result<usize> {
        let (mut lines, mut quotes, mut behind) = (0, 0, 0);
        loop {
            let Some(line) = self.ahead.get(lines) else {
                return Ok(1);
            };
            quotes += line.quotes();
            behind += if lines == 0 { 0 } else { line.bytes.len() };
            lines += 1;
            if self.form == Form::Ndjson || quotes % 2 == 0 {
                return Ok(lines);
            }
            // A quote that closes nowhere near makes its own line a bad row, and no other.
            if behind > OVERHANG || line.too_long || !self.peek(lines)? {
                return Ok(1);
            }
        }
    }

    /// Whether there is a line so many lines ahead.
    fn peek(&mut self, ahead: usize) -> Result<bool> {
        while self.ahead.len() <= ahead {
            match self.read_line()? {
                Some(line) => self.ahead.push_back(line),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Takes a line that was read ahead.
    fn take(&mut self) -> Option<Line> {
        let line = self.ahead.pop_front()?;
        self.offset += line.length;
        self.lines += 1;
        self.checksum.combine(&line.checksum);
        Some(line)
    }

    fn read_line(&mut self) -> Result<Option<Line>> {
        let mut line = Line {
            bytes: Vec::new(),
            checksum: crc32fast::Hasher::new(),
            length: 0,
            too_long: false,
        };
        loop {
            let limit = u64::try_from(LONGEST)?;
            let mut part = Vec::new();
            let read = self
                .text
                .by_ref()
                .take(limit)
                .read_until(b'\n', &mut part)?;
            if read == 0 {
                return Ok((line.length > 0).then_some(line));
            }
            line.checksum.update(&part);
            line.length += u64::try_from(read)?;
            if line.bytes.is_empty() {
                line.bytes = part;
            } else {
                line.too_long = true;
                if part.last() != Some(&b'\n') {
                    continue;
                }
                return Ok(Some(line));
            }
            if line.bytes.last() == Some(&b'\n') {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Rows {
        let text: &'static str = text.to_owned().leak();
        Rows::new(Box::new(text.as_bytes()), None).unwrap()
    }

    fn all(rows: &mut Rows) -> Vec<(u64, String, Option<&'static str>)> {
        let next = || rows.next().unwrap();
        std::iter::from_fn(next)
            .map(|row| (row.line, String::from_utf8(row.bytes).unwrap(), row.fault))
            .collect()
    }

    #[test]
    fn keeps_lines_apart_and_quoted_line_ends_together() {
        let mut rows = rows("h\r\na,\"x\ny\"\r\nb\r\n\n\nc\"\nd\n\n\n");
        assert_eq!((rows.form(), rows.header()), (Form::Csv, &b"h\r\n"[..]));
        let expected = [
            (2, "a,\"x\ny\"", None),
            (4, "b", None),
            (5, "", Some("a blank line")),
            (6, "", Some("a blank line")),
            (7, "c\"", None),
            (8, "d", None),
        ];
        assert_eq!(
            all(&mut rows),
            expected.map(|(line, text, fault)| (line, text.to_owned(), fault))
        );
        assert_eq!(rows.place().lines, 10);
    }

    #[test]
    fn a_row_past_the_limit_is_cut_and_the_next_one_whole() {
        let long = "x".repeat(3 * LONGEST);
        let mut rows = rows(&format!("{{\"a\":\"{long}\n{{}}"));
        assert_eq!(rows.form(), Form::Ndjson);
        let found = all(&mut rows);
        assert_eq!(found[0].2, Some("the row is too long"));
        assert_eq!(
            (found[0].1.len(), &found[1]),
            (LONGEST, &(2, "{}".to_owned(), None))
        );
    }

    #[test]
    fn returns_to_a_place_of_the_same_text_only() {
        let text = "h\na\nb\nc\n";
        let mut first = rows(text);
        first.next().unwrap();
        first.next().unwrap();
        let place = first.place();
        assert_eq!((place.offset, place.lines), (6, 3));
        let mut again = rows(text);
        assert!(again.skip_to(place).unwrap());
        assert_eq!(all(&mut again), [(4, "c".to_owned(), None)]);
        assert!(!rows("h\na\nX\nc\n").skip_to(place).unwrap());
        assert!(!rows("h\na\n").skip_to(place).unwrap());
    }

    #[test]
    fn refuses_a_json_array_with_the_way_out() {
        let text: &[u8] = b" [{}]";
        let refused = Rows::new(Box::new(text), None).err().unwrap().to_string();
        assert!(refused.contains("jq"), "{refused}");
    }
}
