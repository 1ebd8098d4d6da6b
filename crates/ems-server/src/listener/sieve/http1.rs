//! Where heads and bodies of HTTP/1.1 begin and end (RFC 9112), read with no leniency at all.
//!
//! hyper takes bare line feeds, two lengths at once, a list of transfer codings, and spaces and long
//! extensions beside a chunk's size, and hides some of it from us. A proxy in front that reads them
//! in another way can be made to see other requests than we do (request smuggling).

use memchr::memchr;

use super::Cut;

/// What is kept of a line that comes in pieces. A field that decides the framing is shorter, and so is
/// the line of a chunk's size with its extensions, of which we know none.
const LINE_KEPT: usize = 256;
/// The digits of 64 bits.
const CHUNK_DIGITS: usize = 16;
/// What no head may hold, so that hyper refuses the head it stands in, and the end of that head,
/// without which hyper would not look.
const NO_HEAD: &[u8] = b"\0\r\n\r\n";

/// The framing of one connection so far.
#[derive(Debug)]
pub(super) struct Framing {
    part: Part,
    /// The line that is being read, as far as earlier reads brought it.
    line: Vec<u8>,
    /// Whether the line was longer than is kept of it.
    cut_short: bool,
    /// The last byte of an earlier read.
    last: u8,
    head: Head,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Part {
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
}

/// What a head has said of its body.
#[derive(Debug, Default)]
struct Head {
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

/// That a line is not plain.
struct Fault;

impl Framing {
    pub(super) fn new() -> Self {
        Self {
            part: Part::Head,
            line: Vec::new(),
            cut_short: false,
            last: 0,
            head: Head::default(),
        }
    }

    /// Follows what has come; says where the first fault is.
    pub(super) fn look(&mut self, bytes: &[u8]) -> Option<Cut> {
        let mut at = 0;
        while let Some(rest @ [_, ..]) = bytes.get(at..) {
            if let Part::Body(left) | Part::Chunk(left) = &mut self.part {
                let come = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(*left);
                *left -= come;
                at += usize::try_from(come).unwrap_or(rest.len());
                match self.part {
                    Part::Body(0) => self.part = Part::Head,
                    Part::Chunk(0) => self.part = Part::ChunkEnd,
                    _ => {}
                }
                continue;
            }
            let end = memchr(b'\n', rest);
            let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
            let room = LINE_KEPT.saturating_sub(self.line.len());
            if line.len() > room {
                if let Part::ChunkSize | Part::ChunkEnd = self.part {
                    return Some(self.cut(at + room));
                }
                self.cut_short = true;
            }
            match end {
                None => self.keep(line),
                Some(end) if self.end(line).is_err() => return Some(self.cut(at + end)),
                Some(_) => {}
            }
            at += line.len() + 1;
        }
        self.last = bytes.last().copied().unwrap_or(self.last);
        None
    }

    /// A body that breaks off is an error to hyper; a head has to be spoilt.
    fn cut(&self, keep: usize) -> Cut {
        tracing::debug!(part = ?self.part, "a request is refused: its framing is not plain");
        let last_words = match self.part {
            Part::Head => NO_HEAD.to_vec(),
            _ => Vec::new(),
        };
        Cut { keep, last_words }
    }

    /// Keeps a piece of a line whose end is still to come.
    fn keep(&mut self, piece: &[u8]) {
        let room = LINE_KEPT.saturating_sub(self.line.len());
        self.line
            .extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    /// The last piece of a line has come.
    fn end(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let last = match piece.last() {
            None if !self.line.is_empty() => self.last,
            last => last.copied().unwrap_or_default(),
        };
        if last != b'\r' {
            return Err(Fault);
        }
        let followed = if self.line.is_empty() {
            self.follow(piece.strip_suffix(b"\r").unwrap_or(piece))
        } else {
            self.keep(piece);
            let mut line = std::mem::take(&mut self.line);
            let followed = self.follow(line.strip_suffix(b"\r").unwrap_or(&line));
            // The room is used again.
            line.clear();
            self.line = line;
            followed
        };
        self.cut_short = false;
        followed
    }

    /// What a whole line means.
    fn follow(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.part = match self.part {
            Part::Head if !line.is_empty() => {
                self.head.take(line, self.cut_short)?;
                Part::Head
            }
            Part::Head => std::mem::take(&mut self.head).body(),
            Part::ChunkSize => match chunk_size(line).ok_or(Fault)? {
                0 => Part::Trailer,
                size => Part::Chunk(size),
            },
            Part::ChunkEnd if line.is_empty() => Part::ChunkSize,
            Part::ChunkEnd => return Err(Fault),
            Part::Trailer if line.is_empty() => Part::Head,
            other => other,
        };
        Ok(())
    }
}

impl Head {
    /// Takes a line. The first is the request line, on which hyper is strict enough.
    fn take(&mut self, line: &[u8], cut_short: bool) -> Result<(), Fault> {
        if !self.begun {
            self.begun = true;
            return Ok(());
        }
        let Some((name, value)) = memchr(b':', line).and_then(|colon| line.split_at_checked(colon))
        else {
            return Ok(());
        };
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let framed = self.length.is_some() || self.chunked || cut_short;
        if name.eq_ignore_ascii_case(b"content-length") {
            let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(value).ok().map(str::parse);
            match length {
                Some(Ok(length)) if is_number && !framed => self.length = Some(length),
                _ => return Err(Fault),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if framed || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault);
            }
            self.chunked = true;
        }
        Ok(())
    }

    /// What comes after the head. Blank lines before a request have nothing after them.
    fn body(self) -> Part {
        match self.length {
            _ if self.chunked => Part::ChunkSize,
            Some(length @ 1..) => Part::Body(length),
            _ => Part::Head,
        }
    }
}

/// The size that a chunk's line says: digits, then nothing or an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?;
    let is_plain = digits.len() <= CHUNK_DIGITS && digits.iter().all(u8::is_ascii_hexdigit);
    if !is_plain {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunks_size_is_digits_alone() {
        for (line, size) in [
            ("0", Some(0)),
            ("fF", Some(255)),
            ("0000000000000005", Some(5)),
            ("ffffffffffffffff", Some(u64::MAX)),
            ("5;name=\"value\"", Some(5)),
            ("00000000000000005", None),
            ("", None),
            (";x", None),
            ("+5", None),
            ("0x5", None),
            ("5 ", None),
            (" 5", None),
            ("5\t;x", None),
        ] {
            assert_eq!(chunk_size(line.as_bytes()), size, "{line:?}");
        }
    }

    #[test]
    fn a_length_is_said_once_and_in_one_way() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\ncontent-length: 1\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
        ] {
            let head = format!("POST / HTTP/1.1\r\n{fields}");
            let cut = Framing::new().look(head.as_bytes()).unwrap();
            assert_eq!((cut.keep, &*cut.last_words), (head.len() - 1, NO_HEAD));
            // A byte at a time comes to the same.
            let mut framing = Framing::new();
            let cuts = head.as_bytes().chunks(1).map(|byte| framing.look(byte));
            let at = cuts.into_iter().position(|cut| cut.is_some());
            assert_eq!(at, Some(head.len() - 1), "{fields}");
        }
    }
}
