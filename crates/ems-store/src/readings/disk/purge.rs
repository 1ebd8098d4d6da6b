//! Taking all that is stored of a meter away, once its key is to end.

use super::{Disk, Kind};
use crate::{
    Result,
    readings::{
        keys::Token,
        rows::{Change, Key},
    },
};

impl Disk {
    /// Removes the manifest, the segments and the replaced values of a meter. Durable when it
    /// returns. Its record and its rows in runs went with the fold of their deletion.
    pub(crate) fn purge(&self, token: Token) -> Result<()> {
        let _one = self.writing.lock();
        let (segments, superseded) = (keys_of(token, 30), keys_of(token, 24));
        let changes = vec![
            Change::Row(Kind::Manifests, token.into(), None),
            Change::Rows(Kind::Segments, segments.0, segments.1),
            Change::Rows(Kind::Superseded, superseded.0, superseded.1),
        ];
        let head = self.head()?;
        self.put_head(changes, &head)
    }
}

/// The first and the last key of a length that begins with a token.
pub(super) fn keys_of(token: Token, length: usize) -> (Key, Key) {
    let rest = length.saturating_sub(token.len());
    let key = |fill: u8| Key::of(&[&token, &vec![fill; rest]]);
    (key(0), key(0xff))
}
