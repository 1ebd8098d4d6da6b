//! Bodies of any media type, taken apart into names and values however broken they are. Nothing is
//! parsed that the server itself would parse differently: this only looks.

use std::borrow::Cow;

use super::{Inspection, Places, decode, head, is_prose, rules::Places as P};

/// Media types that clients of an API, browsers and their forms send.
const KNOWN: [&str; 24] = [
    "application/json",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/problem+json",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/ld+json",
    "application/geo+json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "text/csv",
    "text/plain",
    "text/html",
    "text/xml",
    "application/xml",
    "application/soap+xml",
    "application/octet-stream",
    "application/gzip",
    "application/zip",
    "application/zstd",
    "application/csp-report",
    "application/graphql",
    "application/x-protobuf",
];

pub(super) fn judge(inspection: &mut Inspection<'_>, media_type: Option<&[u8]>, body: &[u8]) {
    let lower = media_type.unwrap_or_default().to_ascii_lowercase();
    let has = |part: &[u8]| memchr::memmem::find(&lower, part).is_some();
    let start = body.trim_ascii_start().first();
    if has(b"multipart/") {
        multipart(inspection, media_type.unwrap_or_default(), body);
    } else if has(b"json") || matches!(start, Some(b'{' | b'[')) {
        json(inspection, body);
        if has(b"form-urlencoded") {
            form(inspection, body, false);
        }
    } else if has(b"csv") {
        csv(inspection, body);
    } else if has(b"xml") || body.trim_ascii_start().starts_with(b"<?xml") {
        xml(inspection, body);
    } else {
        if has(b"form-urlencoded") {
            head::escapes(inspection, P::VALUE, body);
            head::form(inspection, body);
        } else {
            inspection.judge(P::VALUE, b"", body);
        }
        form(inspection, body, false);
    }
}

/// What a media type gives away by itself.
pub(super) fn media_type(inspection: &mut Inspection<'_>, value: &[u8]) {
    let lower = value.to_ascii_lowercase();
    let mut parts = lower.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let essence = parts.next().unwrap_or_default();
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+/".contains(byte);
    let halves = essence
        .split(|byte| *byte == b'/')
        .filter(|half| !half.is_empty())
        .count();
    let mut malformed = !essence.iter().all(token);
    let mut sets = 0;
    for parameter in parts {
        let mut halves = parameter
            .splitn(2, |byte| *byte == b'=')
            .map(<[u8]>::trim_ascii);
        let (name, value) = (halves.next().unwrap_or_default(), halves.next());
        let known: [&[u8]; 8] = [
            b"",
            b"charset",
            b"boundary",
            b"version",
            b"profile",
            b"type",
            b"header",
            b"action",
        ];
        malformed |= !known.contains(&name) || (value.is_none() && !name.is_empty());
        if name == b"charset" {
            sets += 1;
            malformed |= value.is_none_or(|set| !head::is_unicode(set));
        }
        if name == b"boundary" {
            malformed |= !essence.starts_with(b"multipart/");
        }
    }
    if malformed || sets > 1 || memchr::memmem::find_iter(&lower, b"charset").count() > 1 {
        inspection.note("protocol-media-type", P::HEADER, b"content-type");
    } else if halves != 2 || !KNOWN.iter().any(|known| known.as_bytes() == essence) {
        inspection.note("protocol-media-type-strange", P::HEADER, b"content-type");
    }
}

/// A text with its percent signs undone and `+` as it is.
pub(super) fn percent(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'+', text).is_none() {
        return decode::form(text);
    }
    let mut out = Vec::with_capacity(text.len());
    for (count, piece) in text.split(|byte| *byte == b'+').enumerate() {
        if count > 0 {
            out.push(b'+');
        }
        out.extend_from_slice(&decode::form(piece));
    }
    Cow::Owned(out)
}

/// The names and values of a query or form.
pub(super) fn form(inspection: &mut Inspection<'_>, text: &[u8], query: bool) {
    for (count, pair) in text.split(|byte| *byte == b'&').enumerate() {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let (name, value) = (halves.next().unwrap_or_default(), halves.next());
        let (name, value) = (decode::form(name), value.map(decode::form));
        if query {
            head::parameter(
                inspection,
                count,
                &name,
                value.as_deref().unwrap_or_default(),
            );
        }
        inspection.judge(P::NAME, b"", &name);
        if let Some(value) = value {
            inspection.field(&name, &value);
            included(inspection, &name, &value);
        }
    }
    // An `&` or `=` may be a part of the attack.
    if memchr::memchr2(b'=', b'&', text).is_some()
        && let Some(place) = place_of_all(text)
    {
        inspection.judge(place, b"", &decode::form(text));
    }
}

/// Where a query or form stands as a whole: in prose if all that could be an attack does; `None` if
/// nothing could.
fn place_of_all(text: &[u8]) -> Option<Places> {
    let telling = |byte: &u8| b"'\"`(<;|{\\".contains(byte);
    let mut place = None;
    for pair in text.split(|byte| *byte == b'&') {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        if decode::form(pair).iter().any(telling) {
            if !is_prose(&decode::form(name)) {
                return Some(P::VALUE);
            }
            place = Some(P::PROSE);
        }
    }
    place
}

/// An address in a parameter that is named for a file.
fn included(inspection: &mut Inspection<'_>, name: &[u8], value: &[u8]) {
    let name = name.to_ascii_lowercase();
    let has = |part: &[u8]| memchr::memmem::find(&name, part).is_some();
    let meant: [&[u8]; 8] = [
        b"path",
        b"include",
        b"file",
        b"template",
        b"page",
        b"root",
        b"dir",
        b"conf",
    ];
    let lower = value.get(..8).unwrap_or(value).to_ascii_lowercase();
    let address = [&b"http:"[..], b"https:", b"ftp:", b"//"]
        .iter()
        .any(|scheme| lower.starts_with(scheme));
    if address && meant.into_iter().any(has) {
        inspection.note("file-include-parameter", P::VALUE, &name);
    }
}

/// The strings of JSON: names, and values by the name before them. Whatever stands between them
/// that is no JSON is judged with all of it.
pub(super) fn json(inspection: &mut Inspection<'_>, text: &[u8]) {
    let mut rest = text;
    let mut name: Vec<u8> = Vec::new();
    let mut loose = false;
    while let Some(at) = memchr::memchr(b'"', rest) {
        let between = rest.get(..at).unwrap_or_default();
        loose |= between.iter().any(|byte| !is_json(*byte));
        rest = rest.get(at + 1..).unwrap_or_default();
        let Some((string, after)) = json_string(rest) else {
            loose = true;
            break;
        };
        rest = after;
        if rest.trim_ascii_start().starts_with(b":") {
            inspection.judge(P::NAME, b"", &string);
            name = string.into_owned();
        } else {
            inspection.field(&name, &string);
        }
    }
    if loose || rest.iter().any(|byte| !is_json(*byte)) {
        inspection.judge(P::VALUE, b"", text);
    }
}

/// Bytes outside of the strings of JSON: brackets, numbers, `true`, `false`, `null`, blanks.
fn is_json(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"{}[]:,0123456789+-.eEtrufalsn\xef\xbb\xbf".contains(&byte)
}

/// The string at the start of a text, and what follows its quote.
fn json_string(text: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let stop = memchr::memchr2(b'"', b'\\', text)?;
    if text.get(stop) == Some(&b'"') {
        return Some((Cow::Borrowed(text.get(..stop)?), text.get(stop + 1..)?));
    }
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        let stop = memchr::memchr2(b'"', b'\\', rest)?;
        out.extend_from_slice(rest.get(..stop)?);
        match rest.get(stop..)? {
            [b'"', after @ ..] => return Some((Cow::Owned(out), after)),
            [b'\\', escaped, after @ ..] => {
                match escaped {
                    b'n' => out.push(b'\n'),
                    b'r' => out.push(b'\r'),
                    b't' => out.push(b'\t'),
                    b'u' => out.extend_from_slice(b"\\u"),
                    other => out.push(*other),
                }
                rest = after;
            }
            _ => return None,
        }
    }
}

/// The cells of a table, by the column's name.
fn csv(inspection: &mut Inspection<'_>, text: &[u8]) {
    let mut lines = text.split(|byte| *byte == b'\n');
    let cells = |line: &[u8]| -> Vec<Vec<u8>> {
        line.split(|byte| *byte == b',')
            .map(|cell| cell.trim_ascii().to_vec())
            .collect()
    };
    let header = cells(lines.next().unwrap_or_default());
    for name in &header {
        inspection.judge(P::NAME, b"", name);
    }
    for line in lines {
        let mut names = header.iter();
        for cell in line.split(|byte| *byte == b',') {
            let name = names.next().map(Vec::as_slice).unwrap_or_default();
            inspection.field(name, cell.trim_ascii());
        }
    }
}

/// The texts, names and attributes of a document, and the document for what it declares.
fn xml(inspection: &mut Inspection<'_>, text: &[u8]) {
    inspection.judge(P::DOCUMENT, b"", text);
    for piece in text.split(|byte| *byte == b'<') {
        let mut halves = piece.splitn(2, |byte| *byte == b'>');
        let (tag, content) = (halves.next().unwrap_or_default(), halves.next());
        if tag.starts_with(b"?xml") || tag.starts_with(b"/") {
            if let Some(content) = content.map(<[u8]>::trim_ascii) {
                inspection.judge(P::VALUE, b"", &percent(content));
            }
            continue;
        }
        let mut rest = tag;
        while let Some(at) = memchr::memchr2(b'"', b'\'', rest) {
            let quote = rest.get(at).copied().unwrap_or(b'"');
            let name = rest.get(..at).unwrap_or_default();
            inspection.judge(
                P::NAME,
                b"",
                name.trim_ascii().strip_suffix(b"=").unwrap_or_default(),
            );
            rest = rest.get(at + 1..).unwrap_or_default();
            let end = memchr::memchr(quote, rest).unwrap_or(rest.len());
            inspection.judge(P::VALUE, b"", rest.get(..end).unwrap_or_default());
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        if let Some(content) = content
            .map(<[u8]>::trim_ascii)
            .filter(|content| !content.is_empty())
        {
            inspection.judge(P::VALUE, b"", &percent(content));
        }
    }
}

/// The parts of a form: their names, file names, heads and contents.
fn multipart(inspection: &mut Inspection<'_>, media_type: &[u8], body: &[u8]) {
    let boundary = parameter(media_type, b"boundary").unwrap_or_default();
    if boundary.is_empty() {
        inspection.note("protocol-multipart", P::HEADER, b"content-type");
        inspection.judge(P::VALUE, b"", body);
        return;
    }
    let delimiter = [b"--", boundary].concat();
    let finder = memchr::memmem::Finder::new(&delimiter);
    let mut starts = finder
        .find_iter(body)
        .map(|at| at + delimiter.len())
        .peekable();
    if starts.peek().is_none() {
        inspection.judge(P::VALUE, b"", body);
    }
    while let Some(start) = starts.next() {
        let end = starts
            .peek()
            .map_or(body.len(), |next| next - delimiter.len());
        let part = body.get(start..end).unwrap_or_default();
        if !part.starts_with(b"--") {
            self::part(inspection, part);
        }
    }
}

fn part(inspection: &mut Inspection<'_>, part: &[u8]) {
    let blank = memchr::memmem::find(part, b"\r\n\r\n").map(|at| (at, 4));
    let blank = blank.or_else(|| memchr::memmem::find(part, b"\n\n").map(|at| (at, 2)));
    let (head, content) = match blank {
        Some((at, skip)) => (part.get(..at), part.get(at + skip..)),
        None => (Some(part), None),
    };
    let (head, content) = (head.unwrap_or_default(), content.unwrap_or_default());
    let (mut name, mut file, mut dispositions): (&[u8], Option<&[u8]>, usize) = (b"", None, 0);
    for line in head
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
    {
        let mut halves = line.splitn(2, |byte| *byte == b':');
        let field = halves.next().unwrap_or_default();
        let value = halves.next().map(<[u8]>::trim_ascii);
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        let lower = field.to_ascii_lowercase();
        let known = [
            &b"content-disposition"[..],
            b"content-type",
            b"content-length",
            b"content-transfer-encoding",
            b"content-id",
        ];
        let Some(value) = value.filter(|_| field.iter().all(token) && known.contains(&&*lower))
        else {
            inspection.note("protocol-multipart", P::NAME, b"");
            inspection.judge(P::VALUE, b"", line);
            continue;
        };
        if lower == b"content-disposition" {
            dispositions += 1;
            name = parameter(value, b"name").unwrap_or_default();
            file = parameter(value, b"filename").or(file);
        } else if lower == b"content-type" {
            let set = parameter(value, b"charset");
            if set.is_some_and(|set| !head::is_unicode(set)) {
                inspection.note("protocol-multipart", P::NAME, b"");
            }
            inspection.judge(P::HEADER, b"", value);
        } else if lower == b"content-transfer-encoding" {
            inspection.note("protocol-multipart", P::NAME, b"");
        }
    }
    let odd = |byte: &u8| b";'\"&\\=\0".contains(byte);
    if dispositions > 1 || name.iter().any(odd) || file.is_some_and(|file| file.iter().any(odd)) {
        inspection.note("protocol-multipart", P::NAME, b"");
    }
    inspection.judge(P::NAME, b"", name);
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    match file {
        Some(file) => {
            inspection.judge(P::FILE, b"", file);
            inspection.judge(P::DOCUMENT, b"", content);
        }
        None => inspection.field(name, content),
    }
}

/// The value of a parameter of a header field, without its quotes.
fn parameter<'a>(value: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = value;
    while let Some(at) = memchr::memchr(b';', rest) {
        rest = rest.get(at + 1..)?;
        let trimmed = rest.trim_ascii_start();
        let Some(start) = trimmed.get(..name.len()) else {
            continue;
        };
        let after = trimmed.get(name.len()..)?.trim_ascii_start();
        if !start.eq_ignore_ascii_case(name) || !after.starts_with(b"=") {
            continue;
        }
        let value = after.get(1..)?.trim_ascii_start();
        return Some(match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = memchr::memrchr(b'"', quoted.split(|byte| *byte == b'\n').next()?);
                let first = memchr::memmem::find(quoted, b"\"; ").or(end);
                quoted.get(..first.unwrap_or(quoted.len()))?
            }
            None => value.split(|byte| *byte == b';').next()?.trim_ascii(),
        });
    }
    None
}
