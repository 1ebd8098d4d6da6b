//! A fuzzer's bytes, taken apart: choices first, so that a change of one byte changes one thing.

/// What is left of an input.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of an input.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// The next byte; 0 past the end.
    pub fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *byte
    }

    /// A number, of two bytes.
    pub fn short(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// One of some things; the first byte says which.
    pub fn pick<T: Copy>(&mut self, among: &[T]) -> Option<T> {
        let at = usize::from(self.byte());
        among.get(at.checked_rem(among.len())?).copied()
    }

    /// So many bytes, or all that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    /// Bytes up to a line's end, which is passed over.
    pub fn line(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let line = self.0.split(|byte| *byte == b'\n').next()?;
        self.0 = self.0.get(line.len() + 1..).unwrap_or_default();
        Some(line)
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_taken_apart_from_the_left_and_never_ends_in_a_fault() {
        let mut input = Input::new(b"\x04\x01\x02ab\n\nc");
        assert_eq!(input.pick(&["a", "b", "c"]), Some("b"));
        assert_eq!((input.short(), input.pick::<u8>(&[])), (0x0201, None));
        assert_eq!(
            (input.line(), input.line()),
            (Some(&b"b"[..]), Some(&b""[..]))
        );
        assert_eq!((input.take(9), input.byte()), (&b"c"[..], 0));
        assert_eq!((input.line(), input.rest()), (None, &b""[..]));
    }
}
