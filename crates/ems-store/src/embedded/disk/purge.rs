//! Taking all that is stored of a meter out of the engine's file, once its key is to end.

use redb::TableHandle as _;

use super::{Disk, MANIFESTS, SEGMENTS, SUPERSEDED, engine};
use crate::{Result, embedded::keys::Token};

impl Disk {
    /// Removes the manifest, the segments and the replaced values of a meter. Its rows in runs went
    /// with the fold of their deletion. Durable when it
    /// returns. Its record went with the fold before.
    pub(crate) fn purge(&self, token: Token) -> Result<()> {
        let _one = self.writing.lock();
        let write = self.db.begin_write()?;
        let mut rows = self.tallying(&write)?;
        {
            let mut table = write.open_table(MANIFESTS).map_err(engine)?;
            if let Some(old) = table.remove(token).map_err(engine)? {
                rows.remove(MANIFESTS.name(), &token, old.value());
            }
            let mut table = write.open_table(SEGMENTS).map_err(engine)?;
            let (from, until) = keys_of::<30>(token);
            table
                .retain_in(from..=until, |key, value| {
                    rows.remove(SEGMENTS.name(), &key, value);
                    false
                })
                .map_err(engine)?;
            let mut table = write.open_table(SUPERSEDED).map_err(engine)?;
            let (from, until) = keys_of::<24>(token);
            table
                .retain_in(from..=until, |key, value| {
                    rows.remove(SUPERSEDED.name(), &key, value);
                    false
                })
                .map_err(engine)?;
        }
        self.put_tally(&write, rows.tally)?;
        write.commit().map_err(engine)
    }
}

/// The first and the last key that begins with a token.
pub(super) fn keys_of<const N: usize>(token: Token) -> ([u8; N], [u8; N]) {
    let (mut from, mut until) = ([0; N], [0xff; N]);
    from.iter_mut().zip(token).for_each(|(to, byte)| *to = byte);
    until
        .iter_mut()
        .zip(token)
        .for_each(|(to, byte)| *to = byte);
    (from, until)
}
