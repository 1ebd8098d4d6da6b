//! Batches of rows, and the bodies made of them.

use anyhow::Result;
use ems_api::client::{Body, Coding, Format};

use super::rows::{Form, Place, Rows};

/// The most rows of a batch.
const ROWS: usize = 10_000;
/// Bytes at which a batch is full, far within what a server takes.
const BYTES: usize = 4 * 1024 * 1024;
/// Fast, and a tenth of the text.
const ZSTD_LEVEL: i32 = 1;

/// A row that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// The number of its first line, from 1.
    pub(crate) line: u64,
    /// The row as it was.
    pub(crate) row: Vec<u8>,
    /// Every reason that is known.
    pub(crate) reasons: String,
}

/// Rows to be sent together.
#[derive(Debug)]
pub(crate) struct Batch {
    form: Form,
    header: Vec<u8>,
    text: Vec<u8>,
    /// Line and end in `text` of each row.
    rows: Vec<(u64, usize)>,
    /// Rows that need not be sent to be refused.
    pub(crate) unsent: Vec<Rejected>,
    /// Where the text goes on behind it.
    pub(crate) after: Place,
}

impl Batch {
    /// The next rows of a text; `None` behind the last.
    pub(crate) fn read(rows: &mut Rows) -> Result<Option<Self>> {
        let mut batch = Self {
            form: rows.form(),
            header: rows.header().to_vec(),
            text: Vec::new(),
            rows: Vec::new(),
            unsent: Vec::new(),
            after: rows.place(),
        };
        while batch.rows.len() + batch.unsent.len() < ROWS && batch.text.len() < BYTES {
            let Some(row) = rows.next()? else { break };
            if let Some(fault) = row.fault {
                batch.unsent.push(Rejected {
                    line: row.line,
                    row: row.bytes,
                    reasons: format!("malformed: {fault}"),
                });
            } else {
                batch.text.extend(row.bytes);
                batch.text.push(b'\n');
                batch.rows.push((row.line, batch.text.len()));
            }
        }
        batch.after = rows.place();
        Ok((!batch.rows.is_empty() || !batch.unsent.is_empty()).then_some(batch))
    }

    /// The number of rows to be sent.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The number of rows, sent or not.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.rows.len() + self.unsent.len()).unwrap_or(u64::MAX)
    }

    /// A body of the rows `from` up to and without `to`.
    pub(crate) fn body(&self, from: usize, to: usize) -> Result<Body> {
        let text = self
            .text
            .get(self.start(from)..self.start(to))
            .unwrap_or_default();
        let whole = [self.header.as_slice(), text].concat();
        Ok(Body {
            format: match self.form {
                Form::Csv => Format::Csv,
                Form::Ndjson => Format::Ndjson,
            },
            coding: Coding::Zstd,
            bytes: zstd::encode_all(whole.as_slice(), ZSTD_LEVEL)?.into(),
        })
    }

    /// A row that was refused.
    pub(crate) fn rejected(&self, index: usize, reasons: String) -> Rejected {
        let text = self
            .text
            .get(self.start(index)..self.start(index + 1))
            .unwrap_or_default();
        Rejected {
            line: self.rows.get(index).map_or(0, |(line, _)| *line),
            row: text.strip_suffix(b"\n").unwrap_or(text).to_vec(),
            reasons,
        }
    }

    /// Where a row begins in `text`.
    fn start(&self, index: usize) -> usize {
        let before = index.checked_sub(1).and_then(|index| self.rows.get(index));
        match before {
            Some((_, end)) => *end,
            None if index == 0 => 0,
            None => self.text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(text: &'static str) -> Batch {
        let mut rows = Rows::new(Box::new(text.as_bytes()), None).unwrap();
        Batch::read(&mut rows).unwrap().unwrap()
    }

    #[test]
    fn every_body_has_the_header_and_its_rows() {
        let batch = batch("h\na\nb\n\nc\n");
        let text = |from, to| zstd::decode_all(&*batch.body(from, to).unwrap().bytes).unwrap();
        assert_eq!(text(0, 3), b"h\na\nb\nc\n");
        assert_eq!(text(1, 2), b"h\nb\n");
        assert_eq!(
            (batch.len(), batch.count(), batch.unsent[0].line),
            (3, 4, 4)
        );
        let rejected = batch.rejected(2, "x".into());
        assert_eq!((rejected.line, rejected.row), (5, b"c".to_vec()));
    }

    #[test]
    fn a_full_batch_leaves_the_rest_to_the_next() {
        let text = format!("h\n{}", "a\n".repeat(ROWS + 1)).leak();
        let mut rows = Rows::new(Box::new(text.as_bytes()), None).unwrap();
        let sizes = std::iter::from_fn(|| Batch::read(&mut rows).unwrap());
        assert_eq!(
            sizes.map(|batch| batch.len()).collect::<Vec<_>>(),
            [ROWS, 1]
        );
    }
}
