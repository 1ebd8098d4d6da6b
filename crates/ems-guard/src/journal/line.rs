//! The form of a line: one JSON object in printable text, so that nothing from outside can end it
//! early, begin another, or turn a reader's display around.

use std::fmt::Write as _;

use serde::Serialize;

/// A value as one line, its line end included. `None` for what JSON cannot say (it can say all
/// that is logged).
pub(super) fn render(value: &impl Serialize) -> Option<Vec<u8>> {
    escape(serde_json::to_string(value).ok()?)
}

/// One line of a JSON object without line ends, its own line end included.
pub(super) fn escape(mut json: String) -> Option<Vec<u8>> {
    // Nearly every line: nothing in it misleads.
    if json.bytes().all(|byte| byte < 0x7f) {
        json.push('\n');
        return Some(json.into_bytes());
    }
    let mut line = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        // JSON leaves these as they are, and outside of strings there is none of them.
        if misleads(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").ok()?;
            }
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    Some(line.into_bytes())
}

/// Whether a character moves a display instead of being seen: delete and the C1 controls, line
/// and paragraph separators, marks of direction, invisible spaces, tags.
fn misleads(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// A text of at most `longest` characters, cut with a mark.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some((end, _)) => {
            let mut cut = text.get(..end).unwrap_or_default().to_owned();
            cut.push('…');
            cut
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_text_it_is_one_line_that_reads_back(text in any::<String>()) {
            let line = String::from_utf8(render(&text).unwrap()).unwrap();
            prop_assert_eq!(line.matches(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}', '\u{b}', '\u{c}']).count(), 1);
            prop_assert!(line.ends_with('\n'));
            prop_assert!(!line.trim_end().chars().any(|c| c.is_control() || misleads(c)));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }

    #[test]
    fn marks_that_turn_a_display_around_are_escaped() {
        let line = render(&"a\u{202e}b\u{9b}c\u{e0001}d").unwrap();
        let expected = "\"a\\u202eb\\u009bc\\udb40\\udc01d\"\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äöü…");
    }
}
