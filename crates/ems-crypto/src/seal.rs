//! Sealing: AES-256-GCM (NIST SP 800-38D). Associated data binds a value to its place.
//!
//! A key seals at most 2^32 values under random nonces (SP 800-38D, 8.3): give each subject and
//! table its own. A key of one journal file uses the record's number as its nonce, which never
//! repeats under it; the two ways are never mixed under one key.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{
    Error, Result,
    hash::{constant_time_eq, to_array},
    random,
};

/// Bytes that [`Sealer::seal`] adds: the nonce and the tag.
pub const OVERHEAD: usize = NONCE_LEN + TAG;
/// Bytes of a tag.
pub const TAG: usize = 16;

/// A key of 256 bits. Wiped from memory when dropped; prints nothing of itself.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey([u8; 32]);

/// In constant time.
impl PartialEq for DataKey {
    fn eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl Eq for DataKey {}

impl DataKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(random::bytes())
    }

    /// A key of these bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for wrapping.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// A key made ready for use.
pub struct Sealer(LessSafeKey);

impl Sealer {
    /// Expands a key.
    #[expect(clippy::expect_used, reason = "AES-256 takes any 32 bytes")]
    pub fn new(key: &DataKey) -> Self {
        Self(LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, &key.0).expect("a key of 32 bytes"),
        ))
    }

    /// Seals under a random nonce: nonce, ciphertext, tag.
    #[expect(clippy::expect_used, reason = "sealing fails only beyond 64 GiB")]
    pub fn seal(&self, associated: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let mut sealed = Vec::with_capacity(OVERHEAD + plaintext.len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let content = sealed.get_mut(NONCE_LEN..).unwrap_or_default();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(associated), content)
            .expect("within AES-GCM's bound");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`Sealer::seal`] made.
    ///
    /// # Errors
    /// [`Error::Open`] for anything else, or other associated data.
    pub fn open(&self, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        let (nonce, content) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Error::Open)?;
        let mut content = content.to_vec();
        self.open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            associated,
            &mut content,
        )?;
        Ok(content)
    }

    /// Seals `buffer[from..]` in place with a number as nonce, appends the tag and returns it. A
    /// number may be used once under a key.
    #[expect(clippy::expect_used, reason = "sealing fails only beyond 64 GiB")]
    pub fn seal_numbered(
        &self,
        number: u64,
        associated: &[u8],
        buffer: &mut Vec<u8>,
        from: usize,
    ) -> [u8; TAG] {
        let content = buffer.get_mut(from..).unwrap_or_default();
        let tag =
            self.0
                .seal_in_place_separate_tag(numbered(number), Aad::from(associated), content);
        let tag = to_array(tag.expect("within AES-GCM's bound").as_ref());
        buffer.extend_from_slice(&tag);
        tag
    }

    /// Opens ciphertext and tag, sealed with a number, in place.
    ///
    /// # Errors
    /// [`Error::Open`]; the buffer's content is then of no use.
    pub fn open_numbered(
        &self,
        number: u64,
        associated: &[u8],
        in_out: &mut Vec<u8>,
    ) -> Result<()> {
        self.open_in_place(numbered(number), associated, in_out)
    }

    fn open_in_place(&self, nonce: Nonce, associated: &[u8], in_out: &mut Vec<u8>) -> Result<()> {
        let length = self
            .0
            .open_in_place(nonce, Aad::from(associated), in_out)
            .map_err(|_| Error::Open)?
            .len();
        in_out.truncate(length);
        Ok(())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

fn numbered(number: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce
        .iter_mut()
        .zip(number.to_le_bytes())
        .for_each(|(to, from)| *to = from);
    Nonce::assume_unique_for_key(nonce)
}

/// Associated data of several parts, each with its length first, so that no two lists are alike.
pub fn aad(parts: &[&[u8]]) -> Vec<u8> {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        all.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        all.extend_from_slice(part);
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agrees_with_a_test_vector_of_nist() {
        // McGrew and Viega, test case 14: zero key, zero nonce, one zero block, no associated data.
        let mut buffer = vec![0; 16];
        let tag = Sealer::new(&DataKey::from_bytes([0; 32])).seal_numbered(0, &[], &mut buffer, 0);
        assert_eq!(
            data_encoding::HEXLOWER.encode(&buffer[..16]),
            "cea7403d4d606b6e074ec5d3baf39d18"
        );
        assert_eq!(
            data_encoding::HEXLOWER.encode(&tag),
            "d0d1c8a799996bf0265b98b5d48ab919"
        );
    }

    #[test]
    fn opens_a_test_vector_with_associated_data() {
        // McGrew and Viega, test case 16.
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let half: [u8; 16] = to_array(&hex("feffe9928665731c6d6a8f9467308308"));
        let key = DataKey::from_bytes(to_array(&[half, half].concat()));
        let sealed = hex(concat!(
            "cafebabefacedbaddecaf888",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b"
        ));
        let plaintext = hex(concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ));
        let associated = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
        assert_eq!(
            Sealer::new(&key).open(&associated, &sealed).unwrap(),
            plaintext
        );
    }

    #[test]
    fn sealing_twice_gives_two_texts() {
        let sealer = Sealer::new(&DataKey::generate());
        assert_ne!(sealer.seal(b"a", b"same"), sealer.seal(b"a", b"same"));
    }

    #[test]
    fn a_number_is_the_nonce_in_little_endian() {
        let sealer = Sealer::new(&DataKey::generate());
        let mut whole = vec![2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mut record = b"frame:record".to_vec();
        let tag = sealer.seal_numbered(0x0102, b"a", &mut record, 6);
        assert_eq!(&record[..6], b"frame:");
        assert_eq!(record[12..], tag);
        whole.extend_from_slice(&record[6..]);
        assert_eq!(sealer.open(b"a", &whole).unwrap(), b"record");
    }

    #[test]
    fn what_is_too_short_to_be_sealed_does_not_open() {
        let sealer = Sealer::new(&DataKey::generate());
        for length in 0..OVERHEAD {
            assert!(matches!(
                sealer.open(b"", &vec![0; length]),
                Err(Error::Open)
            ));
        }
        assert!(sealer.open_numbered(0, b"", &mut vec![0; TAG - 1]).is_err());
    }

    #[test]
    fn nothing_of_a_key_is_printed() {
        assert_eq!(format!("{:?}", DataKey::from_bytes([1; 32])), "DataKey(…)");
    }

    proptest! {
        #[test]
        fn opens_only_what_was_sealed_in_its_place(content: Vec<u8>, place: Vec<u8>, flip: prop::sample::Index) {
            let sealer = Sealer::new(&DataKey::generate());
            let mut sealed = sealer.seal(&place, &content);
            prop_assert_eq!(sealed.len(), content.len() + OVERHEAD);
            prop_assert_eq!(sealer.open(&place, &sealed).unwrap(), content);
            prop_assert!(sealer.open(&aad(&[&place]), &sealed).is_err());
            let at = flip.index(sealed.len());
            sealed[at] ^= 1;
            prop_assert!(sealer.open(&place, &sealed).is_err());
        }

        #[test]
        fn a_numbered_record_opens_only_at_its_number(content: Vec<u8>, number in 0..u64::MAX) {
            let sealer = Sealer::new(&DataKey::generate());
            let mut buffer = content.clone();
            sealer.seal_numbered(number, b"a", &mut buffer, 0);
            let mut wrong = buffer.clone();
            prop_assert!(sealer.open_numbered(number + 1, b"a", &mut wrong).is_err());
            sealer.open_numbered(number, b"a", &mut buffer).unwrap();
            prop_assert_eq!(buffer, content);
        }

        #[test]
        fn two_lists_of_parts_are_never_alike(one: Vec<Vec<u8>>, other: Vec<Vec<u8>>) {
            let slices = |list: &[Vec<u8>]| aad(&list.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(slices(&one) == slices(&other), one == other);
        }
    }
}
