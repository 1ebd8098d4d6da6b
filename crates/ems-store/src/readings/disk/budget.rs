//! How much each key has sealed. Under random nonces a key may seal 2^32 values (NIST SP 800-38D,
//! 8.3); what would go beyond is refused before it is written.
//!
//! The figures are upper bounds: attempts that failed count, a start adds what a crash may have left
//! uncounted, and of subjects one figure is kept, which grows by the most that any of them sealed in
//! a write. Journals count by themselves: their nonce is the record's number.

use std::collections::HashMap;

use super::{Disk, FoldWrite};
use crate::{
    Error, Result, Seals,
    readings::{keys::Token, manifest::Spent},
};

/// Values that a key may seal.
const LIMIT: u64 = 1 << 32;
/// Values that a process may have sealed and not counted when it ended.
const UNCOUNTED: u64 = 4096;
/// What a write seals of a meter beside its segments: manifest, replaced values, block, record.
const BESIDE: u64 = 4;

impl Spent {
    fn plus(self, more: Self) -> Self {
        Self {
            head: self.head.saturating_add(more.head),
            records: self.records.saturating_add(more.records),
            ledger: self.ledger.saturating_add(more.ledger),
            subject: self.subject.saturating_add(more.subject),
        }
    }

    /// What a start finds: the count of the last write, and what may have come after it.
    pub(super) fn at_start(self) -> Self {
        self.plus(Self {
            head: UNCOUNTED,
            records: UNCOUNTED,
            ledger: UNCOUNTED,
            subject: UNCOUNTED,
        })
    }

    /// Each key and its count.
    fn each(self) -> [Seals; 4] {
        let seals = |key, count| Seals { key, count };
        [
            seals("records", self.records),
            seals("ledger", self.ledger),
            seals("head", self.head),
            seals("subject", self.subject),
        ]
    }
}

impl Disk {
    /// Counts what a write has sealed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where a key would have sealed more than it may.
    pub(super) fn charge(&self, fold: &FoldWrite) -> Result<()> {
        let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let mut segments: HashMap<Token, u64> = HashMap::new();
        for row in fold.segments.iter().filter(|row| row.value.is_some()) {
            if let Some(token) = row.key.first_chunk() {
                *segments.entry(*token).or_default() += 1;
            }
        }
        let most = segments.values().max().copied().unwrap_or_default();
        let mut spent = self.spent.lock();
        let all = spent.plus(Spent {
            head: 0,
            records: wide(fold.records.len()),
            ledger: wide(fold.ledger.len()),
            subject: most + BESIDE,
        });
        if let Some(seals) = all.each().iter().find(|seals| seals.count > LIMIT) {
            return Err(Error::Unavailable(format!(
                "the key of {} has sealed all that it may (2^32 values)",
                seals.key
            )));
        }
        *spent = all;
        Ok(())
    }

    /// Counts a head that is sealed by itself; all counts.
    pub(super) fn spent_with_head(&self) -> Spent {
        let mut spent = self.spent.lock();
        spent.head = spent.head.saturating_add(1);
        *spent
    }

    /// How much each key has sealed, at most.
    pub(crate) fn seals(&self) -> Vec<Seals> {
        self.spent.lock().each().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{embedded::testing, readings::disk::Sealed};
    use ems_core::time::Timestamp;
    use ems_crypto::keyring::RootKey;

    #[test]
    fn counts_over_restarts_and_refuses_what_goes_beyond() {
        let place = tempfile::tempdir().unwrap();
        let root = RootKey::generate();
        let open = || {
            let keys = testing::keys(place.path(), &root, Timestamp::MIN).unwrap();
            testing::disk(place.path(), &Arc::new(keys))
        };
        let of = |disk: &Disk, key| {
            let seals = disk.seals().into_iter().find(|seals| seals.key == key);
            seals.unwrap().count
        };
        let fold = |disk: &Disk| {
            let segment = |meter: u8, number: u8| {
                let mut key = [number; 28];
                key[..16].fill(meter);
                Sealed {
                    key,
                    value: Some(vec![0; 40]),
                }
            };
            let write = FoldWrite {
                segments: vec![segment(1, 1), segment(2, 1), segment(2, 2)],
                ledger: vec![(0, vec![0; 40])],
                head: disk.head().unwrap(),
                ..FoldWrite::default()
            };
            disk.write(write, || {})
        };
        let disk = open();
        let before = (of(&disk, "subject"), of(&disk, "ledger"));
        fold(&disk).unwrap();
        fold(&disk).unwrap();
        // Two segments of one meter, and what may go with them.
        let after = (before.0 + 2 * (2 + BESIDE), before.1 + 2);
        assert_eq!((of(&disk, "subject"), of(&disk, "ledger")), after);
        drop(disk);
        let disk = open();
        assert_eq!(of(&disk, "subject"), after.0 + UNCOUNTED);
        disk.spent.lock().ledger = LIMIT - 1;
        fold(&disk).unwrap();
        let refused = fold(&disk).unwrap_err().to_string();
        assert!(refused.contains("ledger"), "{refused}");
        drop(disk);
        assert!(fold(&open()).is_err(), "for ever");
    }
}
