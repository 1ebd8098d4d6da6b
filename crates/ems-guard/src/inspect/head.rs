//! The head of a request: its method, its target, its header fields.

use super::{Inspection, Places, body, decode, rules::Places as P};

/// Methods that resources have.
const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY",
];
/// The longest name of a parameter.
const LONGEST_NAME: usize = 100;
/// The longest value of a parameter other than a cursor.
const LONGEST_VALUE: usize = 400;
/// The longest form, in bytes.
const LONGEST_FORM: usize = 64_000;
/// The most parameters.
const MOST_PARAMETERS: usize = 255;
/// The most ranges of bytes.
const MOST_RANGES: usize = 5;
/// Header fields whose values HTTP gives a form: looked into only where they have another.
const FORMED: [&str; 40] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "date",
    "dnt",
    "expect",
    "host",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "proxy-connection",
    "range",
    "sec-ch-ua-mobile",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "via",
    "x-request-id",
];

/// The head of a request, as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, or whatever stands in its place.
    pub path: &'a str,
    /// What follows the question mark.
    pub query: Option<&'a str>,
    /// Header fields, by their names in lower case.
    pub fields: &'a [(&'a str, &'a [u8])],
}

impl<'a> Head<'a> {
    fn field(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.fields.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| *value)
    }

    fn count(&self, name: &str) -> usize {
        self.fields
            .iter()
            .filter(|(other, _)| *other == name)
            .count()
    }
}

pub(super) fn judge(inspection: &mut Inspection<'_>, head: &Head<'_>) {
    if !METHODS.contains(&head.method) {
        inspection.note("protocol-method", P::HEADER, b"");
    }
    target(inspection, head);
    for (name, value) in head.fields {
        field(inspection, name, value);
    }
    contradictions(inspection, head);
}

fn target(inspection: &mut Inspection<'_>, head: &Head<'_>) {
    let raw = head.path.as_bytes();
    if !raw.starts_with(b"/") && raw != b"*" {
        inspection.note("protocol-target", P::PATH, b"");
    }
    escapes(inspection, P::PATH, raw);
    if !inspection.is_ours(raw) {
        inspection.judge(P::PATH, b"", &body::percent(raw));
    }
    if let Some(query) = head.query {
        escapes(inspection, P::VALUE, query.as_bytes());
        body::form(inspection, query.as_bytes(), true);
    }
}

/// What the escapes of a target or form give away by themselves.
pub(super) fn escapes(inspection: &mut Inspection<'_>, place: Places, raw: &[u8]) {
    if memchr::memchr(b'%', raw).is_none() && raw.is_ascii() {
        return;
    }
    let mut rest = raw;
    let mut broken = false;
    while let Some(at) = memchr::memchr(b'%', rest) {
        rest = rest.get(at + 1..).unwrap_or_default();
        match rest {
            [b'u' | b'U', a, b, c, d, ..]
                if [a, b, c, d].iter().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                inspection.note("protocol-encoding-wide", place, b"");
            }
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                if (*high, *low) == (b'2', b'5')
                    && rest
                        .get(2..4)
                        .is_some_and(|next| next.iter().all(u8::is_ascii_hexdigit))
                {
                    inspection.note("protocol-encoding-twice", place, b"");
                }
            }
            _ => broken = true,
        }
    }
    let decoded = decode::form(raw);
    if broken || std::str::from_utf8(&decoded).is_err() {
        inspection.note("protocol-encoding", place, b"");
    }
    if decoded.contains(&0) {
        inspection.note("protocol-nul", place, b"");
    } else if decoded
        .iter()
        .any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
    {
        inspection.note("protocol-control", place, b"");
    }
    let wide = |bytes: &[u8]| matches!(bytes, [0xef, 0xbc | 0xbd, ..] | [b'\\', b'u', b'0']);
    if decoded.windows(3).any(wide) {
        inspection.note("protocol-encoding-wide", place, b"");
    }
}

/// One parameter of a query.
pub(super) fn parameter(inspection: &mut Inspection<'_>, count: usize, name: &[u8], value: &[u8]) {
    let long = value.len() > LONGEST_VALUE && name != b"cursor";
    if long || name.len() > LONGEST_NAME || count >= MOST_PARAMETERS {
        inspection.note("protocol-parameters", P::NAME, b"");
    }
    if memchr::memchr2(b'\r', b'\n', name).is_some() {
        inspection.note("split-response", P::NAME, b"");
    }
}

/// A form as a whole.
pub(super) fn form(inspection: &mut Inspection<'_>, body: &[u8]) {
    if body.len() > LONGEST_FORM {
        inspection.note("protocol-parameters", P::NAME, b"");
    }
}

fn field(inspection: &mut Inspection<'_>, name: &str, value: &[u8]) {
    let place = match name {
        "authorization" | "x-api-key" | "proxy-authorization" => {
            return secret(inspection, name, value);
        }
        "cookie" => return cookies(inspection, value),
        "user-agent" => P::AGENT,
        "referer" => return referer(inspection, value),
        "x-filename" | "x-file-name" | "x_filename" | "x.filename" => {
            inspection.judge(P::FILE, name.as_bytes(), value);
            P::HEADER
        }
        _ if FORMED.contains(&name) && value.iter().copied().all(is_formed) => return,
        _ => P::HEADER,
    };
    if value.contains(&0) || memchr::memmem::find(value, b"%00").is_some() {
        inspection.note("protocol-nul", place, name.as_bytes());
    }
    inspection.repeated(place, name.as_bytes(), &decode::deep(value));
}

/// Bytes of lists, dates, media types, tags, numbers and addresses.
fn is_formed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" ,;=.*/+:_-[]".contains(&byte)
}

/// A credential is looked at for its form alone.
fn secret(inspection: &mut Inspection<'_>, name: &str, value: &[u8]) {
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/= :,".contains(byte);
    if !value.iter().all(token) {
        inspection.judge(P::HEADER, name.as_bytes(), value);
    }
}

fn referer(inspection: &mut Inspection<'_>, value: &[u8]) {
    if memchr::memmem::find(value, b"%00").is_some() || value.contains(&0) {
        inspection.note("protocol-nul", P::REFERER, b"referer");
    }
    inspection.repeated(P::REFERER, b"referer", &decode::form(value));
}

fn cookies(inspection: &mut Inspection<'_>, value: &[u8]) {
    if value.starts_with(b"$Version") {
        inspection.note("protocol-field", P::COOKIE, b"cookie");
    }
    for cookie in value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii) {
        let mut halves = cookie.splitn(2, |byte| *byte == b'=');
        let name = body::percent(halves.next().unwrap_or_default());
        let value = body::percent(halves.next().unwrap_or_default());
        inspection.judge(P::COOKIE, b"cookie", &name);
        inspection.judge(P::COOKIE, &name, &value);
    }
    // A semicolon may be a part of the attack.
    if memchr::memchr3(b'<', b'(', b'{', value).is_some() {
        inspection.judge(P::COOKIE, b"cookie", &body::percent(value));
    }
}

/// Fields that contradict each other, or that no honest client sends.
fn contradictions(inspection: &mut Inspection<'_>, head: &Head<'_>) {
    let odd = |inspection: &mut Inspection<'_>, name: &str| {
        inspection.note("protocol-field", P::HEADER, name.as_bytes());
    };
    let single = [
        "content-type",
        "host",
        "content-length",
        "transfer-encoding",
        "user-agent",
        "referer",
    ];
    for name in single.iter().filter(|name| head.count(name) > 1) {
        odd(inspection, name);
    }
    let lower = |name| head.field(name).map(<[u8]>::to_ascii_lowercase);
    if let Some(connection) = lower("connection") {
        let tokens = connection
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii);
        let ways = tokens.filter(|token| [&b"keep-alive"[..], b"close"].contains(token));
        if ways.count() > 1 {
            odd(inspection, "connection");
        }
    }
    if head.field("content-length").is_some() && head.field("transfer-encoding").is_some() {
        odd(inspection, "transfer-encoding");
    }
    if head
        .field("accept-encoding")
        .is_some_and(|value| value.len() > 100)
    {
        odd(inspection, "accept-encoding");
    }
    if let Some(accept) = lower("accept") {
        let sets = accept.split(|byte| *byte == b';' || *byte == b',');
        let other = sets.filter_map(|set| set.trim_ascii().strip_prefix(b"charset="));
        if other.map(unquote).any(|set| !is_unicode(set)) {
            odd(inspection, "accept");
        }
    }
    for name in [
        "proxy",
        "lock-token",
        "content-range",
        "if",
        "x-http-method-override",
        "x-method-override",
        "x-http-method",
        "request-range",
        "x-middleware-subrequest",
    ] {
        if head.field(name).is_some() {
            inspection.note("protocol-field-strange", P::HEADER, name.as_bytes());
        }
    }
    if let Some(range) = head.field("range") {
        ranges(inspection, range);
    }
    if let Some(media_type) = head.field("content-type") {
        body::media_type(inspection, media_type);
    }
}

fn unquote(text: &[u8]) -> &[u8] {
    text.trim_ascii()
        .strip_prefix(b"\"")
        .map_or(text, |text| text.strip_suffix(b"\"").unwrap_or(text))
}

pub(super) fn is_unicode(set: &[u8]) -> bool {
    let known: [&[u8]; 6] = [
        b"utf-8",
        b"utf8",
        b"us-ascii",
        b"iso-8859-1",
        b"iso-8859-15",
        b"windows-1252",
    ];
    known.contains(&&*unquote(set).to_ascii_lowercase())
}

fn ranges(inspection: &mut Inspection<'_>, value: &[u8]) {
    let Some(list) = value.strip_prefix(b"bytes=") else {
        return;
    };
    let number = |text: &[u8]| {
        std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok())
    };
    let mut count = 0;
    let mut backwards = false;
    for range in list.split(|byte| *byte == b',') {
        count += 1;
        let mut ends = range.splitn(2, |byte| *byte == b'-').map(number);
        if let (Some(Some(first)), Some(Some(last))) = (ends.next(), ends.next()) {
            backwards |= last < first;
        }
    }
    if backwards || count > MOST_RANGES {
        inspection.note("protocol-range", P::HEADER, b"range");
    }
}
