//! API keys: `ems_`, a public id of 8 characters, `_`, 43 random characters (256 bits) and a
//! checksum of 6, so that a scanner knows one without asking. Stored only as a keyed hash: the
//! entropy protects it, not stretching.

use std::{collections::BTreeSet, fmt};

use data_encoding::BASE64;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    Error, Result,
    hash::{IndexKey, constant_time_eq},
    random,
    secret_file::write_new_secret_file,
};

const PREFIX: &str = "ems_";
const ID: usize = 8;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
const LENGTH: usize = PREFIX.len() + ID + 1 + SECRET + CHECKSUM;

/// An API key. Wiped from memory when dropped; prints nothing of itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ApiKey(String);

impl ApiKey {
    /// A new key with a random id.
    pub fn generate() -> Self {
        // Room for all of it at once: a text that grows leaves copies behind.
        let mut key = Self(String::with_capacity(LENGTH));
        key.0.push_str(PREFIX);
        key.0.push_str(&random::base62(ID));
        key.0.push('_');
        key.0.push_str(&Zeroizing::new(random::base62(SECRET)));
        let checksum = checksum(&key.0);
        key.0.push_str(&checksum);
        key
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
        pepper.hash("api key", self.0.as_bytes())
    }

    /// Whether it is the stored one, in constant time.
    pub fn matches(&self, pepper: &Pepper, stored: &[u8]) -> bool {
        pepper.matches("api key", self.0.as_bytes(), stored)
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

/// The secret that API keys and recovery codes are hashed under, in versions: the first makes, all verify.
#[derive(Clone)]
pub struct Pepper {
    current: (u8, IndexKey),
    older: Vec<(u8, IndexKey)>,
}

impl Pepper {
    /// Reads lines of `version:Base64`, the version a number to 255 that stands in one line alone,
    /// the secret 32 bytes or more.
    ///
    /// # Errors
    /// [`Error::Form`]: nothing of the text is repeated.
    pub fn parse(text: &str) -> Result<Self> {
        let form = Error::Form(
            "a pepper is one or more lines of version:secret, each version once, the secret at least 32 bytes in Base64",
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
        let (Some(current), Some(older)) = (current, keys.collect::<Option<Vec<_>>>()) else {
            return Err(form);
        };
        let pepper = Self { current, older };
        let mut seen = BTreeSet::new();
        if pepper.all().all(|(version, _)| seen.insert(*version)) {
            Ok(pepper)
        } else {
            Err(form)
        }
    }

    /// Writes a new random pepper of version 1 to a new file of mode 0600; durable when it returns.
    ///
    /// # Errors
    /// [`Error::Io`], also where the file exists.
    pub fn write_new(path: &std::path::Path) -> Result<()> {
        let secret = Zeroizing::new(random::bytes::<32>());
        let secret = Zeroizing::new(BASE64.encode(secret.as_slice()));
        let line = Zeroizing::new(["1:", &secret, "\n"].concat());
        write_new_secret_file(path, line.as_bytes())
    }

    /// A key for another purpose, of the newest version: the same in every process that has it.
    pub fn derive(&self, purpose: &str) -> IndexKey {
        IndexKey::from_bytes(&self.current.1.hash("derive", purpose.as_bytes()))
    }

    /// The newest version, then the keyed hash of a value within a domain.
    pub(crate) fn hash(&self, domain: &str, value: &[u8]) -> Vec<u8> {
        let (version, key) = self.current();
        let mut stored = vec![*version];
        stored.extend_from_slice(&key.hash(domain, value));
        stored
    }

    /// Whether a value is the hashed one, by the version that it was hashed under; in constant time.
    pub(crate) fn matches(&self, domain: &str, value: &[u8], stored: &[u8]) -> bool {
        let Some((version, hash)) = stored.split_first() else {
            return false;
        };
        let key = self.version(*version);
        key.is_some_and(|key| constant_time_eq(&key.hash(domain, value), hash))
    }

    fn current(&self) -> (&u8, &IndexKey) {
        (&self.current.0, &self.current.1)
    }

    fn version(&self, version: u8) -> Option<&IndexKey> {
        self.all()
            .find(|(known, _)| *known == version)
            .map(|(_, key)| key)
    }

    fn all(&self) -> impl Iterator<Item = &(u8, IndexKey)> {
        std::iter::once(&self.current).chain(&self.older)
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pepper(version {}, …)", self.current.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// The checksum and the hash were worked out apart, with zlib and HMAC of Python.
    #[test]
    fn agrees_with_figures_worked_out_apart() {
        let text = "ems_Ab3dEf7h_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1KlB0i";
        let key = ApiKey::parse(text).unwrap();
        assert_eq!((key.id(), key.expose()), ("Ab3dEf7h", text));
        let pepper = Pepper::parse(&format!("3:{}", BASE64.encode(&[9; 32]))).unwrap();
        let stored = data_encoding::HEXLOWER.encode(&key.hash(&pepper));
        assert_eq!(
            stored,
            "033c908214a8da60f3af1fbd0c6937b944e8ba99b1d57bd585657a220eec423956"
        );
    }

    #[test]
    fn a_stored_hash_that_is_cut_or_changed_does_not_match() {
        let (key, pepper) = (ApiKey::generate(), pepper(&[1]));
        let stored = key.hash(&pepper);
        assert!(key.matches(&pepper, &stored));
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            assert!(!key.matches(&pepper, &changed), "{at}");
            assert!(!key.matches(&pepper, &stored[..at]), "{at}");
        }
    }

    #[test]
    fn a_written_pepper_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pepper");
        Pepper::write_new(&path).unwrap();
        let text = crate::read_secret_file(&path).unwrap();
        let pepper = Pepper::parse(std::str::from_utf8(&text).unwrap()).unwrap();
        assert_eq!(format!("{pepper:?}"), "Pepper(version 1, …)");
    }

    proptest! {
        #[test]
        fn a_text_is_a_key_only_in_its_one_form(text in "(ems_)?[0-9A-Za-z_é]{0,60}") {
            if let Some(key) = ApiKey::parse(&text) {
                prop_assert_eq!(key.expose(), text);
                prop_assert_eq!(key.expose().len(), LENGTH);
            }
        }
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
        let good = BASE64.encode(&[1; 32]);
        let (twice, big) = (format!("1:{good}\n1:{good}"), format!("256:{good}"));
        for text in ["", "1:", "1:c2hvcnQ=", "secret", &good, &twice, &big] {
            let error = Pepper::parse(text).unwrap_err().to_string();
            assert!(!error.contains(&good), "{error}");
        }
    }
}
