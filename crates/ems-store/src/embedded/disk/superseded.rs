//! Values that were replaced: kept with the instant when, in a table of their own, which no scan
//! touches.

use ems_core::{reading::Reading, time::Timestamp};
use ems_crypto::seal::Sealer;

use super::{Disk, SUPERSEDED, Sealed, engine, hex, purge};
use crate::{
    Error, Result,
    embedded::{keys::Token, segment},
};

impl Disk {
    /// Does something while no write is under way.
    pub(crate) fn between_writes<T>(&self, work: impl FnOnce() -> T) -> T {
        let _one = self.writing.lock();
        work()
    }

    /// Seals replaced values for their place.
    pub(crate) fn seal_superseded(
        &self,
        sealer: &Sealer,
        token: Token,
        sequence: u64,
        content: &[u8],
    ) -> Sealed<[u8; 24]> {
        let mut key = [0; 24];
        key.iter_mut()
            .zip(token.into_iter().chain(sequence.to_be_bytes()))
            .for_each(|(to, from)| *to = from);
        Sealed {
            key,
            value: Some(sealer.seal(&self.aad(&[b"superseded", &key]), content)),
        }
    }

    /// Opens all replaced values of a meter and hands each, with the instant when it was replaced, to
    /// `take`; returns how many there are.
    pub(crate) fn superseded(
        &self,
        sealer: &Sealer,
        token: Token,
        take: &mut dyn FnMut((Timestamp, Reading)),
    ) -> Result<u64> {
        let read = self.db.begin_read()?;
        let table = read.open_table(SUPERSEDED).map_err(engine)?;
        let (from, until) = purge::keys_of::<24>(token);
        let mut count = 0;
        for row in table.range(from..=until).map_err(engine)? {
            let (key, values) = row.map_err(engine)?;
            let key = key.value();
            let damaged = |why: String| {
                Error::damaged(format!("engine.redb, replaced values {}", hex(&key)), why)
            };
            let content = sealer.open(&self.aad(&[b"superseded", &key]), values.value());
            let content = content.map_err(|_| damaged("they do not open".into()))?;
            let rows =
                segment::decode_superseded(&content).map_err(|why| damaged(why.to_string()))?;
            self.note(values.value());
            count += u64::try_from(rows.len()).unwrap_or(u64::MAX);
            rows.into_iter().for_each(&mut *take);
        }
        Ok(count)
    }
}
