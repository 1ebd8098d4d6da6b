//! Segments in the engine's file, each cut into pieces that fill a page: the engine rounds a longer
//! value up to a power of two of pages, which costs a third of the file, and pages of many sizes leave
//! holes that none of them fits.

use ems_core::block::Block;
use ems_crypto::seal::Sealer;
use redb::{
    ReadTransaction, ReadableTable as _, TableDefinition, TableHandle as _, WriteTransaction,
};

use super::{Disk, Sealed, Tallying, engine, hex};
use crate::{
    Columns, Error, Result,
    embedded::{keys::Token, manifest::SegmentMeta, segment},
};

/// The key of a segment: meter token, month, id, big-endian.
pub(crate) type SegmentKey = [u8; 28];
/// The key of a segment, and the number of the piece.
type PieceKey = [u8; 30];

pub(super) const SEGMENTS: TableDefinition<'_, PieceKey, &[u8]> = TableDefinition::new("segments");

/// Bytes of a piece: with its key and the engine's own 8 bytes it fills a page of 4 KiB.
const PIECE: usize = 4096 - 8 - size_of::<PieceKey>();

/// Writes and removes segments.
pub(super) fn write(
    write: &WriteTransaction,
    mut segments: Vec<Sealed<SegmentKey>>,
    rows: &mut Tallying<'_>,
) -> Result<()> {
    let mut table = write.open_table(SEGMENTS).map_err(engine)?;
    // In the order of the table: each of its pages is visited once.
    segments.sort_by_key(|row| row.key);
    for Sealed { key, value } in segments {
        let Some(value) = value else {
            let all = piece_key(key, 0)..=piece_key(key, u16::MAX);
            let removed = table.retain_in(all, |key, piece| {
                rows.remove(SEGMENTS.name(), &key, piece);
                false
            });
            removed.map_err(engine)?;
            continue;
        };
        for (piece, number) in value.chunks(PIECE).zip(0..) {
            let key = piece_key(key, number);
            table.insert(&key, piece).map_err(engine)?;
            rows.add(SEGMENTS.name(), &key, piece);
        }
    }
    Ok(())
}

/// The value of a segment.
fn look(read: &ReadTransaction, key: SegmentKey) -> Result<Option<Vec<u8>>> {
    let table = read.open_table(SEGMENTS).map_err(engine)?;
    let pieces = table.range(piece_key(key, 0)..=piece_key(key, u16::MAX));
    let mut value = Vec::new();
    for piece in pieces.map_err(engine)? {
        value.extend_from_slice(piece.map_err(engine)?.1.value());
    }
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
        let damaged = |why: &str| damaged_segment(&key, why);
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
            segment::times(&content).map_err(|why| damaged_segment(&key, &why.to_string()))?;
        let span = times.first().zip(times.last());
        let as_listed = span == Some((&meta.first.as_micros(), &meta.last.as_micros()))
            && u64::try_from(times.len()) == Ok(meta.count);
        if as_listed {
            Ok(())
        } else {
            Err(damaged_segment(&key, "it is not what the manifest lists"))
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
        let found = found.ok_or_else(|| damaged_segment(&key, "it is gone"))?;
        let aad = self.aad(&[b"segment", &key, &meta.count.to_le_bytes()]);
        let content = sealer.open(&aad, &found);
        let content = content.map_err(|_| damaged_segment(&key, "it does not open"))?;
        Ok((content, key))
    }

    /// A segment's value as readers know it: of now, or, while a fold is on its way to them, of
    /// before.
    fn pieces(&self, key: SegmentKey) -> Result<Option<Vec<u8>>> {
        if let Some(found) = look(&self.db.begin_read()?, key)? {
            self.note(&found);
            return Ok(Some(found));
        }
        match self.before.read().as_ref() {
            Some(before) => look(before, key),
            None => Ok(None),
        }
    }

    /// The keys of all segments of which a piece is stored, in order.
    pub(crate) fn segment_keys(&self) -> Result<Vec<SegmentKey>> {
        let read = self.db.begin_read()?;
        let table = read.open_table(SEGMENTS).map_err(engine)?;
        let mut keys: Vec<SegmentKey> = Vec::new();
        for row in table.iter().map_err(engine)? {
            let key = row.map_err(engine)?.0.value();
            let segment = key.first_chunk().copied();
            keys.extend(segment.filter(|segment| keys.last() != Some(segment)));
        }
        Ok(keys)
    }
}

fn damaged_segment(key: &SegmentKey, why: &str) -> Error {
    Error::damaged(format!("engine.redb, segment {}", hex(key)), why)
}

/// The key of a segment.
pub(crate) fn segment_key(token: Token, meta: SegmentMeta) -> SegmentKey {
    let parts = token
        .into_iter()
        .chain(meta.month.to_be_bytes())
        .chain(meta.id.to_be_bytes());
    filled(parts)
}

fn piece_key(segment: SegmentKey, piece: u16) -> PieceKey {
    filled(segment.into_iter().chain(piece.to_be_bytes()))
}

fn filled<const N: usize>(bytes: impl Iterator<Item = u8>) -> [u8; N] {
    let mut key = [0; N];
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    key
}

/// Whether a key in the segments' table is that of a piece after the first, which has no nonce.
pub(super) fn is_later_piece(table: &str, key: &[u8]) -> bool {
    table == SEGMENTS.name() && !key.ends_with(&[0, 0])
}
