//! Hashes: plain (SHA-256), and keyed ones by which things are found without being named.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use zeroize::Zeroizing;

use crate::seal::DataKey;

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// SHA-256 of bytes that come in pieces.
pub struct Sha256(digest::Context);

impl Sha256 {
    /// Begins.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Ends.
    pub fn finish(self) -> [u8; 32] {
        to_array(self.0.finish().as_ref())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn to_array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    array
}

/// Compares in a time that does not depend on where the values differ.
pub fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// A key of keyed hashes (HMAC-SHA-256, RFC 2104), prepared once. Cheap to clone.
#[derive(Clone)]
pub struct IndexKey(hmac::Key);

impl IndexKey {
    /// Derives a key for a purpose by HKDF-SHA-256 (RFC 5869): two purposes give unrelated keys.
    pub fn derive(from: &DataKey, purpose: &str) -> Self {
        Self::from_bytes(derive(from.expose(), purpose).as_slice())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The full hash of a value within a domain.
    pub fn hash(&self, domain: &str, value: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        // The domain's length first: no domain and value run into another pair.
        context.update(
            &u64::try_from(domain.len())
                .unwrap_or(u64::MAX)
                .to_le_bytes(),
        );
        context.update(domain.as_bytes());
        context.update(value);
        to_array(context.sign().as_ref())
    }

    /// The hash cut to 128 bits: for keys of a store.
    pub fn token(&self, domain: &str, value: &[u8]) -> [u8; 16] {
        to_array(&self.hash(domain, value))
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey(…)")
    }
}

/// Signs messages for somebody who has the same secret (HMAC-SHA-256, RFC 2104).
#[derive(Clone)]
pub struct Signer(hmac::Key);

impl Signer {
    /// A signer with a shared secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The signature of a message that comes in parts, as of one.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        to_array(context.sign().as_ref())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// 32 bytes derived from a key for a purpose (HKDF-SHA-256, RFC 5869).
#[expect(
    clippy::expect_used,
    reason = "HKDF-SHA-256 gives up to 8,160 bytes; a key of zeros must never pass for one"
)]
fn derive(key: &[u8], purpose: &str) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"ems-agent");
    let info = [purpose.as_bytes()];
    salt.extract(key)
        .expand(&info, Length(32))
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .expect("32 bytes are within HKDF's bound");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc_is_fips_180_4s_example() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(data_encoding::HEXLOWER.encode(&sha256(b"abc")), expected);
        let mut pieces = Sha256::new();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(pieces.finish(), sha256(b"abc"));
    }

    /// The figures were worked out apart, with HMAC of Python's standard library. They are on disk:
    /// a change of them loses everything that is found by a token.
    #[test]
    fn derived_keys_and_tokens_keep_their_values() {
        let bytes = std::array::from_fn(|at| u8::try_from(at).unwrap());
        assert_eq!(
            data_encoding::HEXLOWER.encode(derive(&bytes, "test").as_slice()),
            "016996eb796a6abf6dc6da86dca2cc822740579a81186c9897830db005d21d71"
        );
        let key = IndexKey::derive(&DataKey::from_bytes(bytes), "test");
        assert_eq!(
            data_encoding::HEXLOWER.encode(&key.token("meter", b"m1")),
            "3e55d23652e5611fc60d37c2e3539dfe"
        );
        assert_eq!(format!("{key:?}"), "IndexKey(…)");
    }

    #[test]
    fn a_signature_is_rfc_4231s_example_however_the_message_is_cut() {
        // RFC 4231, test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let signer = Signer::new(b"Jefe");
        for parts in [
            &[b"what do ya want for nothing?".as_slice()][..],
            &[b"what do ya want ".as_slice(), b"for nothing?"],
        ] {
            assert_eq!(
                data_encoding::HEXLOWER.encode(&signer.sign(parts)),
                expected
            );
        }
        assert_eq!(format!("{signer:?}"), "Signer(…)");
    }

    #[test]
    fn equal_means_the_same_bytes_and_length() {
        assert!(constant_time_eq(b"", b"") && constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd") && !constant_time_eq(b"abc", b"abcd"));
    }

    #[test]
    fn a_domain_and_a_value_do_not_run_into_another_pair() {
        let key = IndexKey::derive(&DataKey::generate(), "test");
        assert_ne!(key.token("ab", b"c"), key.token("a", b"bc"));
        assert_eq!(key.token("a", b"b"), key.clone().token("a", b"b"));
    }

    #[test]
    fn two_purposes_give_unrelated_keys() {
        let key = DataKey::generate();
        assert_ne!(
            IndexKey::derive(&key, "a").token("", b""),
            IndexKey::derive(&key, "b").token("", b"")
        );
    }
}
