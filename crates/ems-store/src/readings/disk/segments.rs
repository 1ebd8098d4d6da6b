//! Segments as rows, each cut into pieces of a size that suits the backend: the embedded engine rounds
//! a longer value up to a power of two of pages, which costs a third of the file, and pages of many
//! sizes leave holes that none of them fits.

use ems_core::block::Block;
use ems_crypto::seal::Sealer;

use super::{Disk, Look, Sealed, hex};
use crate::{
    Columns, Error, Result,
    readings::{
        keys::Token,
        manifest::SegmentMeta,
        rows::{Change, Key, Kind},
        segment,
    },
};

/// The key of a segment: meter token, month, id, big-endian.
pub(crate) type SegmentKey = [u8; 28];

/// The changes by which segments are written and removed.
pub(super) fn changes(mut segments: Vec<Sealed<SegmentKey>>, piece: usize, out: &mut Vec<Change>) {
    // In the order of the table: each of its pages is visited once.
    segments.sort_by_key(|row| row.key);
    for Sealed { key, value } in segments {
        let Some(value) = value else {
            let (first, last) = (piece_key(key, 0), piece_key(key, u16::MAX));
            out.push(Change::Rows(Kind::Segments, first, last));
            continue;
        };
        for (piece, number) in value.chunks(piece).zip(0..) {
            let key = piece_key(key, number);
            out.push(Change::Row(Kind::Segments, key, Some(piece.to_vec())));
        }
    }
}

/// The value of a segment.
fn look(rows: &dyn Look, key: SegmentKey) -> Result<Option<Vec<u8>>> {
    let (first, last) = (piece_key(key, 0), piece_key(key, u16::MAX));
    let mut value = Vec::new();
    rows.range(
        Kind::Segments,
        first.as_slice(),
        last.as_slice(),
        &mut |_, piece| {
            value.extend_from_slice(piece);
            Ok(())
        },
    )?;
    Ok((!value.is_empty()).then_some(value))
}

impl Disk {
    /// Seals a segment for its place.
    pub(crate) fn seal_segment(
        &self,
        sealer: &Sealer,
        token: Token,
        meta: SegmentMeta,
        content: &[u8],
    ) -> Sealed<SegmentKey> {
        let key = segment_key(token, meta);
        let value = sealer.seal(
            &self.aad(&[b"segment", &key, &meta.count.to_le_bytes()]),
            content,
        );
        Sealed {
            key,
            value: Some(value),
        }
    }

    /// Reads a segment. One that is gone, or was moved, or damaged, is an error that names it.
    pub(crate) fn segment(
        &self,
        sealer: &Sealer,
        token: Token,
        meta: SegmentMeta,
        columns: Columns,
    ) -> Result<Block> {
        let (content, key) = self.open_segment(sealer, token, meta)?;
        let damaged = |why: &str| self.damaged_segment(&key, why);
        let block = segment::decode(&content, columns).map_err(|why| damaged(&why.to_string()))?;
        let as_listed = block.span() == Some((meta.first, meta.last))
            && u64::try_from(block.len()) == Ok(meta.count);
        if as_listed {
            Ok(block)
        } else {
            Err(damaged("it is not what the manifest lists"))
        }
    }

    /// Opens a segment without decompressing its values: it is authentic as a whole, in its place,
    /// and its times are as the manifest lists them.
    pub(crate) fn check_segment(
        &self,
        sealer: &Sealer,
        token: Token,
        meta: SegmentMeta,
    ) -> Result<()> {
        let (content, key) = self.open_segment(sealer, token, meta)?;
        let times =
            segment::times(&content).map_err(|why| self.damaged_segment(&key, &why.to_string()))?;
        let span = times.first().zip(times.last());
        let as_listed = span == Some((&meta.first.as_micros(), &meta.last.as_micros()))
            && u64::try_from(times.len()) == Ok(meta.count);
        if as_listed {
            Ok(())
        } else {
            Err(self.damaged_segment(&key, "it is not what the manifest lists"))
        }
    }

    fn open_segment(
        &self,
        sealer: &Sealer,
        token: Token,
        meta: SegmentMeta,
    ) -> Result<(Vec<u8>, SegmentKey)> {
        let key = segment_key(token, meta);
        let found = self.pieces(key)?;
        let found = found.ok_or_else(|| self.damaged_segment(&key, "it is gone"))?;
        let aad = self.aad(&[b"segment", &key, &meta.count.to_le_bytes()]);
        let content = sealer.open(&aad, &found);
        let content = content.map_err(|_| self.damaged_segment(&key, "it does not open"))?;
        Ok((content, key))
    }

    /// A segment's value as readers know it: of now, or, while a fold is on its way to them, of
    /// before.
    fn pieces(&self, key: SegmentKey) -> Result<Option<Vec<u8>>> {
        if let Some(found) = look(self.rows.look()?.as_ref(), key)? {
            self.note(&found);
            return Ok(Some(found));
        }
        match self.before.read().as_ref() {
            Some(before) => look(before.as_ref(), key),
            None => Ok(None),
        }
    }

    /// The keys of all segments of which a piece is stored, in order.
    pub(crate) fn segment_keys(&self) -> Result<Vec<SegmentKey>> {
        let mut keys: Vec<SegmentKey> = Vec::new();
        self.rows.look()?.all(Kind::Segments, &mut |key, _| {
            let segment = key.first_chunk().copied();
            keys.extend(segment.filter(|segment| keys.last() != Some(segment)));
            Ok(())
        })?;
        Ok(keys)
    }

    fn damaged_segment(&self, key: &SegmentKey, why: &str) -> Error {
        self.damaged(format!("segment {}", hex(key)), why)
    }
}

/// The key of a segment.
pub(crate) fn segment_key(token: Token, meta: SegmentMeta) -> SegmentKey {
    let mut key = [0; 28];
    let parts = token
        .into_iter()
        .chain(meta.month.to_be_bytes())
        .chain(meta.id.to_be_bytes());
    key.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    key
}

fn piece_key(segment: SegmentKey, piece: u16) -> Key {
    Key::of(&[&segment, &piece.to_be_bytes()])
}

/// Whether a row is a piece after the first, which has no nonce.
pub(super) fn is_later_piece(kind: Kind, key: &[u8]) -> bool {
    kind == Kind::Segments && !key.ends_with(&[0, 0])
}
