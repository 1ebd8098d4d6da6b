//! What the program prints: data to stdout, as text or JSON; everything else to stderr.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
};

use anyhow::Result;
use serde::Serialize;

/// Prints data as text or, where `--json` was given, as JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints a value: `words` for people, the value itself as JSON.
    pub(crate) fn value<T: Serialize>(
        self,
        value: &T,
        words: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json {
            text(&format!("{}\n", serde_json::to_string_pretty(value)?))
        } else {
            text(&format!("{}\n", words()))
        }
    }

    /// Prints rows: a table for people, an array as JSON.
    pub(crate) fn rows<T: Serialize, const N: usize>(
        self,
        rows: &[T],
        head: [&str; N],
        cells: impl Fn(&T) -> [String; N],
    ) -> Result<()> {
        if self.json {
            return text(&format!("{}\n", serde_json::to_string_pretty(rows)?));
        }
        let mut table = vec![head.map(str::to_owned)];
        table.extend(rows.iter().map(cells));
        text(&layout(&table))
    }
}

/// Columns side by side, as wide as their widest cell.
fn layout<const N: usize>(table: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in table {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Writes to stdout as it is.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Writes a line to stderr that says what went wrong. A lost stderr is nobody's reader.
pub(crate) fn complain(line: &str) {
    complain_as_is(&format!("ems: {line}\n"));
}

/// Writes a line to stderr that says what is going on.
pub(crate) fn note(line: &str) {
    complain_as_is(&format!("{line}\n"));
}

/// Writes to stderr as it is.
pub(crate) fn complain_as_is(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether a person can be asked.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let table = [["id", "name"], ["ä", "x"], ["long", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(layout(&table), "id    name\nä     x\nlong\n");
    }
}
