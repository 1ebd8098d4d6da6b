//! Syslog messages (RFC 5424): a header, one element of structured data, a text. Whatever comes from
//! outside, it can neither end its field nor begin a line.

use std::fmt::Write as _;

use ems_core::time::Timestamp;

/// The most that a datagram holds (RFC 5426, 3.2: receivers should take it).
const DATAGRAM: usize = 2048;
/// The structured data's id. The number is the one that RFC 5612 sets aside for documentation.
const ELEMENT: &str = "ems@32473";

/// Facilities (RFC 5424, table 1).
#[derive(Debug, Clone, Copy)]
pub(super) enum Facility {
    /// Security and authorization, private.
    Security = 10,
    /// Audit.
    Audit = 13,
}

/// A message to be.
pub(super) struct Message<'a> {
    pub(super) facility: Facility,
    /// 0 emergency … 7 debug.
    pub(super) severity: u8,
    pub(super) at: Timestamp,
    pub(super) host: &'a str,
    /// What kind of message: fixed text of ours.
    pub(super) kind: &'a str,
    pub(super) fields: &'a [(&'a str, &'a str)],
    pub(super) text: &'a str,
}

impl Message<'_> {
    /// The message, without framing.
    pub(super) fn render(&self) -> String {
        let facility: u8 = match self.facility {
            Facility::Security => 10,
            Facility::Audit => 13,
        };
        let priority = facility * 8 + self.severity.min(7);
        let host = if self.host.is_empty() { "-" } else { self.host };
        let (at, kind) = (self.at, self.kind);
        let process = std::process::id();
        let mut line = format!("<{priority}>1 {at} {host} ems {process} {kind} [{ELEMENT}");
        for (name, value) in self.fields {
            // Writing to a text cannot fail.
            let _ = write!(line, " {name}=\"");
            for character in value.chars() {
                match character {
                    '"' | '\\' | ']' => line.extend(['\\', character]),
                    _ => line.push(visible(character)),
                }
            }
            line.push('"');
        }
        line.push_str("] ");
        line.extend(self.text.chars().map(visible));
        line
    }
}

/// A character that ends no line and turns no display around.
fn visible(character: char) -> char {
    if character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}')
    {
        '?'
    } else {
        character
    }
}

/// With its length before it (RFC 6587, 3.4.1; RFC 5425, 4.3), for a stream.
pub(super) fn framed(message: &str) -> Vec<u8> {
    let mut frame = format!("{} ", message.len()).into_bytes();
    frame.extend_from_slice(message.as_bytes());
    frame
}

/// Cut to what a datagram holds, between characters.
pub(super) fn datagram(message: &str) -> &str {
    let mut end = message.len().min(DATAGRAM);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(fields: &[(&str, &str)], text: &str) -> String {
        let message = Message {
            facility: Facility::Audit,
            severity: 3,
            at: Timestamp::parse("2026-01-01T00:00:00.5Z").unwrap(),
            host: "plant7",
            kind: "alert",
            fields,
            text,
        };
        message.render()
    }

    #[test]
    fn has_the_fields_of_rfc_5424() {
        let process = std::process::id();
        assert_eq!(
            message(&[("user", "ada"), ("rule", "a]b")], "hello"),
            format!(
                "<107>1 2026-01-01T00:00:00.5Z plant7 ems {process} alert \
                 [ems@32473 user=\"ada\" rule=\"a\\]b\"] hello"
            )
        );
        assert_eq!(framed("héllo"), "6 héllo".as_bytes());
    }

    #[test]
    fn a_datagram_is_cut_between_characters() {
        let long = "é".repeat(2000);
        assert_eq!(datagram(&long).len(), 2048);
        assert_eq!(datagram(&format!("a{long}")).len(), 2047);
        assert_eq!(datagram("short"), "short");
    }

    proptest! {
        #[test]
        fn text_from_outside_ends_neither_its_field_nor_the_line(value in any::<String>()) {
            let line = message(&[("user", &value), ("rule", "r")], &value);
            prop_assert!(!line.chars().any(char::is_control));
            // Read as RFC 5424 says: a value ends at the first quote without a backslash before it.
            let rest = line.split_once(" user=\"").unwrap().1;
            let (mut read, mut characters) = (String::new(), rest.chars());
            loop {
                match characters.next().unwrap() {
                    '\\' => read.push(characters.next().unwrap()),
                    '"' => break,
                    ']' => panic!("an element that ends within a value: {line}"),
                    other => read.push(other),
                }
            }
            prop_assert_eq!(read, value.chars().map(visible).collect::<String>());
            prop_assert!(characters.as_str().starts_with(" rule=\"r\"] "));
        }
    }
}
