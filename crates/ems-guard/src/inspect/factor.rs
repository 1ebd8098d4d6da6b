//! Rewrites long lists of words in a pattern as a tree: `cat|chmod|chown` becomes
//! `c(?:at|h(?:mod|own))`.
//!
//! It finds the same, but at each byte an automaton then follows one branch for each letter instead
//! of one for each word, so that its states stay few and small whatever the text.

use std::collections::BTreeMap;

/// The same pattern, its lists as trees.
pub(super) fn factored(pattern: &str) -> String {
    join(alternatives(pattern).iter().map(|one| inner(one)).collect())
}

/// The alternatives of a pattern, those within groups left as they are.
fn alternatives(pattern: &str) -> Vec<&str> {
    let (mut found, mut start, mut depth) = (Vec::new(), 0_usize, 0_usize);
    let mut at = 0;
    while let Some(rest) = pattern.get(at..).filter(|rest| !rest.is_empty()) {
        let length = token(rest);
        match rest.as_bytes().first() {
            Some(b'(') => depth += 1,
            Some(b')') => depth = depth.saturating_sub(1),
            Some(b'|') if depth == 0 => {
                found.extend(pattern.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
        at += length;
    }
    found.extend(pattern.get(start..));
    found
}

/// The length of an escape, a class or a character.
fn token(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    match bytes.first() {
        Some(b'\\') if bytes.get(1) == Some(&b'x') => 4,
        Some(b'\\') => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
        Some(b'[') => {
            // A bracket right at the start, or behind the negation, is a character of the class.
            let mut at = 1 + usize::from(bytes.get(1) == Some(&b'^'));
            at += usize::from(bytes.get(at) == Some(&b']'));
            while let Some(byte) = bytes.get(at).filter(|byte| **byte != b']') {
                at += if *byte == b'\\' { 2 } else { 1 };
            }
            at + 1
        }
        _ => rest.chars().next().map_or(1, char::len_utf8),
    }
}

/// An alternative with the groups in it rewritten.
fn inner(alternative: &str) -> String {
    let mut out = String::with_capacity(alternative.len());
    let mut rest = alternative;
    while !rest.is_empty() {
        if let Some(group) = rest.strip_prefix("(?:")
            && let Some(end) = closing(group)
            && let (Some(content), Some(after)) = (group.get(..end), group.get(end + 1..))
        {
            out.push_str("(?:");
            out.push_str(&factored(content));
            out.push(')');
            rest = after;
        } else {
            let (head, tail) = rest.split_at_checked(token(rest)).unwrap_or((rest, ""));
            out.push_str(head);
            rest = tail;
        }
    }
    out
}

/// Where the group that a text is within ends.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        match rest.as_bytes().first()? {
            b'(' => depth += 1,
            b')' if depth == 0 => return Some(at),
            b')' => depth -= 1,
            _ => {}
        }
        at += token(rest);
    }
}

/// Alternatives as one pattern: those that begin with the same letter as one branch.
fn join(alternatives: Vec<String>) -> String {
    let mut branches: BTreeMap<char, Vec<String>> = BTreeMap::new();
    let mut others = Vec::new();
    for alternative in alternatives {
        match split(&alternative) {
            Some((first, rest)) => branches.entry(first).or_default().push(rest.to_owned()),
            None => others.push(alternative),
        }
    }
    for (first, rests) in branches {
        match &*rests {
            [rest] => others.push(format!("{first}{rest}")),
            _ => others.push(format!("{first}(?:{})", join(rests))),
        }
    }
    others.join("|")
}

/// A letter or digit at the start of a pattern that stands there once, and the rest.
fn split(pattern: &str) -> Option<(char, &str)> {
    let first = pattern
        .chars()
        .next()
        .filter(|first| first.is_ascii_alphanumeric() || *first == '_')?;
    let rest = pattern.get(1..)?;
    let repeated = rest.starts_with(['?', '*', '+', '{']);
    (!repeated).then(|| (first.to_ascii_lowercase(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_a_tree_and_what_is_no_list_stays() {
        for (given, expected) in [
            ("cat|chmod|chown", "c(?:at|h(?:mod|own))"),
            ("id|if", "i(?:d|f)"),
            ("ls|ls -l", "l(?:s(?:| -l))"),
            ("a?b|ac", "a?b|ac"),
            (r"[a|b]c|\|d|x", r"[a|b]c|\|d|x"),
            (r"(?:ab|ac)\s|z", r"(?:a(?:b|c))\s|z"),
            (r"[\]|]|(?:\x7c|b)", r"[\]|]|(?:\x7c|b)"),
        ] {
            assert_eq!(factored(given), expected, "{given}");
        }
    }
}
