//! Values that were replaced: kept with the instant when, in a table of their own, which no scan
//! touches.

use ems_core::{reading::Reading, time::Timestamp};
use ems_crypto::seal::Sealer;

use super::{Disk, Kind, Sealed, hex, purge};
use crate::{
    Result,
    readings::{keys::Token, segment},
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
        let (from, until) = purge::keys_of(token, 24);
        let mut count = 0;
        let look = self.rows.look()?;
        look.range(
            Kind::Superseded,
            from.as_slice(),
            until.as_slice(),
            &mut |key, values| {
                let damaged =
                    |why: String| self.damaged(format!("replaced values {}", hex(key)), why);
                let content = sealer.open(&self.aad(&[b"superseded", key]), values);
                let content = content.map_err(|_| damaged("they do not open".into()))?;
                let rows =
                    segment::decode_superseded(&content).map_err(|why| damaged(why.to_string()))?;
                self.note(values);
                count += u64::try_from(rows.len()).unwrap_or(u64::MAX);
                rows.into_iter().for_each(&mut *take);
                Ok(())
            },
        )?;
        Ok(count)
    }
}
