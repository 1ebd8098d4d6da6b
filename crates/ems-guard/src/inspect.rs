//! Inspection: whether what a request brings looks like an attack.
//!
//! A text is decoded within limits, then judged by where it stands: a parameter leaves no room for
//! the words of SQL, a field that people write in does. Each rule that finds something adds its
//! score once; the sum is held against a threshold. All matching is linear in what is read.

mod body;
mod decode;
mod factor;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod head;
mod matcher;
mod reference;
mod rules;
mod seen;
mod tally;
#[cfg(test)]
mod tests;

pub use self::{
    head::Head,
    reference::reference,
    rules::{CATEGORIES, Category, Rule, rule},
    tally::Report,
};
use self::{matcher::Matcher, rules::Places, seen::Seen, tally::Tally};

/// The names of fields that people write in.
const PROSE: [&str; 22] = [
    "location",
    "name",
    "address",
    "note",
    "notes",
    "comment",
    "comments",
    "description",
    "purpose",
    "remark",
    "remarks",
    "reason",
    "site",
    "city",
    "street",
    "message",
    "title",
    "text",
    "detail",
    "details",
    "label",
    "email",
];

/// The names of most parameters and fields that are sent to us.
const NAMES: [&str; 16] = [
    "start",
    "end",
    "limit",
    "cursor",
    "meter_id",
    "timestamp",
    "energy_consumption",
    "power_factor",
    "location",
    "prefix",
    "interval",
    "timezone",
    "atomic",
    "since",
    "until",
    "customer_id",
];

/// A rule that does not count somewhere. What is absent is everywhere.
#[derive(Debug, Clone)]
pub struct Allow {
    /// The rule.
    pub rule: &'static Rule,
    /// The template of a route.
    pub route: Option<String>,
    /// The name of a field, parameter or header field.
    pub field: Option<String>,
}

/// Judges requests.
#[derive(Debug)]
pub struct Inspector {
    allowed: Vec<Allow>,
    enough: u32,
    matcher: &'static Matcher,
    seen: Seen,
}

/// One request, being judged.
#[derive(Debug)]
pub struct Inspection<'a> {
    inspector: &'a Inspector,
    route: &'a str,
    tally: Tally,
    skipped: &'static [&'static str],
    known: bool,
}

impl Inspector {
    /// Judges without what is allowed, until a score of `enough` is reached: what would be found
    /// beyond changes nothing, and who sends much of it must not have us read it all.
    pub fn new(allowed: Vec<Allow>, enough: u32) -> Self {
        Self {
            allowed,
            enough,
            matcher: Matcher::shared(),
            seen: Seen::new(),
        }
    }

    /// Begins to judge a request for a route, by its template.
    pub fn begin<'a>(&'a self, route: &'a str) -> Inspection<'a> {
        Inspection {
            inspector: self,
            route,
            tally: Tally::default(),
            skipped: &[],
            known: false,
        }
    }
}

impl Inspection<'_> {
    /// Judges the head of the request.
    pub fn head(&mut self, head: &Head<'_>) {
        head::judge(self, head);
    }

    /// Judges a body of a media type, however broken.
    pub fn body(&mut self, media_type: Option<&[u8]>, body: &[u8]) {
        body::judge(self, media_type, body);
    }

    /// Judges the text of a field, by whether people write in it.
    pub fn text(&mut self, field: &str, text: &str) {
        self.field(field.as_bytes(), text.as_bytes());
    }

    /// Judges from here on as one judges a known caller, by the form of an attack alone: what it
    /// sends goes to a parser of its own, which names what is wrong with it.
    pub fn trust(&mut self) {
        self.known = true;
    }

    /// Leaves out fields that hold secrets: any text may be one.
    pub fn skip(&mut self, fields: &'static [&'static str]) {
        self.skipped = fields;
    }

    /// Notes that a method came with a body that has none.
    pub fn bodied(&mut self) {
        self.note("protocol-body", Places::HEADER, b"");
    }

    /// What was found, if anything.
    pub fn report(&self) -> Option<Report> {
        self.tally.report()
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        if self.skipped.iter().any(|secret| secret.as_bytes() == name) {
            return;
        }
        let place = if is_prose(name) {
            Places::PROSE
        } else {
            Places::VALUE
        };
        self.judge(place, name, value);
    }

    /// Judges what is likely the same in many requests.
    fn repeated(&mut self, place: Places, field: &[u8], text: &[u8]) {
        if self.inspector.seen.is_nothing(place, text) {
            return;
        }
        if self.judge(place, field, text) {
            self.inspector.seen.nothing(place, text);
        }
    }

    /// Judges a text; whether it is nothing to any rule, allowed or not.
    fn judge(&mut self, place: Places, field: &[u8], text: &[u8]) -> bool {
        if self.tally.score >= self.inspector.enough {
            return false;
        }
        if is_harmless(place, text) {
            return true;
        }
        let fields = Places::NAME.and(Places::VALUE);
        let place = if place.meets(fields) && self.known {
            Places::PROSE
        } else {
            place
        };
        let (inspector, route) = (self.inspector, self.route);
        let mut nothing = true;
        inspector.matcher.find(place, text, &mut |rule| {
            nothing = false;
            self.tally.add(rule, place, field, &|rule| {
                inspector
                    .allowed
                    .iter()
                    .any(|allow| allow.covers(rule, route, field))
            });
            self.tally.score < inspector.enough
        });
        nothing
    }

    /// Whether a path, as it was sent, is one of a route that we have, of which only ids are free.
    fn is_ours(&self, path: &[u8]) -> bool {
        self.route.len() > 1 && self.route.starts_with('/') && is_plain(path)
    }

    /// Notes a rule that code found.
    fn note(&mut self, id: &'static str, place: Places, field: &[u8]) {
        let (inspector, route) = (self.inspector, self.route);
        if let Some(index) = inspector.matcher.index(id) {
            self.tally.add(index, place, field, &|rule| {
                inspector
                    .allowed
                    .iter()
                    .any(|allow| allow.covers(rule, route, field))
            });
        }
    }
}

impl Allow {
    fn covers(&self, rule: &Rule, route: &str, field: &[u8]) -> bool {
        self.rule.id == rule.id
            && self.route.as_ref().is_none_or(|allowed| allowed == route)
            && self
                .field
                .as_ref()
                .is_none_or(|allowed| allowed.as_bytes().eq_ignore_ascii_case(field))
    }
}

fn is_prose(name: &[u8]) -> bool {
    PROSE
        .iter()
        .any(|prose| prose.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether a text is of a kind that leaves no room for an attack: a number or a time, or the name of
/// a parameter that we have.
fn is_harmless(place: Places, text: &[u8]) -> bool {
    match place {
        Places::NAME => NAMES.iter().any(|name| name.as_bytes() == text),
        Places::PATH => false,
        _ => is_number_or_time(text),
    }
}

/// Whether a path holds words, digits and what stands between them.
fn is_plain(path: &[u8]) -> bool {
    path.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(byte))
}

/// Digits, and the signs and letters of RFC 3339 each between two of them or at the end.
fn is_number_or_time(text: &[u8]) -> bool {
    let mut before = b'-';
    let mut sign = |byte: &u8| {
        let digit = byte.is_ascii_digit();
        let apart = before.is_ascii_digit() && b"-:.TZ+".contains(byte);
        before = *byte;
        digit || apart
    };
    text.iter().all(&mut sign)
}
