//! The fast path of a JSON row: an object of plain strings and numbers, read in one pass without
//! an allocation. It declines whatever it does not know (escapes, nulls, other keys, a key twice),
//! and the full parser takes over.

use super::rows::Plain;

/// Reads a plain row that begins at `at`; the row, and where it ends.
pub(super) fn row(text: &str, at: usize) -> Option<(Plain<'_>, usize)> {
    let mut scan = Scan { text, at };
    let mut row = Plain::default();
    scan.expect(b'{')?;
    loop {
        let key = scan.string()?;
        scan.expect(b':')?;
        match key {
            "meter_id" => once(&mut row.meter_id, scan.string()?)?,
            "timestamp" => once(&mut row.timestamp, scan.string()?)?,
            "energy_consumption" => once(&mut row.energy, scan.number()?)?,
            "power_factor" => once(&mut row.power_factor, scan.number()?)?,
            "location" => once(&mut row.location, scan.string()?)?,
            _ => return None,
        }
        match scan.next()? {
            b',' => {}
            b'}' => return Some((row, scan.at)),
            _ => return None,
        }
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// Where the whitespace of JSON at `at` ends.
pub(super) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = text.get(at) {
        at += 1;
    }
    at
}

/// The double of a text that is a JSON number and nothing else; infinite past the largest.
pub(super) fn number(text: &str) -> Option<f64> {
    let end = number_end(text.as_bytes(), 0)?;
    if end != text.len() {
        return None;
    }
    text.parse().ok()
}

/// Where the JSON number at `at` ends; `None` when there is none.
fn number_end(text: &[u8], at: usize) -> Option<usize> {
    let byte = |at: usize| text.get(at).copied();
    let digits = |mut at: usize| {
        let start = at;
        while let Some(b'0'..=b'9') = byte(at) {
            at += 1;
        }
        (at > start).then_some(at)
    };
    let start = if byte(at) == Some(b'-') { at + 1 } else { at };
    let mut end = match byte(start)? {
        b'0' => start + 1,
        _ => digits(start)?,
    };
    if byte(end) == Some(b'.') {
        end = digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = byte(end) {
        let signed = matches!(byte(end + 1), Some(b'+' | b'-'));
        end = digits(end + 1 + usize::from(signed))?;
    }
    Some(end)
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    /// The next byte that is no whitespace.
    fn next(&mut self) -> Option<u8> {
        self.at = skip_space(self.text.as_bytes(), self.at);
        let byte = *self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        (self.next()? == wanted).then_some(())
    }

    /// A string without an escape and without a control character.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
        let end = self.at + length;
        if rest.get(length) != Some(&b'"') {
            return None;
        }
        let string = self.text.get(self.at..end)?;
        self.at = end + 1;
        Some(string)
    }

    /// A finite number.
    fn number(&mut self) -> Option<f64> {
        self.at = skip_space(self.text.as_bytes(), self.at);
        let end = number_end(self.text.as_bytes(), self.at)?;
        let number: f64 = self.text.get(self.at..end)?.parse().ok()?;
        self.at = end;
        number.is_finite().then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_json_numbers_and_nothing_else() {
        for text in ["0", "-0", "0.25", "12", "1e3", "1E+3", "1.5e-3", "123456789012345678901234567890"] {
            assert_eq!(number(text), Some(text.parse().unwrap()), "{text}");
        }
        assert_eq!(number("1e400"), Some(f64::INFINITY));
        for text in ["", "-", "+1", "01", ".5", "5.", "1e", "1e+", "NaN", "inf", "0x1", "1_0", " 1", "1 ", "--1"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
