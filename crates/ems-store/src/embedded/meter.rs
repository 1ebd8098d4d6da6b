//! One meter: its segments on disk, a frozen layer on its way there, and the active layer above. A
//! scan merges them, the later write winning.

use std::sync::{Arc, OnceLock};

use ems_core::{
    block::Block,
    meter::{MeterId, MeterStatistics},
    reading::Reading,
    time::{TimeRange, Timestamp},
};
use parking_lot::RwLock;

use super::{
    keys::Token,
    manifest::{Manifest, SegmentMeta},
    segment,
    table::{Known, Layer},
};
use crate::{Columns, Piece, Result};

/// A meter that was touched since the start.
pub(crate) struct Meter {
    pub(crate) id: MeterId,
    pub(crate) token: Token,
    /// Its name in logs and the ledger, once it was asked for.
    pub(crate) pseudonym: OnceLock<String>,
    pub(crate) state: RwLock<State>,
}

/// What changes of a meter.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) frozen: Arc<Layer>,
    pub(crate) active: Layer,
    pub(crate) statistics: MeterStatistics,
}

impl State {
    /// The state of a meter of which nothing is in memory.
    pub(crate) fn of(manifest: Manifest) -> Self {
        let readings = manifest.segments.iter().map(|meta| meta.count).sum();
        let first = manifest.segments.first().map(|meta| meta.first);
        let span = first.zip(manifest.segments.last().map(|meta| meta.last));
        let statistics = MeterStatistics { readings, span };
        Self {
            manifest: Arc::new(manifest),
            statistics,
            ..Self::default()
        }
    }
}

/// Gives the content of a segment.
pub(crate) type Load<'a> = &'a dyn Fn(SegmentMeta, Columns) -> Result<Arc<Block>>;

/// The layers of a meter at one moment.
pub(crate) struct View<'a> {
    pub(crate) active: &'a Layer,
    pub(crate) frozen: &'a Layer,
    pub(crate) manifest: &'a Manifest,
}

impl View<'_> {
    /// The reading at an instant.
    pub(crate) fn find(&self, at: Timestamp, load: Load<'_>) -> Result<Option<Reading>> {
        for layer in [self.active, self.frozen] {
            match layer.at(at) {
                Known::Row(row) => return Ok(Some(row)),
                Known::Deleted => return Ok(None),
                Known::Unknown => {}
            }
        }
        let Some(meta) = self.segment_from(at).filter(|meta| meta.first <= at) else {
            return Ok(None);
        };
        let block = load(meta, Columns::All)?;
        Ok(block
            .at()
            .binary_search(&at.as_micros())
            .ok()
            .and_then(|place| block.get(place)))
    }

    /// The first segment that does not end before `at`.
    fn segment_from(&self, at: Timestamp) -> Option<SegmentMeta> {
        let place = self
            .manifest
            .segments
            .partition_point(|meta| meta.last < at);
        self.manifest.segments.get(place).copied()
    }

    /// The readings from the start of `range` as far as one segment, or as many rows in memory as a
    /// segment holds, reach.
    pub(crate) fn scan(&self, range: TimeRange, columns: Columns, load: Load<'_>) -> Result<Piece> {
        let meta = self
            .segment_from(range.start())
            .filter(|meta| meta.first < range.end());
        let after = |at: Timestamp| at.saturating_add_micros(1);
        let until = meta.map_or(range.end(), |meta| after(meta.last).min(range.end()));
        let (rows, until) = self.rows_in_memory(range, until);
        let Some(window) = TimeRange::new(range.start(), until) else {
            return Ok(Piece {
                block: Block::default(),
                until: range.end(),
            });
        };
        let stored = match meta.filter(|meta| meta.first < until) {
            Some(meta) => Some(load(meta, columns)?),
            None => None,
        };
        let hidden = self
            .active
            .deleted()
            .iter()
            .chain(self.frozen.deleted())
            .any(|gone| gone.intersect(window).is_some());
        let block = match stored {
            None => rows,
            Some(block) if rows.is_empty() && !hidden => block.within(window),
            Some(block) => self.merge(&block.within(window), &rows),
        };
        Ok(Piece { block, until })
    }

    /// Rows of both layers from the start of `range` to `until`, at most a segment's worth: then
    /// `until` is drawn in.
    fn rows_in_memory(&self, range: TimeRange, until: Timestamp) -> (Block, Timestamp) {
        let mut rows = Block::default();
        let Some(window) = TimeRange::new(range.start(), until) else {
            return (rows, until);
        };
        // Mostly only one layer has any, and all of it came in order.
        let short = |rows: &Block| rows.len() <= segment::MOST;
        if self.frozen.is_empty()
            && let Some(rows) = self.active.columns(window).filter(short)
        {
            return (rows, until);
        }
        let gone = |row: &Reading| {
            let deleted = self.active.deleted();
            !deleted.iter().any(|range| range.contains(row.at))
        };
        let mut active = self.active.rows(window).peekable();
        let mut frozen = self.frozen.rows(window).filter(gone).peekable();
        loop {
            let next = match (active.peek(), frozen.peek()) {
                (Some(above), Some(below)) if below.at < above.at => frozen.next(),
                (Some(above), below) => {
                    if below.is_some_and(|below| below.at == above.at) {
                        frozen.next();
                    }
                    active.next()
                }
                (None, _) => frozen.next(),
            };
            match next {
                Some(row) if rows.len() == segment::MOST => return (rows, row.at),
                Some(row) => drop(rows.push(row)),
                None => return (rows, until),
            }
        }
    }

    /// Lays rows over a segment's part, of which what was deleted is left out.
    fn merge(&self, stored: &Block, rows: &Block) -> Block {
        let deleted = [self.active.deleted(), self.frozen.deleted()];
        let gone = |at| {
            deleted
                .into_iter()
                .flatten()
                .any(|range: &TimeRange| range.contains(at))
        };
        let mut stored = stored.iter().filter(|row| !gone(row.at)).peekable();
        let mut merged = Block::with_capacity(rows.len());
        for row in rows.iter() {
            while let Some(older) = stored.next_if(|older| older.at < row.at) {
                drop(merged.push(older));
            }
            stored.next_if(|older| older.at == row.at);
            drop(merged.push(row));
        }
        stored.for_each(|older| drop(merged.push(older)));
        merged
    }

    /// Number and span of the readings in a range, counted one by one.
    pub(crate) fn count(&self, range: TimeRange, load: Load<'_>) -> Result<MeterStatistics> {
        let mut found = MeterStatistics::default();
        let mut rest = Some(range);
        while let Some(range) = rest {
            let piece = self.scan(range, Columns::Energy, load)?;
            found.readings += u64::try_from(piece.block.len()).unwrap_or(u64::MAX);
            if let Some((first, last)) = piece.block.span() {
                found.span = Some((found.span.map_or(first, |span| span.0), last));
            }
            rest = TimeRange::new(piece.until, range.end());
        }
        Ok(found)
    }
}

/// Lays a newer layer's rows and deletions over older readings.
pub(crate) fn lay_over(mut older: Block, layer: &Layer, range: TimeRange) -> Block {
    let behind = |rows: &Block| match (older.span(), rows.span()) {
        (Some((_, last)), Some((first, _))) => last < first,
        _ => true,
    };
    if layer.deleted().is_empty()
        && let Some(rows) = layer.columns(range).filter(behind)
    {
        older.extend(rows);
        return older;
    }
    let gone = |at| layer.deleted().iter().any(|range| range.contains(at));
    let mut older = older.iter().filter(|row| !gone(row.at)).peekable();
    let mut merged = Block::default();
    for row in layer.rows(range) {
        while let Some(old) = older.next_if(|old| old.at < row.at) {
            drop(merged.push(old));
        }
        older.next_if(|old| old.at == row.at);
        drop(merged.push(row));
    }
    older.for_each(|old| drop(merged.push(old)));
    merged
}
