//! Undoes what hides an attack from who only looks: percent signs (twice too), `+`, entities of
//! HTML, escapes of JavaScript, overlong and wide forms of UTF-8, UTF-7, Base64, comments, and the
//! quotes that a shell drops.
//!
//! Each step reads its text once from left to right and gives no more than it took, so that the
//! whole is linear; steps are repeated a fixed number of times.

use std::borrow::Cow;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, Encoding};

/// How often escapes are undone: what is hidden deeper is suspicious by its percent signs.
const ROUNDS: usize = 3;
/// The longest name of an entity that is looked for.
const LONGEST_ENTITY: usize = 10;
/// The shortest Base64 that is looked into.
const SHORTEST_BASE64: usize = 12;
/// Bytes at which an escape may begin; of those above ASCII, the lead bytes of overlong and
/// full-width forms alone.
const LEADS: [u8; 7] = [b'%', b'&', b'\\', b'+', 0xc0, 0xc1, 0xe0];
/// The lead byte of the full-width forms of ASCII.
const FULL_WIDTH: u8 = 0xef;

/// A part of a query or form as its receiver would read it.
pub(super) fn form(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => match pair(*high, *low) {
                Some(decoded) => {
                    out.push(decoded);
                    rest = after;
                }
                None => out.push(byte),
            },
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// A text with all escapes undone that any receiver might undo.
pub(super) fn deep(text: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..ROUNDS {
        match round(&text) {
            Some(decoded) => text = Cow::Owned(decoded),
            None => break,
        }
    }
    text
}

fn round(text: &[u8]) -> Option<Vec<u8>> {
    let lead = |byte: &u8| LEADS.contains(byte) || *byte == FULL_WIDTH || *byte == 0;
    let first = text.iter().position(lead)?;
    let (start, mut rest) = text.split_at_checked(first)?;
    let mut out = Vec::with_capacity(text.len());
    out.extend_from_slice(start);
    let mut changed = false;
    while let Some((&byte, tail)) = rest.split_first() {
        let found = lead(&byte).then(|| escape(rest)).flatten();
        if let Some((character, after)) = found {
            push(character, &mut out);
            rest = after;
            changed = true;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    changed.then_some(out)
}

/// What an escape at the start of a text stands for, and what follows it.
fn escape(text: &[u8]) -> Option<(u32, &[u8])> {
    match text {
        [b'%' | b'\\', b'u' | b'U', a, b, c, d, after @ ..] => {
            Some((digits(&[*a, *b, *c, *d])?, after))
        }
        [b'%', high, low, after @ ..] | [b'\\', b'x' | b'X', high, low, after @ ..] => {
            Some((pair(*high, *low)?.into(), after))
        }
        [b'&', b'#', b'x' | b'X', rest @ ..] => number(rest, 16),
        [b'&', b'#', rest @ ..] => number(rest, 10),
        [b'&', rest @ ..] => entity(rest),
        [b'\\', b'u', b'{', rest @ ..] => {
            let (value, after) = number(rest, 16)?;
            Some((value, after.strip_prefix(b"}")?))
        }
        // UTF-7: one ASCII character.
        [b'+', b'A', b, c, b'-', after @ ..] => Some((wide(*b, *c)?, after)),
        // Overlong: ASCII in two or three bytes.
        [lead @ (0xc0 | 0xc1), next, after @ ..] if is_next(*next) => {
            Some((u32::from(lead & 1) << 6 | u32::from(next & 0x3f), after))
        }
        [0xe0, high @ (0x80 | 0x81), next, after @ ..] if is_next(*next) => {
            Some((u32::from(high & 1) << 6 | u32::from(next & 0x3f), after))
        }
        // U+FF01 to U+FF5E: ASCII as wide as a Chinese character.
        [FULL_WIDTH, high @ (0xbc | 0xbd), next, after @ ..] if is_next(*next) => Some((
            narrow(0xf000 | u32::from(high & 0x3f) << 6 | u32::from(next & 0x3f))?,
            after,
        )),
        // Between the bytes of UTF-16 and UTF-32, or to end the strings of C: nothing to read.
        [0, after @ ..] => Some((0, after)),
        _ => None,
    }
}

fn is_next(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn narrow(character: u32) -> Option<u32> {
    matches!(character, 0xff01..=0xff5e).then(|| character - 0xfee0)
}

fn push(character: u32, out: &mut Vec<u8>) {
    let character = match character {
        0x2044 | 0x2215 => u32::from(b'/'),
        0x2216 => u32::from(b'\\'),
        other => narrow(other).unwrap_or(other),
    };
    match u8::try_from(character) {
        Ok(0) => {}
        // A byte as it was: what follows may complete its character.
        Ok(byte) => out.push(byte),
        Err(_) => {
            let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn nibble(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

fn pair(high: u8, low: u8) -> Option<u8> {
    Some(nibble(high)? << 4 | nibble(low)?)
}

fn digits(text: &[u8]) -> Option<u32> {
    let add = |sum: u32, byte: &u8| Some(sum << 4 | u32::from(nibble(*byte)?));
    text.iter().try_fold(0, add)
}

/// The number at the start of a text, of at most seven digits, and what follows it and a semicolon.
fn number(text: &[u8], radix: u32) -> Option<(u32, &[u8])> {
    let digit = |byte: &u8| char::from(*byte).to_digit(radix);
    let length = text
        .iter()
        .take(8)
        .take_while(|byte| digit(byte).is_some())
        .count();
    let (digits, after) = text.split_at_checked(length)?;
    if !(1..=7).contains(&length) {
        return None;
    }
    let value = digits
        .iter()
        .filter_map(digit)
        .fold(0, |sum, digit| sum * radix + digit);
    Some((value, after.strip_prefix(b";").unwrap_or(after)))
}

/// Named entities that an attack has a use for, with a semicolon or without.
fn entity(text: &[u8]) -> Option<(u32, &[u8])> {
    let named = |byte: &&u8| byte.is_ascii_alphabetic();
    let length = text.iter().take(LONGEST_ENTITY).take_while(named).count();
    let (name, after) = text.split_at_checked(length)?;
    let stands_for = match &*name.to_ascii_lowercase() {
        b"lt" => b'<',
        b"gt" => b'>',
        b"quot" => b'"',
        b"apos" => b'\'',
        b"amp" => b'&',
        b"tab" => b'\t',
        b"newline" => b'\n',
        b"nbsp" => b' ',
        b"colon" => b':',
        b"semi" => b';',
        b"lpar" => b'(',
        b"rpar" => b')',
        b"lbrace" | b"lcub" => b'{',
        b"rbrace" | b"rcub" => b'}',
        b"lbrack" | b"lsqb" => b'[',
        b"rbrack" | b"rsqb" => b']',
        b"dollar" => b'$',
        b"grave" => b'`',
        b"sol" => b'/',
        b"bsol" => b'\\',
        b"period" => b'.',
        b"comma" => b',',
        b"equals" => b'=',
        b"num" => b'#',
        b"percnt" => b'%',
        b"vert" => b'|',
        b"excl" => b'!',
        b"ast" => b'*',
        _ => return None,
    };
    let after = match after.strip_prefix(b";") {
        Some(after) => after,
        // Without its semicolon it may be a field's name: `a=1&lt=2`.
        None if name.len() <= 4 && after.first() != Some(&b'=') => after,
        None => return None,
    };
    Some((stands_for.into(), after))
}

/// The character of `+Axx-`.
fn wide(b: u8, c: u8) -> Option<u32> {
    let bytes = BASE64_NOPAD.decode(&[b'A', b, c, b'A']).ok()?;
    match &*bytes {
        [0, low, 0] if low.is_ascii() => Some(u32::from(*low)),
        _ => None,
    }
}

/// What a text is in Base64, if it is text there.
pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    if text.len() < SHORTEST_BASE64 || !text.iter().all(alphabet) {
        return None;
    }
    let url = memchr::memchr2(b'-', b'_', text).is_some();
    let unpadded: Vec<u8> = text.iter().copied().filter(|byte| *byte != b'=').collect();
    let encoding: &Encoding = if url { &BASE64URL_NOPAD } else { &BASE64_NOPAD };
    let whole = unpadded.len() - unpadded.len() % 4;
    let exact = encoding
        .decode(&unpadded)
        .ok()
        .or_else(|| BASE64.decode(text).ok());
    let decoded = exact.or_else(|| encoding.decode(unpadded.get(..whole)?).ok())?;
    let readable = |byte: &&u8| !byte.is_ascii_control() || byte.is_ascii_whitespace();
    let count = decoded.iter().filter(readable).count();
    (std::str::from_utf8(&decoded).is_ok() && count == decoded.len()).then_some(decoded)
}

/// A text without the comments of SQL, PHP and JavaScript; `None` where it has none.
/// `space`: what a comment is read as, if not as nothing.
pub(super) fn uncommented(text: &[u8], space: Option<u8>) -> Option<Vec<u8>> {
    memchr::memmem::find(text, b"/*")?;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = memchr::memmem::find(rest, b"/*") {
        let (before, comment) = rest.split_at_checked(start)?;
        out.extend_from_slice(before);
        out.extend(space);
        rest = comment.get(2..)?;
        if let Some(code) = rest.strip_prefix(b"!") {
            // MySQL reads what stands in here, from the version that may stand before it.
            let version = code.iter().take(6).take_while(|byte| byte.is_ascii_digit());
            rest = code.get(version.count()..)?;
        } else if let Some(end) = memchr::memmem::find(rest, b"*/") {
            rest = rest.get(end + 2..)?;
        } else {
            break;
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

/// A text as a shell reads it: without the quotes, escapes and empty variables that hide a word.
/// `None` where it has none.
pub(super) fn unquoted(text: &[u8]) -> Option<Vec<u8>> {
    let lead = |byte: &u8| b"'\"\\^$?*[{`<".contains(byte);
    let first = text.iter().position(lead)?;
    let mut out = Vec::with_capacity(text.len());
    let (start, mut rest) = text.split_at_checked(first)?;
    out.extend_from_slice(start);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match (byte, tail) {
            (b'\\', [b'\n', after @ ..]) | (b'$', [b'@' | b'*' | b'!' | b'#', after @ ..]) => {
                rest = after;
            }
            (b'\'' | b'"' | b'\\' | b'^' | b'`', _) => {}
            // A short tag, which a filter may take out of a word.
            (b'<', [b'>', after @ ..] | [_, b'>', after @ ..]) => rest = after,
            (b'$', [b'{', after @ ..]) => match variable(after) {
                Some((shown, after)) if after.first() == Some(&b'}') => {
                    out.extend_from_slice(shown);
                    rest = after.get(1..).unwrap_or_default();
                }
                _ => out.push(byte),
            },
            (b'$', after) => match variable(after) {
                Some((shown, after)) => {
                    out.extend_from_slice(shown);
                    rest = after;
                }
                None => out.push(byte),
            },
            // `[e]tc` and `pas[s]wd`: a class of one.
            (b'[', [inner, b']', after @ ..]) if inner.is_ascii_alphanumeric() => {
                out.push(*inner);
                rest = after;
            }
            _ => out.push(byte),
        }
    }
    Some(out)
}

/// What a variable of the shell most likely holds, and what follows its name.
fn variable(text: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let name = text
        .iter()
        .take(32)
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
    let (name, after) = text.split_at_checked(name.count())?;
    match name {
        [] => None,
        b"IFS" => Some((b" ", after)),
        b"SHELL" => Some((b"/bin/sh", after)),
        _ => Some((b"", after)),
    }
}
