//! The patterns of all rules as two automata, one for prose and one for everything else, and the
//! tokenisers beside them. Most texts hold nothing that either asks for, which is known in one pass.

use std::sync::LazyLock;

use regex_automata::{
    Input, MatchKind, PatternSet,
    meta::{Config, Regex},
    nfa::thompson::WhichCaptures,
    util::syntax,
};

use super::{
    decode,
    factor::factored,
    rules::{self, CATEGORIES, Places, Rule},
};

/// What an automaton may keep in memory, in bytes.
const CACHE: usize = 8 << 20;
/// What an automaton may be compiled to, in bytes.
const COMPILED: usize = 64 << 20;
/// Tokenisers read so much at a time, with some overlap: their time stays linear whatever it is
/// within.
const WINDOW: usize = 1024;
const OVERLAP: usize = 128;
/// The windows that are read of one text at most, and its last one.
const MOST_WINDOWS: usize = 16;
/// Patterns read so much at a time, of which they have read so much before: what spans more of a
/// text is no attack that anything would read.
const PART: usize = 4096;
const SHARED: usize = 512;
/// The rules that share an automaton at most.
const RULES_AT_ONCE: usize = 12;
/// Characters without which prose is nothing but prose.
const TELLING: &[u8] = b"'\"<>(){}[]$;|&%\\`=#*@^~/+\xc0\xc1\xe0\xef";

/// Hears of a rule, and says whether to go on.
pub(super) type Found<'a> = &'a mut dyn FnMut(usize) -> bool;

/// All rules, compiled.
#[derive(Debug)]
pub(super) struct Matcher {
    table: Vec<&'static Rule>,
    strict: Sets,
    agent: Sets,
    prose: Sets,
    telling: [bool; 256],
    sql: Option<usize>,
    script: Option<usize>,
}

/// Automata of some places, one for the rules of each category: together they would have states
/// without number.
#[derive(Debug)]
struct Sets(Vec<Set>);

#[derive(Debug)]
struct Set {
    patterns: Regex,
    /// The rule of each pattern.
    rules: Vec<usize>,
}

impl Sets {
    fn new(places: Places) -> Self {
        let mut first = 0;
        let mut sets = Vec::new();
        for category in CATEGORIES {
            for half in category.rules.chunks(RULES_AT_ONCE) {
                sets.extend(Set::new((first, half), places));
                first += half.len();
            }
        }
        Self(sets)
    }
}

impl Set {
    fn new((first, table): (usize, &[Rule]), places: Places) -> Option<Self> {
        let (mut rules, mut patterns) = (Vec::new(), Vec::new());
        for (index, rule) in table.iter().enumerate() {
            if rule.places.meets(places) && !rule.patterns.is_empty() {
                rules.push(first + index);
                patterns.push(factored(&rule.patterns.join("|")));
            }
        }
        let config = Config::new()
            .match_kind(MatchKind::All)
            .utf8_empty(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(COMPILED))
            .hybrid_cache_capacity(CACHE);
        let bytes = syntax::Config::new()
            .case_insensitive(true)
            .unicode(false)
            .utf8(false);
        let built = Regex::builder()
            .configure(config)
            .syntax(bytes)
            .build_many(&patterns);
        // A pattern that is none fails the first test of this crate.
        let patterns = built.ok().filter(|_| !rules.is_empty())?;
        Some(Self { patterns, rules })
    }

    /// The rules that find something in a part of a text.
    fn hits(&self, part: &Input<'_>) -> Vec<usize> {
        if !self.patterns.is_match(part.clone()) {
            return Vec::new();
        }
        let mut found = PatternSet::new(self.patterns.pattern_len());
        self.patterns.which_overlapping_matches(part, &mut found);
        let rule = |pattern: regex_automata::PatternID| self.rules.get(pattern.as_usize());
        found.iter().filter_map(rule).copied().collect()
    }
}

impl Matcher {
    /// The one of this process: it is the same for all, and dear to make.
    pub(super) fn shared() -> &'static Self {
        static SHARED: LazyLock<Matcher> = LazyLock::new(Matcher::new);
        &SHARED
    }

    fn new() -> Self {
        let table: Vec<_> = rules::all().collect();
        let place = |id| table.iter().position(|rule| rule.id == id);
        let document = Places::PROSE.and(Places::DOCUMENT);
        let mut telling = [false; 256];
        for (byte, tells) in (0_u8..=255).zip(&mut telling) {
            *tells = TELLING.contains(&byte) || byte.is_ascii_control();
        }
        Self {
            strict: Sets::new(Places::STRICT.without(Places::AGENT)),
            agent: Sets::new(Places::AGENT),
            prose: Sets::new(document),
            telling,
            sql: place("sql-tokens"),
            script: place("script-tokens"),
            table,
        }
    }

    /// The place of a rule in the table.
    pub(super) fn index(&self, id: &str) -> Option<usize> {
        self.table.iter().position(|rule| rule.id == id)
    }

    /// Whether every pattern is in its automaton.
    #[cfg(test)]
    pub(super) fn is_complete(&self) -> bool {
        let all = [
            (&self.strict, Places::STRICT.without(Places::AGENT)),
            (&self.agent, Places::AGENT),
            (&self.prose, Places::PROSE.and(Places::DOCUMENT)),
        ];
        all.into_iter().all(|(sets, places)| {
            let there = |rule: &&&Rule| rule.places.meets(places) && !rule.patterns.is_empty();
            let built: usize = sets.0.iter().map(|set| set.patterns.pattern_len()).sum();
            built == self.table.iter().filter(there).count()
        })
    }

    /// Calls `found` with each rule that finds something in a text, perhaps more than once, until it
    /// has heard enough and says `false`.
    pub(super) fn find(&self, place: Places, text: &[u8], found: Found<'_>) {
        let loose = place.meets(Places::PROSE.and(Places::DOCUMENT));
        let tells = |byte: &u8| {
            self.telling
                .get(usize::from(*byte))
                .copied()
                .unwrap_or(true)
        };
        if text.is_empty() {
            return;
        }
        if !loose || text.iter().any(tells) {
            let enough = self.views(place, text, loose, found).is_none();
            if enough {
                return;
            }
        }
        let words = memchr::memchr(b' ', text.trim_ascii()).is_some();
        if !words && let Some(text) = decode::base64(&decode::deep(text)) {
            self.views(place, &text, loose, found);
        }
    }

    /// A text as each of its receivers might read it; `None` once enough is found.
    fn views(&self, place: Places, text: &[u8], loose: bool, found: Found<'_>) -> Option<()> {
        let mut view = |text: &[u8]| self.view(place, text, found).then_some(());
        view(text)?;
        let deep = decode::deep(text);
        if *deep != *text {
            view(&deep)?;
        }
        for space in [Some(b' '), None] {
            if let Some(code) = decode::uncommented(&deep, space) {
                view(&code)?;
            }
        }
        // In prose a quote is a quote.
        if loose && memchr::memchr2(b'$', b'\\', &deep).is_none() {
            return Some(());
        }
        let words = decode::unquoted(&deep).filter(|words| **words != *deep);
        words.map_or(Some(()), |words| view(&words))
    }

    /// Whether to go on.
    fn view(&self, place: Places, text: &[u8], found: Found<'_>) -> bool {
        if is_sql(place, text) && windows(text).any(sql) {
            self.sql.into_iter().all(&mut *found);
        }
        if is_markup(text) && !place.meets(Places::DOCUMENT) && windows(text).any(script) {
            self.script.into_iter().all(&mut *found);
        }
        parts(text).all(|part| self.patterns(place, &part, found))
    }

    /// What the patterns find. Whether to go on.
    fn patterns(&self, place: Places, part: &Input<'_>, found: Found<'_>) -> bool {
        let loose = place.meets(Places::PROSE.and(Places::DOCUMENT));
        let sets = match place {
            _ if loose => &self.prose,
            Places::AGENT => &self.agent,
            _ => &self.strict,
        };
        let here = |index: &usize| {
            let rule = self.table.get(*index);
            rule.is_some_and(|rule| rule.places.meets(place))
        };
        let mut hits = sets.0.iter().flat_map(|set| set.hits(part));
        hits.by_ref().filter(here).all(found)
    }
}

/// Whether a text holds what every injection of SQL needs: a quote, a comment, or an operator
/// together with a word.
fn is_sql(place: Places, text: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    if place.meets(Places::DOCUMENT) {
        return false;
    }
    // Header fields quote their tokens.
    if place.meets(Places::AGENT.and(Places::HEADER)) {
        return memchr::memchr(b'\'', text).is_some() || has(b"--");
    }
    if memchr::memchr3(b'\'', b'"', b'`', text).is_some() || has(b"--") || has(b"/*") {
        return true;
    }
    let fields = !place.meets(Places::PATH.and(Places::REFERER).and(Places::PROSE));
    let operator = memchr::memchr3(b'(', b'=', b';', text).is_some()
        || memchr::memchr3(b'|', b'<', b'>', text).is_some();
    fields
        && operator
        && text
            .iter()
            .any(|byte| byte.is_ascii_whitespace() || *byte == b')')
}

/// Whether a text holds what every injection of script needs: a tag, or the end of an attribute.
fn is_markup(text: &[u8]) -> bool {
    memchr::memchr2(b'<', b'`', text).is_some()
        || (memchr::memchr(b'=', text).is_some()
            && text
                .iter()
                .any(|byte| byte.is_ascii_whitespace() || b"'\"/".contains(byte)))
}

fn sql(text: &[u8]) -> bool {
    libinjectionrs::detect_sqli(text).is_injection()
}

fn script(text: &[u8]) -> bool {
    libinjectionrs::detect_xss(text).is_injection()
}

/// A long text part by part, each with the end of the one before: one of them may be enough. Where a
/// part begins or ends, the text does not.
fn parts(text: &[u8]) -> impl Iterator<Item = Input<'_>> {
    let last = text.len().saturating_sub(SHARED).max(1);
    let starts = (0..last).step_by(PART - SHARED);
    starts.map(|start| Input::new(text).span(start..text.len().min(start.saturating_add(PART))))
}

/// The first windows of a text and its last: a tokeniser is dear, and patterns look at all of it.
fn windows(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let starts = (0..text.len()).step_by(WINDOW - OVERLAP);
    let last = text.len().saturating_sub(OVERLAP).max(1);
    let window = |start: usize| text.get(start..text.len().min(start.saturating_add(WINDOW)));
    let end = text.len().saturating_sub(WINDOW);
    let end = (end > MOST_WINDOWS * WINDOW).then_some(end);
    let starts = starts
        .take_while(move |start| *start < last)
        .take(MOST_WINDOWS);
    starts.chain(end).filter_map(window)
}
