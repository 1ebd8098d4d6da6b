//! Segments that a scan is about to ask for. Those of a meter lie one after the other, and each would be
//! a question of its own; so a few are read together and held for a moment. A segment's key is never
//! used twice, so what is held stays right.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;

/// Pieces that are read together at most, and how many are held.
pub(super) const TOGETHER: i64 = 32;
const HELD: usize = 256;
/// Bytes that are held at most, sealed.
const HELD_BYTES: usize = 16 << 20;

/// What was read ahead.
pub(super) struct Ahead(Mutex<Held>);

struct Held {
    pieces: LruCache<Vec<u8>, Vec<u8>>,
    bytes: usize,
}

impl Ahead {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        let held = NonZeroUsize::new(HELD).unwrap_or(NonZeroUsize::MIN);
        Self(Mutex::new(Held {
            pieces: LruCache::new(held),
            bytes: 0,
        }))
    }

    /// Hands on a piece that is held; each is asked for once.
    pub(super) fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut held = self.0.lock();
        let piece = held.pieces.pop(key)?;
        held.bytes = held.bytes.saturating_sub(piece.len());
        Some(piece)
    }

    /// Holds a piece; those that were held longest go.
    pub(super) fn hold(&self, key: &[u8], piece: Vec<u8>) {
        let mut held = self.0.lock();
        held.bytes += piece.len();
        if let Some((_, old)) = held.pieces.push(key.to_vec(), piece) {
            held.bytes = held.bytes.saturating_sub(old.len());
        }
        while held.bytes > HELD_BYTES {
            let Some((_, old)) = held.pieces.pop_lru() else {
                return;
            };
            held.bytes = held.bytes.saturating_sub(old.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_piece_once_and_holds_no_more_than_its_bytes() {
        let ahead = Ahead::new();
        ahead.hold(b"one", vec![1]);
        assert_eq!(ahead.take(b"one"), Some(vec![1]));
        assert_eq!(ahead.take(b"one"), None);
        for number in 0..5_u8 {
            ahead.hold(&[number], vec![number; HELD_BYTES / 4]);
        }
        assert_eq!(ahead.take(&[0]), None);
        assert!(ahead.take(&[1]).is_some() && ahead.take(&[4]).is_some());
        for number in 0..u64::try_from(2 * HELD).unwrap() {
            ahead.hold(&number.to_be_bytes(), vec![0]);
        }
        assert_eq!(ahead.take(&0_u64.to_be_bytes()), None);
    }
}
