//! The fast path of a JSON row: an object of plain strings and numbers, read in one pass without
//! an allocation. It declines whatever it does not know (escapes, nulls, other keys, a key twice),
//! and the full parser takes over.

use super::rows::Plain;

/// Reads a plain row that begins at `at`; the row, and where it ends.
///
/// Control characters within strings, which JSON refuses, are not looked for: no field that holds
/// one is valid, so such a row goes to the full parser too.
pub(super) fn row(text: &str, at: usize) -> Option<(Plain<'_>, usize)> {
    let mut scan = Scan { text, at };
    let mut row = Plain::default();
    scan.expect(b'{')?;
    loop {
        match scan.key()? {
            Key::Meter => once(&mut row.meter_id, scan.string()?)?,
            Key::Timestamp => once(&mut row.timestamp, scan.string()?)?,
            Key::Energy => once(&mut row.energy, scan.number()?)?,
            Key::PowerFactor => once(&mut row.power_factor, scan.number()?)?,
            Key::Location => once(&mut row.location, scan.string()?)?,
        }
        match scan.next()? {
            b',' => {}
            b'}' => return Some((row, scan.at)),
            _ => return None,
        }
    }
}

#[derive(Clone, Copy)]
enum Key {
    Meter,
    Timestamp,
    Energy,
    PowerFactor,
    Location,
}

impl Key {
    /// The key that begins with a byte, and the rest of it with its closing quote.
    fn of(first: u8) -> Option<(Self, &'static [u8])> {
        Some(match first {
            b'm' => (Self::Meter, b"eter_id\""),
            b't' => (Self::Timestamp, b"imestamp\""),
            b'e' => (Self::Energy, b"nergy_consumption\""),
            b'p' => (Self::PowerFactor, b"ower_factor\""),
            b'l' => (Self::Location, b"ocation\""),
            _ => return None,
        })
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
    let number = Number::scan(text.as_bytes(), 0)?;
    if number.end != text.len() {
        return None;
    }
    number.value(text)
}

/// A JSON number that was scanned.
struct Number {
    end: usize,
    /// All digits as one integer, and how many of them are decimals; `None` where there is an
    /// exponent or the integer could be inexact as a double.
    short: Option<(u32, usize)>,
    negative: bool,
}

/// The powers of ten by which a short number is divided.
const TENS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

impl Number {
    /// The number at `at`; `None` when there is none.
    fn scan(text: &[u8], at: usize) -> Option<Self> {
        let byte = |at: usize| text.get(at).copied();
        let mut digits: Option<u32> = Some(0);
        let mut run = |mut at: usize| {
            let start = at;
            while let Some(digit @ b'0'..=b'9') = byte(at) {
                let value = u32::from(digit - b'0');
                digits = digits.and_then(|digits| digits.checked_mul(10)?.checked_add(value));
                at += 1;
            }
            (at > start).then_some(at)
        };
        let negative = byte(at) == Some(b'-');
        let start = at + usize::from(negative);
        let mut end = match byte(start)? {
            b'0' => start + 1,
            _ => run(start)?,
        };
        let mut decimals = 0;
        if byte(end) == Some(b'.') {
            let point = end + 1;
            end = run(point)?;
            decimals = end - point;
        }
        let exponent = matches!(byte(end), Some(b'e' | b'E'));
        if exponent {
            let signed = matches!(byte(end + 1), Some(b'+' | b'-'));
            end = run(end + 1 + usize::from(signed))?;
        }
        let short = digits
            .filter(|_| !exponent)
            .map(|digits| (digits, decimals));
        Some(Self {
            end,
            short,
            negative,
        })
    }

    /// Its value, given its text. Both ways round to the nearest double: a short number is one
    /// exact integer divided by one exact power of ten (Clinger, "How to read floating-point
    /// numbers accurately", 1990).
    fn value(&self, text: &str) -> Option<f64> {
        let short = self
            .short
            .and_then(|(digits, decimals)| TENS.get(decimals).map(|ten| f64::from(digits) / ten));
        match short {
            Some(value) if self.negative => Some(-value),
            Some(value) => Some(value),
            None => text.parse().ok(),
        }
    }
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

    /// One of the known keys, and the colon behind it.
    fn key(&mut self) -> Option<Key> {
        self.expect(b'"')?;
        let (first, rest) = self.text.as_bytes().get(self.at..)?.split_first()?;
        let (key, tail) = Key::of(*first)?;
        if !rest.starts_with(tail) {
            return None;
        }
        self.at += 1 + tail.len();
        self.expect(b':')?;
        Some(key)
    }

    /// A string without an escape.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let length = memchr::memchr2(b'"', b'\\', rest)?;
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
        let number = Number::scan(self.text.as_bytes(), self.at)?;
        let value = number.value(self.text.get(self.at..number.end)?)?;
        self.at = number.end;
        value.is_finite().then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_a_number_to_the_bit(text in "-?(0|[1-9][0-9]{0,11})(\\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?") {
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(number(&text).unwrap().to_bits(), expected.to_bits(), "{}", text);
        }
    }

    #[test]
    fn takes_json_numbers_and_nothing_else() {
        for text in [
            "0",
            "-0",
            "0.25",
            "12",
            "1e3",
            "1E+3",
            "1.5e-3",
            "123456789012345678901234567890",
        ] {
            assert_eq!(number(text), Some(text.parse().unwrap()), "{text}");
        }
        assert_eq!(number("1e400"), Some(f64::INFINITY));
        for text in [
            "", "-", "+1", "01", ".5", "5.", "1e", "1e+", "NaN", "inf", "0x1", "1_0", " 1", "1 ",
            "--1",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
