//! A meter's rows into segments, month by month.
//!
//! A month's new rows are merged with the segments they overlap, and with earlier small ones once there
//! are eight of a size, or enough for a full one: each reading is rewritten a few times at most.

use std::collections::BTreeMap;

use ems_core::{
    block::Block,
    time::{TimeRange, Timestamp, month_of, month_start},
};
use ems_crypto::seal::Sealer;

use super::{
    beside::is_hidden,
    disk::{FoldWrite, Sealed, segment_key},
    engine::Engine,
    manifest::{Manifest, SegmentMeta},
    meter::{Meter, lay_over},
    segment,
    table::Layer,
};
use crate::{Columns, Error, Result};

/// Earlier segments of a size that are merged, unless they make a full one before.
const ALIKE: usize = 7;

/// Lays a layer over a meter's segments; returns its new manifest. What is to be written, and the
/// segments that are replaced, are added to `write`.
pub(crate) fn fold(
    engine: &Engine,
    (meter, sealer): (&Meter, &Sealer),
    (layer, segments): (&Layer, &[SegmentMeta]),
    write: &mut FoldWrite,
) -> Result<Manifest> {
    let mut months: BTreeMap<u32, Vec<SegmentMeta>> = BTreeMap::new();
    for meta in segments {
        months.entry(meta.month).or_default().push(*meta);
    }
    let mut rest = Some(TimeRange::ALL);
    while let Some((first, _)) = rest.and_then(|range| layer.span(range)) {
        let month = month_of(first);
        months.entry(month).or_default();
        rest = TimeRange::new(month_start(month + 1), Timestamp::MAX);
    }
    let mut manifest = Manifest::default();
    for (month, metas) in months {
        let work = Month {
            engine,
            meter,
            layer,
            sealer,
            number: month,
        };
        manifest.segments.extend(work.fold(&metas, write)?);
    }
    write
        .manifests
        .push(engine.disk.seal_manifest(sealer, meter.token, &manifest));
    Ok(manifest)
}

/// One month of one meter.
struct Month<'a> {
    engine: &'a Engine,
    meter: &'a Meter,
    layer: &'a Layer,
    sealer: &'a Sealer,
    number: u32,
}

impl Month<'_> {
    /// The month's segments after the fold.
    fn fold(&self, metas: &[SegmentMeta], write: &mut FoldWrite) -> Result<Vec<SegmentMeta>> {
        let range = month_range(self.number);
        let span = self.layer.span(range);
        let cut = |meta: &SegmentMeta| {
            let gone = |range: &TimeRange| range.start() <= meta.last && meta.first < range.end();
            self.layer.deleted().iter().any(gone)
        };
        let mut from = metas.iter().position(cut).unwrap_or(metas.len());
        let mut until = metas.iter().rposition(cut).map_or(0, |last| last + 1);
        // From where the new rows go to where they end, and all between that and what is cut: the
        // merged segments hold every row of the layer, so no other may lie among them.
        if let Some((first, last)) = span {
            from = from.min(metas.partition_point(|meta| meta.last < first));
            until = until.max(metas.partition_point(|meta| meta.first <= last));
        } else if from >= until {
            return Ok(metas.to_vec());
        }
        let until = until.max(from);
        let from = self.draw_in_small(metas, from, until);
        let (before, rest) = metas.split_at_checked(from).unwrap_or((metas, &[]));
        let (merged, after) = rest.split_at_checked(until - from).unwrap_or((rest, &[]));
        let mut folded = before.to_vec();
        folded.extend(self.rewrite(merged, range, write)?);
        folded.extend(after);
        Ok(folded)
    }

    /// Goes back over earlier segments that are small beside what is merged, where there are enough.
    fn draw_in_small(&self, metas: &[SegmentMeta], mut from: usize, until: usize) -> usize {
        let rows = self.layer.count(month_range(self.number));
        let most = u64::try_from(segment::MOST).unwrap_or(u64::MAX);
        let overlapped = metas.iter().take(until).skip(from);
        let mut total = rows + overlapped.map(|meta| meta.count).sum::<u64>();
        loop {
            let earlier = metas.get(..from).unwrap_or_default().iter().rev();
            let alike =
                |meta: &&SegmentMeta| meta.count < most && meta.count <= total.saturating_mul(2);
            let (mut number, mut readings) = (0, 0);
            for meta in earlier.take_while(alike) {
                number += 1;
                readings += meta.count;
            }
            if number == 0 || (number < ALIKE && total + readings < most) {
                return from;
            }
            total += readings;
            from -= number;
        }
    }

    /// Replaces some segments by new ones that hold their readings and the layer's.
    fn rewrite(
        &self,
        merged: &[SegmentMeta],
        range: TimeRange,
        write: &mut FoldWrite,
    ) -> Result<Vec<SegmentMeta>> {
        let mut older = Block::default();
        for meta in merged {
            // What is deleted wholly is not read: it may be damaged.
            if !is_hidden(self.layer.deleted(), meta) {
                // Not kept for readers: it is being replaced.
                let (disk, token) = (&self.engine.disk, self.meter.token);
                older.extend(disk.segment(self.sealer, token, *meta, Columns::All)?);
            }
            write.segments.push(Sealed {
                key: segment_key(self.meter.token, *meta),
                value: None,
            });
        }
        let rows = lay_over(older, self.layer, range);
        let mut metas = Vec::new();
        for start in (0..rows.len()).step_by(segment::MOST) {
            let block = rows.slice(start, rows.len().min(start + segment::MOST));
            let Some((first, last)) = block.span() else {
                continue;
            };
            let id = write.head.next_segment;
            write.head.next_segment += 1;
            let count = u64::try_from(block.len()).unwrap_or(u64::MAX);
            let meta = SegmentMeta {
                month: self.number,
                id,
                first,
                last,
                count,
            };
            let content = segment::encode(&block).map_err(|why| Error::Engine(why.to_string()))?;
            write.segments.push(self.engine.disk.seal_segment(
                self.sealer,
                self.meter.token,
                meta,
                &content,
            ));
            metas.push(meta);
        }
        Ok(metas)
    }
}

fn month_range(month: u32) -> TimeRange {
    TimeRange::new(month_start(month), month_start(month + 1)).unwrap_or(TimeRange::ALL)
}
