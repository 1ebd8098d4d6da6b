//! Cursors of lists: where the next page begins, sealed with a MAC so that nobody can make one.
//!
//! A cursor is bound to the route, the caller and the rest of the query: one that was forged, cut,
//! or carried to another list is refused and never silently read as something else. It is opaque
//! to clients, but no secret: it names only what the page before it showed.

use data_encoding::BASE64URL_NOPAD;
use ems_crypto::hash::{IndexKey, constant_time_eq};

/// Longest text that is looked at.
const MAX_TEXT: usize = 256;
const MAC: usize = 16;

/// The list that a cursor belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding(Vec<u8>);

impl Binding {
    /// The list of a route's template, for a principal.
    pub fn new(route: &str, principal: &str) -> Self {
        Self(Vec::with_capacity(128)).with(route).with(principal)
    }

    /// Binds a further part of the query, such as a range's start, in a fixed order.
    #[must_use]
    pub fn with(mut self, part: impl AsRef<[u8]>) -> Self {
        let part = part.as_ref();
        // The length first: no two lists of parts run into each other.
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(part);
        self
    }

    fn mac(&self, key: &IndexKey, position: &[u8]) -> [u8; MAC] {
        let mut bound = self.0.clone();
        bound.extend_from_slice(position);
        key.token("cursor", &bound)
    }

    /// The text of the cursor of a position in this list.
    pub fn seal(&self, key: &IndexKey, position: &[u8]) -> String {
        let mut bytes = self.mac(key, position).to_vec();
        bytes.extend_from_slice(position);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// The position of a cursor; `None` for a text that was not sealed for this very list.
    pub fn open(&self, key: &IndexKey, text: &str) -> Option<Vec<u8>> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (mac, position) = bytes.split_at_checked(MAC)?;
        constant_time_eq(mac, &self.mac(key, position)).then(|| position.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use ems_crypto::seal::DataKey;
    use proptest::prelude::*;

    use super::*;

    fn key() -> IndexKey {
        IndexKey::derive(&DataKey::generate(), "cursor")
    }

    #[test]
    fn a_cursor_opens_only_for_the_list_it_was_made_for() {
        let key = key();
        let list = Binding::new("/api/v1/meters", "alice").with("plant7-");
        let cursor = list.seal(&key, b"plant7-a");
        assert_eq!(list.open(&key, &cursor).unwrap(), b"plant7-a");
        for foreign in [
            Binding::new("/api/v1/meters", "bob").with("plant7-"),
            Binding::new("/api/v1/keys", "alice").with("plant7-"),
            Binding::new("/api/v1/meters", "alice").with("plant8-"),
            Binding::new("/api/v1/meters", "alice"),
            Binding::new("/api/v1/meters", "alice")
                .with("plant7-")
                .with(""),
            Binding::new("/api/v1/metersa", "lice").with("plant7-"),
        ] {
            assert_eq!(foreign.open(&key, &cursor), None, "{foreign:?}");
        }
    }

    #[test]
    fn a_cursor_of_another_key_is_refused() {
        let list = Binding::new("/api/v1/meters", "alice");
        assert_eq!(list.open(&key(), &list.seal(&key(), b"m")), None);
    }

    proptest! {
        #[test]
        fn no_changed_cursor_opens(position in prop::collection::vec(any::<u8>(), 0..60), at: prop::sample::Index, to: u8) {
            let (key, list) = (key(), Binding::new("/r", "p"));
            let cursor = list.seal(&key, &position);
            prop_assert_eq!(list.open(&key, &cursor).unwrap(), position);
            let mut bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).unwrap();
            let place = at.index(bytes.len());
            prop_assume!(bytes[place] != to);
            bytes[place] = to;
            prop_assert_eq!(list.open(&key, &BASE64URL_NOPAD.encode(&bytes)), None);
        }

        #[test]
        fn arbitrary_text_is_refused(text in ".{0,300}") {
            prop_assert_eq!(Binding::new("/r", "p").open(&key(), &text), None);
        }
    }
}
