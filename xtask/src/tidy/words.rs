//! Words that must not stand in a Rust file: unfinished work, silenced lints, skipped tests, sleeps.
//!
//! The words are put together here, so that a plain search of the tree for them finds nothing.

use super::Finding;
use super::source::Source;

const UNFINISHED: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
];

/// A piece of code that is refused, and what to do instead.
type Refused = (&'static str, &'static str);

const IN_CODE: [Refused; 6] = [
    (concat!("to", "do!"), "finish it, or leave it out"),
    (concat!("unimplemented", "!"), "finish it, or leave it out"),
    (concat!("db", "g!"), "take it out"),
    (concat!("#[al", "low("), "use #[expect(…, reason = \"…\")]"),
    (concat!("#![al", "low("), "use #[expect(…, reason = \"…\")]"),
    (concat!("#[ig", "nore"), "a test runs, or it is not there"),
];

const IN_TESTS: Refused = (
    concat!("thread::", "sleep"),
    "wait for what the test waits for; it must not depend on time",
);

/// The places with a refused word.
pub(super) fn findings(source: &Source) -> Vec<Finding> {
    let unfinished = (1..).zip(source.text.lines()).filter_map(|(line, text)| {
        let word = UNFINISHED.iter().find(|word| has_word(text, word))?;
        Some((line, format!("`{word}`: finish it, or file it")))
    });
    let in_code = source
        .numbered()
        .flat_map(|(line, code)| refused(line, code, &IN_CODE));
    let in_tests = source
        .tests()
        .flat_map(|(line, code)| refused(line, code, &[IN_TESTS]));
    unfinished
        .chain(in_code)
        .chain(in_tests)
        .map(|(line, message)| Finding::new(&source.path, line, message))
        .collect()
}

fn refused(line: usize, code: &str, list: &[Refused]) -> Vec<(usize, String)> {
    list.iter()
        .filter(|(word, _)| has_word(code, word))
        .map(|(word, instead)| (line, format!("`{word}`: {instead}")))
        .collect()
}

/// Whether `word` stands in `text` and no longer name begins or ends with it.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    let name_at_start = word.starts_with(in_name);
    let name_at_end = word.ends_with(in_name);
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|head| head.chars().next_back());
        let after = text
            .get(at + word.len()..)
            .and_then(|tail| tail.chars().next());
        let longer_before = name_at_start && before.is_some_and(in_name);
        let longer_after = name_at_end && after.is_some_and(in_name);
        !longer_before && !longer_after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let source = Source::new("a/src/b.rs", text.to_owned());
        findings(&source).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn unfinished_work_is_named_in_comments_too() {
        for word in UNFINISHED {
            assert_eq!(lines(&format!("//! X.\n// {word}: later\n")), [2]);
            assert_eq!(lines(&format!("//! X.\n// {word}ISH\n")), [0; 0]);
        }
    }

    #[test]
    fn refused_code_is_named_and_talk_of_it_is_not() {
        for (word, _) in IN_CODE {
            assert_eq!(lines(&format!("//! X.\n{word}")), [2], "{word}");
            assert_eq!(lines(&format!("//! X.\n// `{word}`")), [0; 0], "{word}");
        }
    }

    #[test]
    fn a_test_that_sleeps_is_named_and_a_program_that_does_is_not() {
        let sleep = format!("std::{}(second);\n", IN_TESTS.0);
        assert_eq!(lines(&format!("//! X.\n{sleep}#[cfg(test)]\n{sleep}")), [4]);
    }

    #[test]
    fn a_word_is_not_part_of_a_name() {
        assert!(has_word("use bcrypt::hash", "bcrypt"));
        assert!(!has_word("verify_bcrypt(key)", "bcrypt"));
        assert!(!has_word("bcrypted", "bcrypt"));
        assert!(has_word("verify_bcrypt; bcrypt", "bcrypt"));
    }
}
