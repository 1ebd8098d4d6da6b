//! A hash of a set that grows and shrinks: the sum, modulo 2^256, of the keyed hashes of its members
//! (`MSet-Add-Hash`; Clarke, Devadas, van Dijk, Gassend, Suh: "Incremental Multiset Hash Functions",
//! ASIACRYPT 2003). One that is added or removed costs one hash, whatever the set's size. Its owner
//! keeps it secret or sealed: a sum that can be seen can be solved for.

use crate::hash::IndexKey;

/// The hash of a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetHash([u64; 4]);

impl SetHash {
    /// Adds a member.
    pub fn add(&mut self, key: &IndexKey, domain: &str, member: &[u8]) {
        let mut carry = false;
        for (limb, other) in self.0.iter_mut().zip(limbs(&key.hash(domain, member))) {
            let (sum, over) = limb.overflowing_add(other);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, over || again);
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, key: &IndexKey, domain: &str, member: &[u8]) {
        let mut borrow = false;
        for (limb, other) in self.0.iter_mut().zip(limbs(&key.hash(domain, member))) {
            let (rest, under) = limb.overflowing_sub(other);
            let (rest, again) = rest.overflowing_sub(u64::from(borrow));
            (*limb, borrow) = (rest, under || again);
        }
    }

    /// Its bytes, little-endian.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        let all = self.0.into_iter().flat_map(u64::to_le_bytes);
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    /// The hash that has these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(limbs(bytes))
    }
}

fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    let mut limbs = [0; 4];
    let (chunks, _) = bytes.as_chunks::<8>();
    limbs
        .iter_mut()
        .zip(chunks)
        .for_each(|(limb, chunk)| *limb = u64::from_le_bytes(*chunk));
    limbs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::DataKey;

    #[test]
    fn follows_the_set_and_nothing_else() {
        let key = IndexKey::derive(&DataKey::generate(), "test");
        let (mut one, mut other) = (SetHash::default(), SetHash::default());
        for member in 0..200_u8 {
            one.add(&key, "d", &[member]);
            other.add(&key, "d", &[199 - member]);
        }
        assert_eq!(one, other, "the order says nothing");
        one.add(&key, "d", &[7]);
        assert_ne!(one, other, "twice is not once");
        one.remove(&key, "d", &[7]);
        assert_eq!(one, other);
        assert_eq!(SetHash::from_bytes(&one.to_bytes()), one);
        for member in 0..200_u8 {
            one.remove(&key, "d", &[member]);
        }
        assert_eq!(one, SetHash::default());
        one.add(&key, "e", &[1]);
        other = SetHash::default();
        other.add(&key, "d", &[1]);
        assert_ne!(one, other, "domains are apart");
    }

    #[test]
    fn carries_and_borrows_run_through() {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xfe;
        let key = IndexKey::derive(&DataKey::from_bytes([3; 32]), "test");
        let before = SetHash::from_bytes(&bytes);
        let mut hash = before;
        hash.add(&key, "d", b"m");
        // −2 + h = h − 2: worked out in single bytes.
        let mut expected = key.hash("d", b"m");
        let mut borrow = 2_u8;
        for byte in &mut expected {
            let (rest, under) = byte.overflowing_sub(borrow);
            (*byte, borrow) = (rest, u8::from(under));
        }
        assert_eq!(hash.to_bytes(), expected);
        hash.remove(&key, "d", b"m");
        assert_eq!(hash, before);
    }
}
