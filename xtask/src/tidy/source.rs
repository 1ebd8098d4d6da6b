//! A Rust file as the rules see it: its text, its code without comments and strings, and where its
//! tests begin; and the rules about a file's shape.

use super::Finding;

/// Longest file, not counting its tests.
const MAX_LINES: usize = 500;

/// A Rust file.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// The text with comments and the inside of strings blanked, line for line.
    pub(super) code: String,
    /// How many lines come before the tests.
    before_tests: usize,
}

impl Source {
    pub(super) fn new(path: &str, text: String) -> Self {
        let code = code_of(&text);
        let all_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        let before_tests = if all_tests {
            0
        } else {
            code.lines()
                .position(|line| line.trim_start().starts_with("#[cfg(test)]"))
                .unwrap_or_else(|| code.lines().count())
        };
        Self {
            path: path.to_owned(),
            text,
            code,
            before_tests,
        }
    }

    /// The lines of code before the tests, numbered from 1.
    pub(super) fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().take(self.before_tests)
    }

    /// The lines of code of the tests.
    pub(super) fn tests(&self) -> impl Iterator<Item = (usize, &str)> {
        self.numbered().skip(self.before_tests)
    }

    /// All lines of code.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code.lines())
    }
}

/// The rules about a file's shape.
pub(super) fn findings(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |line, message: String| {
        findings.push(Finding::new(&source.path, line, message));
    };
    if source.path.ends_with("/mod.rs") {
        say(
            0,
            "a module's file is named for it: foo.rs beside foo/".into(),
        );
    }
    if !source.text.starts_with("//!") {
        say(
            1,
            "open with `//!`: what the file is for, and why it is so".into(),
        );
    }
    if source.before_tests > MAX_LINES {
        let lines = source.before_tests;
        say(
            0,
            format!("{lines} lines without tests; split it below {MAX_LINES}"),
        );
    }
    findings
}

/// Blanks comments and the inside of strings and characters; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = blank_length(rest, code.chars().next_back());
        if blank == 0 {
            code.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        } else {
            let (skipped, after) = rest.split_at(blank);
            code.extend(skipped.chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = after;
        }
    }
    code
}

/// The length in bytes of the comment, string or character that `rest` begins with; 0 for code.
fn blank_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    let in_a_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_a_name || rest.starts_with('r') && before == Some('b') {
        return raw_string(rest);
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut pairs = rest.char_indices().zip(rest.chars().skip(1));
    while let Some(((at, one), two)) = pairs.next() {
        match (one, two) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => continue,
        }
        pairs.next();
        if depth == 0 {
            return at + 2;
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return at + quote.len_utf8();
        }
    }
    rest.len()
}

/// A character; a lifetime begins the same way and is code.
fn character(rest: &str) -> usize {
    let mut inside = rest.chars().skip(1);
    let first = inside.next();
    if first == Some('\\') || inside.next() == Some('\'') {
        quoted(rest, '\'')
    } else {
        0
    }
}

fn raw_string(rest: &str) -> usize {
    let hashes = rest.chars().skip(1).take_while(|c| *c == '#').count();
    let head = 1 + hashes;
    let Some(inside) = rest.get(head..).and_then(|text| text.strip_prefix('"')) else {
        return 0;
    };
    let end = format!("\"{}", "#".repeat(hashes));
    inside
        .find(&end)
        .map_or(rest.len(), |at| head + 1 + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        let found = findings(&Source::new(path, text.to_owned()));
        found.into_iter().map(|f| f.message).collect()
    }

    #[test]
    fn a_file_without_a_heading_is_named() {
        let found = messages("a/src/b.rs", "fn main() {}\n");
        assert!(found[0].starts_with("open with `//!`"), "{found:?}");
        assert_eq!(messages("a/src/b.rs", "//! What for.\n"), [""; 0]);
    }

    #[test]
    fn a_module_file_has_its_own_name() {
        assert_eq!(messages("a/src/b/mod.rs", "//! X.\n").len(), 1);
    }

    #[test]
    fn a_long_file_is_named_and_its_tests_do_not_count() {
        let lines = |n: usize| format!("//! X.\n{}", "fn f() {}\n".repeat(n - 1));
        let tests = format!("#[cfg(test)]\n{}", "\n".repeat(900));
        assert_eq!(messages("a/src/b.rs", &lines(501)).len(), 1);
        assert_eq!(messages("a/src/b.rs", &(lines(500) + &tests)), [""; 0]);
        assert_eq!(messages("a/src/b/tests.rs", &lines(900)), [""; 0]);
        assert_eq!(messages("a/tests/it/b.rs", &lines(900)), [""; 0]);
    }

    #[test]
    fn comments_strings_and_characters_are_not_code() {
        for (text, code) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("f(\"x\\\"y\") z", "f(      ) z"),
            ("r#\"a\"b\"# c", "         c"),
            ("br\"a\" c", "b     c"),
            ("'\\'' a", "     a"),
            ("'\"' a", "    a"),
            ("&'a str", "&'a str"),
            ("for r in x", "for r in x"),
            ("\"a\nb\" c", "  \n   c"),
        ] {
            assert_eq!(code_of(text), code, "{text}");
        }
    }

    #[test]
    fn the_tests_begin_at_their_attribute() {
        let source = Source::new("a.rs", "one\n// #[cfg(test)]\n#[cfg(test)]\ntwo".into());
        let product: Vec<_> = source.product().map(|(line, _)| line).collect();
        let tests: Vec<_> = source.tests().map(|(line, _)| line).collect();
        assert_eq!((product, tests), (vec![1, 2], vec![3, 4]));
    }
}
