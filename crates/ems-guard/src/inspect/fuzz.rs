//! Fuzz targets: no bytes make the inspection fall, differ from one look to the next, or take more
//! than linear time.

use std::{borrow::Cow, sync::LazyLock};

use data_encoding::BASE64;
use ems_fuzz::{Input, linear};

use super::{Head, Inspection, Inspector, decode, rule};

/// Media types of bodies, one for each way of taking a body apart.
const MEDIA_TYPES: [Option<&str>; 8] = [
    None,
    Some("application/json"),
    Some("application/x-www-form-urlencoded"),
    Some("text/csv"),
    Some("multipart/form-data; boundary=b"),
    Some("application/xml"),
    Some("text/plain"),
    Some("application/x-ndjson"),
];
/// The most fields of a head.
const MOST_FIELDS: usize = 64;
/// Fields of which each is looked into in a way of its own.
const LONG_FIELDS: [&str; 8] = [
    "accept",
    "authorization",
    "content-type",
    "cookie",
    "range",
    "referer",
    "user-agent",
    "x-filename",
];
/// The longest place that a report names.
const LONGEST_PLACE: usize = 64;

static INSPECTOR: LazyLock<Inspector> = LazyLock::new(|| Inspector::new(Vec::new(), u32::MAX));

/// Each way of undoing escapes: gives no more than it took, knows its own encodings, and leaves
/// alone what has none.
///
/// # Panics
/// Where that does not hold.
pub fn decoder(data: &[u8]) {
    linear(data, |data| {
        for decoded in views(data) {
            // `$SHELL` is read as one byte more than it takes.
            assert!(decoded.len() <= data.len() + data.len() / 6);
        }
        let plain = data.iter().all(u8::is_ascii_alphanumeric);
        assert!(!plain || *decode::deep(data) == *data && *decode::form(data) == *data);
    });
    let escaped = data.iter().flat_map(|byte| {
        let [high, low] = [byte >> 4, byte & 0x0f].map(|half| char::from_digit(half.into(), 16));
        ['%', high.unwrap_or('0'), low.unwrap_or('0')]
    });
    let escaped: String = escaped.collect();
    assert_eq!(*decode::form(escaped.as_bytes()), *data);
    let printed = data.iter().all(|byte| (b' '..b'\x7f').contains(byte));
    if printed {
        let packed = BASE64.encode(data);
        let unpacked = decode::base64(packed.as_bytes());
        assert!(packed.len() < 12 || unpacked.as_deref() == Some(data));
        let lead = |byte: &u8| b"%&\\+".contains(byte);
        let hidden = escaped.replace('%', "%2525");
        assert!(data.iter().any(lead) || *decode::deep(hidden.as_bytes()) == *data);
    }
}

/// What each way of undoing escapes makes of a text.
fn views(data: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let others = [
        decode::base64(data),
        decode::uncommented(data, None),
        decode::uncommented(data, Some(b' ')),
        decode::unquoted(data),
    ];
    [decode::form(data), decode::deep(data)]
        .into_iter()
        .chain(others.into_iter().flatten().map(Cow::Owned))
}

/// A head: the request line, then a field a line.
///
/// # Panics
/// Where [`judged`] does.
pub fn head(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    judged(data, |inspection, data| {
        head_of(&String::from_utf8_lossy(data), |head| inspection.head(head));
    });
    // What is long is mostly one text, in one place.
    let longest = text.lines().max_by_key(|line| line.len());
    let place = LONG_FIELDS.get(data.len() % (LONG_FIELDS.len() + 2));
    linear(longest.unwrap_or_default().as_bytes(), |text| {
        let target = String::from_utf8_lossy(text);
        let (path, query) = match place {
            None if data.len().is_multiple_of(2) => (&*target, None),
            None => ("/", Some(&*target)),
            Some(_) => ("/", None),
        };
        let field = place.map(|name| (*name, text));
        INSPECTOR.begin("/").head(&Head {
            method: "GET",
            path,
            query,
            fields: field.as_slice(),
        });
    });
}

/// Reads a text as a head.
fn head_of(text: &str, judge: impl FnOnce(&Head<'_>)) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let fields: Vec<_> = rest
        .lines()
        .take(MOST_FIELDS)
        .map(|line| line.split_once(':').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_start()))
        .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    judge(&Head {
        method,
        path,
        query,
        fields: &fields,
    });
}

/// A body: one byte for its media type (from 128 on the first line says it), then the body.
///
/// # Panics
/// Where [`judged`] does.
pub fn body(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let media_type = if kind < 128 {
        let at = usize::from(kind) % MEDIA_TYPES.len();
        MEDIA_TYPES.get(at).copied().flatten().map(str::as_bytes)
    } else {
        input.line()
    };
    judged(input.rest(), |inspection, body| {
        inspection.body(media_type, body);
    });
}

/// Judges as a stranger's and as a known caller's: twice the same, in linear time; what is found of a
/// known caller is something of a stranger too; the report says what the rules say and repeats nothing.
fn judged(data: &[u8], judge: impl Fn(&mut Inspection<'_>, &[u8])) {
    let look = |data: &[u8], known: bool| {
        let mut inspection = INSPECTOR.begin("/");
        if known {
            inspection.trust();
        }
        judge(&mut inspection, data);
        inspection.report()
    };
    let mut looks = Vec::new();
    linear(data, |data| looks.push(look(data, false)));
    let stranger = looks.into_iter().next().flatten();
    assert_eq!(stranger, look(data, false), "two looks at the same");
    let known = look(data, true);
    assert!(
        known.is_none() || stranger.is_some(),
        "{known:?}, and nothing of a stranger"
    );
    for report in [stranger, known].into_iter().flatten() {
        let scores = report.rules.iter().filter_map(|id| rule(id));
        assert_eq!(scores.map(|rule| rule.score).sum::<u32>(), report.score);
        assert!(report.form <= report.score && report.score > 0);
        assert!(report.place.len() <= LONGEST_PLACE && !report.place.contains(char::is_control));
    }
}
