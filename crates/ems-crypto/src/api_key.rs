//! API keys: `ems_`, a public id of 8 characters, `_`, 43 random characters (256 bits) and a
//! checksum of 6, so that a scanner knows one without asking. Stored only as a keyed hash: the
//! entropy protects it, not stretching.

use std::fmt;

use data_encoding::BASE64;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    Error, Result,
    hash::{IndexKey, constant_time_eq},
    random,
    secret_file::write_new,
};

const PREFIX: &str = "ems_";
const ID: usize = 8;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;

/// An API key. Wiped from memory when dropped; prints nothing of itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new key with a random id.
    pub fn generate() -> Self {
        let body = format!("{PREFIX}{}_{}", random::base62(ID), random::base62(SECRET));
        let checksum = checksum(&body);
        Self(body + &checksum)
    }

    /// Reads a key; `None` for a text that has not its form or whose checksum is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let (id, secret) = rest.split_once('_')?;
        let base62 = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let shaped =
            id.len() == ID && secret.len() == SECRET + CHECKSUM && base62(id) && base62(secret);
        let (body, sum) = text.split_at_checked(text.len().checked_sub(CHECKSUM)?)?;
        (shaped && checksum(body) == sum).then(|| Self(text.to_owned()))
    }

    /// The public id.
    pub fn id(&self) -> &str {
        self.0
            .get(PREFIX.len()..PREFIX.len() + ID)
            .unwrap_or_default()
    }

    /// The whole key, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it: the pepper's version, then HMAC-SHA-256 under the pepper.
    pub fn hash(&self, pepper: &Pepper) -> Vec<u8> {
        let (version, key) = pepper.current();
        let mut stored = vec![*version];
        stored.extend_from_slice(&key.hash("api key", self.0.as_bytes()));
        stored
    }

    /// Whether it is the stored one, in constant time.
    pub fn matches(&self, pepper: &Pepper, stored: &[u8]) -> bool {
        let Some((version, hash)) = stored.split_first() else {
            return false;
        };
        let key = pepper.version(*version);
        key.is_some_and(|key| constant_time_eq(&key.hash("api key", self.0.as_bytes()), hash))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({PREFIX}{}_…)", self.id())
    }
}

/// CRC-32 of the text before it, in base62, six characters.
fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let digit = |_| {
        let digit = usize::try_from(rest % 62).unwrap_or(0);
        rest /= 62;
        random::BASE62.get(digit).copied().map_or('0', char::from)
    };
    let digits: Vec<char> = (0..CHECKSUM).map(digit).collect();
    digits.into_iter().rev().collect()
}

/// The secret that API keys are hashed under, in versions: the first makes, all verify.
#[derive(Clone)]
pub struct Pepper {
    current: (u8, IndexKey),
    older: Vec<(u8, IndexKey)>,
}

impl Pepper {
    /// Reads lines of `version:Base64`, the version a number to 255, the secret 32 bytes or more.
    ///
    /// # Errors
    /// [`Error::Form`]: nothing of the text is repeated.
    pub fn parse(text: &str) -> Result<Self> {
        let form = Error::Form(
            "a pepper is one or more lines of version:secret, the secret at least 32 bytes in Base64",
        );
        let line = |line: &str| {
            let (version, secret) = line.trim().split_once(':')?;
            let secret = Zeroizing::new(BASE64.decode(secret.as_bytes()).ok()?);
            (secret.len() >= 32).then_some((version.parse().ok()?, IndexKey::from_bytes(&secret)))
        };
        let mut keys = text
            .lines()
            .filter(|text| !text.trim().is_empty())
            .map(line);
        let current = keys.next().flatten();
        match (current, keys.collect::<Option<Vec<_>>>()) {
            (Some(current), Some(older)) => Ok(Self { current, older }),
            _ => Err(form),
        }
    }

    /// Writes a new random pepper of version 1 to a new file of mode 0600; durable when it returns.
    ///
    /// # Errors
    /// [`Error::Io`], also where the file exists.
    pub fn write_new(path: &std::path::Path) -> Result<()> {
        let secret = Zeroizing::new(random::bytes::<32>());
        write_new(
            path,
            Zeroizing::new(format!("1:{}\n", BASE64.encode(secret.as_slice()))).as_bytes(),
        )
    }

    fn current(&self) -> (&u8, &IndexKey) {
        (&self.current.0, &self.current.1)
    }

    fn version(&self, version: u8) -> Option<&IndexKey> {
        let all = std::iter::once(&self.current).chain(&self.older);
        all.into_iter()
            .find(|(known, _)| *known == version)
            .map(|(_, key)| key)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pepper(version {}, …)", self.current.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(versions: &[u8]) -> Pepper {
        let line = |version: &u8| format!("{version}:{}", BASE64.encode(&[*version; 32]));
        Pepper::parse(&versions.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap()
    }

    #[test]
    fn has_the_form_that_scanners_know() {
        let key = ApiKey::generate();
        assert_eq!(key.expose().len(), 4 + 8 + 1 + 43 + 6);
        assert_eq!(ApiKey::parse(key.expose()).unwrap().id(), key.id());
        assert!(!format!("{key:?}").contains(&key.expose()[13..]));
    }

    #[test]
    fn a_wrong_character_anywhere_is_no_key() {
        let key = ApiKey::generate();
        for at in 0..key.expose().len() {
            let mut text = key.expose().to_owned().into_bytes();
            text[at] = if text[at] == b'a' { b'b' } else { b'a' };
            assert!(
                ApiKey::parse(std::str::from_utf8(&text).unwrap()).is_none(),
                "{at}"
            );
        }
        assert!(ApiKey::parse("").is_none() && ApiKey::parse("ems_é").is_none());
    }

    #[test]
    fn an_older_pepper_still_verifies_and_a_dropped_one_does_not() {
        let key = ApiKey::generate();
        let stored = key.hash(&pepper(&[1]));
        assert!(key.matches(&pepper(&[2, 1]), &stored));
        assert!(!key.matches(&pepper(&[2]), &stored));
        assert!(!ApiKey::generate().matches(&pepper(&[1]), &stored));
    }

    #[test]
    fn a_short_or_broken_pepper_is_refused() {
        for text in ["", "1:", "1:c2hvcnQ=", "secret", "300:AAAA"] {
            assert!(Pepper::parse(text).is_err(), "{text}");
        }
    }
}
