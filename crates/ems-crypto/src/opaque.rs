//! Refresh tokens: opaque, `emsr_`, the session's id, `_` and 256 random bits. Stored as SHA-256.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    hash::{constant_time_eq, sha256},
    random,
};

const PREFIX: &str = "emsr_";
const SESSION: usize = 16;
const SECRET: usize = 43;

/// A refresh token. Wiped from memory when dropped; prints nothing of itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RefreshToken(String);

impl RefreshToken {
    /// A new session's id.
    pub fn new_session_id() -> String {
        random::base62(SESSION)
    }

    /// A new token of a session.
    pub fn generate(session_id: &str) -> Self {
        let secret = Zeroizing::new(random::base62(SECRET));
        Self([PREFIX, session_id, "_", &secret].concat())
    }

    /// Reads a token; `None` for a text that has not its form.
    pub fn parse(text: &str) -> Option<Self> {
        let (session, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let base62 = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let shaped =
            session.len() == SESSION && secret.len() == SECRET && base62(session) && base62(secret);
        shaped.then(|| Self(text.to_owned()))
    }

    /// The id of its session.
    pub fn session_id(&self) -> &str {
        self.0
            .get(PREFIX.len()..PREFIX.len() + SESSION)
            .unwrap_or_default()
    }

    /// The whole token.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }

    /// Whether it is the stored one, in constant time.
    pub fn matches(&self, stored: &[u8]) -> bool {
        constant_time_eq(&self.hash(), stored)
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefreshToken({PREFIX}{}_…)", self.session_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_its_session_and_matches_itself_alone() {
        let session = RefreshToken::new_session_id();
        let token = RefreshToken::generate(&session);
        let back = RefreshToken::parse(token.expose()).unwrap();
        assert_eq!(back.session_id(), session);
        assert!(back.matches(&token.hash()));
        assert!(!RefreshToken::generate(&session).matches(&token.hash()));
        assert!(!token.matches(&token.hash()[1..]) && !token.matches(&[]));
    }

    #[test]
    fn refuses_every_other_form() {
        let token = RefreshToken::generate("0123456789abcdef");
        let text = token.expose();
        assert_eq!(text.len(), 5 + 16 + 1 + 43);
        for wrong in [
            "",
            "emsr_",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
            &format!(" {text}"),
            &text.replace("emsr", "emsR"),
            &text.replace("0123", "012."),
            &text.replace("0123", "01é"),
        ] {
            assert!(RefreshToken::parse(wrong).is_none(), "{wrong}");
        }
        assert_eq!(
            format!("{token:?}"),
            "RefreshToken(emsr_0123456789abcdef_…)"
        );
    }
}
