//! One meter: its segments on disk, its young rows in runs above them, a frozen layer on its way there,
//! and the active layer on top. A scan merges them, the later write winning.

use std::sync::{Arc, OnceLock};

use ems_core::{
    block::Block,
    meter::{MeterId, MeterStatistics},
    reading::Reading,
    time::{TimeRange, Timestamp},
};
use parking_lot::RwLock;

use super::{
    beside::is_hidden,
    disk::Stored,
    keys::Token,
    manifest::{Manifest, SegmentMeta},
    segment,
    table::{Known, Layer},
};
use crate::{Columns, Error, Piece, Result};

/// A meter that was touched since the start.
pub(crate) struct Meter {
    pub(crate) id: MeterId,
    pub(crate) token: Token,
    /// Its name in logs and the ledger, once it was asked for.
    pub(crate) pseudonym: OnceLock<String>,
    pub(crate) state: RwLock<State>,
}

/// What changes of a meter. Small where nothing is in memory: there may be a million of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// Its segments; `None` for none.
    manifest: Option<Arc<Manifest>>,
    /// The runs that hold rows of it, ascending: newer than its segments.
    runs: Vec<u64>,
    /// From the first to the last of those rows, or wider.
    runs_span: Option<(Timestamp, Timestamp)>,
    /// On its way to a run or to segments.
    frozen: Option<Arc<Layer>>,
    active: Option<Box<Layer>>,
    /// Why what is on disk of it cannot be told. What lies above is kept.
    broken: Option<Arc<str>>,
    pub(crate) statistics: MeterStatistics,
}

impl State {
    /// The state of a meter of which nothing is in memory: its segments, and its rows in runs.
    pub(crate) fn of(manifest: Manifest, young: &[(u64, Block)]) -> Self {
        let mut statistics = MeterStatistics {
            readings: manifest.segments.iter().map(|meta| meta.count).sum(),
            span: manifest.span(),
        };
        for (_, rows) in young {
            statistics.readings += u64::try_from(rows.len()).unwrap_or(u64::MAX);
            statistics.span = joined(statistics.span, rows.span());
        }
        let spans = young.iter().map(|(_, rows)| rows.span());
        let mut state = Self {
            runs: young.iter().map(|(run, _)| *run).collect(),
            runs_span: spans.fold(None, joined),
            statistics,
            ..Self::default()
        };
        state.fold_to(manifest);
        state
    }

    /// The state of a meter of which the disk tells nothing that can be read.
    pub(crate) fn broken(why: &str) -> Self {
        Self {
            broken: Some(why.into()),
            ..Self::default()
        }
    }

    /// Whether what is on disk of it can be told.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.broken {
            Some(why) => Err(Error::damaged("a meter", &**why)),
            None => Ok(()),
        }
    }

    /// Its segments, ascending.
    pub(crate) fn segments(&self) -> &[SegmentMeta] {
        self.manifest
            .as_ref()
            .map_or(&[], |manifest| &manifest.segments)
    }

    /// The runs that hold rows of it, ascending.
    pub(crate) fn runs(&self) -> &[u64] {
        &self.runs
    }

    /// Whether a run may hold rows of it in a stretch.
    pub(crate) fn has_runs_in(&self, range: TimeRange) -> bool {
        let meets = |(first, last)| first < range.end() && range.start() <= last;
        self.runs_span.is_some_and(meets)
    }

    /// Replaced values that are not on disk yet.
    pub(crate) fn superseded(&self) -> impl Iterator<Item = &(Timestamp, Reading)> {
        let layers = [self.frozen.as_deref(), self.active.as_deref()];
        layers.into_iter().flatten().flat_map(Layer::superseded)
    }

    /// What lies below what is still written to.
    pub(crate) fn below(&self) -> Self {
        Self {
            manifest: self.manifest.clone(),
            runs: self.runs.clone(),
            runs_span: self.runs_span,
            frozen: self.frozen.clone(),
            active: None,
            broken: self.broken.clone(),
            statistics: self.statistics,
        }
    }

    /// Lays a layer over all that is there.
    pub(crate) fn absorb(&mut self, layer: Layer) {
        if !layer.is_empty() {
            self.active.get_or_insert_default().absorb(layer);
        }
    }

    /// Sets what is in memory aside to be folded; whether there is anything.
    pub(crate) fn freeze(&mut self) -> bool {
        self.frozen = self.active.take().map(|layer| Arc::from(*layer));
        self.frozen.is_some()
    }

    /// What is set aside.
    pub(crate) fn frozen(&self) -> Option<Arc<Layer>> {
        self.frozen.clone()
    }

    /// What another process has left on disk of it; `folded` where that holds what was set aside.
    pub(crate) fn follow(&mut self, stored: Result<Stored>, folded: bool) {
        let (manifest, young) = match stored {
            Ok(stored) => stored,
            Err(error) => {
                self.broken = Some(error.to_string().into());
                return;
            }
        };
        if folded {
            self.frozen = None;
        }
        self.broken = None;
        self.runs = young.iter().map(|(run, _)| *run).collect();
        let spans = young.iter().map(|(_, rows)| rows.span());
        self.runs_span = spans.fold(None, joined);
        self.fold_to(manifest);
    }

    /// What was set aside is in a run now.
    pub(crate) fn folded_to_run(&mut self, run: u64) {
        let rows = self
            .frozen
            .take()
            .and_then(|rows| rows.span(TimeRange::ALL));
        self.runs_span = joined(self.runs_span, rows);
        self.runs.push(run);
    }

    /// What was set aside, and what some runs held, is in segments now.
    pub(crate) fn folded_to(&mut self, manifest: Manifest) {
        self.frozen = None;
        self.merged_to(manifest);
    }

    /// What was set aside is beside what could not be read.
    pub(crate) fn folded_beside(&mut self) {
        self.frozen = None;
    }

    /// Young rows are in one run now, beside what could not be read; some of that is deleted.
    pub(crate) fn left_beside(
        &mut self,
        manifest: Option<Manifest>,
        spent: &[u64],
        run: Option<u64>,
    ) {
        self.runs.retain(|run| !spent.contains(run));
        self.runs.extend(run);
        // Anywhere: what lies beside damage is rare.
        let anywhere = (TimeRange::ALL.start(), TimeRange::ALL.end());
        self.runs_span = (!self.runs.is_empty()).then_some(anywhere);
        if let Some(manifest) = manifest {
            if manifest.segments.is_empty() {
                self.broken = None;
            }
            self.fold_to(manifest);
        }
    }

    /// What the runs held is in segments now.
    pub(crate) fn merged_to(&mut self, manifest: Manifest) {
        self.runs = Vec::new();
        self.runs_span = None;
        self.fold_to(manifest);
    }

    fn fold_to(&mut self, manifest: Manifest) {
        let some = !manifest.segments.is_empty();
        self.manifest = some.then(|| Arc::new(manifest));
    }

    /// The layers as they lie over each other. `young` is what the runs hold; `above` lies over all.
    pub(crate) fn view<'a>(
        &'a self,
        above: Option<&'a Layer>,
        young: Option<&'a Layer>,
    ) -> View<'a> {
        let layers = [above, self.active.as_deref(), self.frozen.as_deref(), young];
        View {
            layers: layers.into_iter().flatten().collect(),
            segments: self.segments(),
        }
    }
}

fn joined(
    one: Option<(Timestamp, Timestamp)>,
    other: Option<(Timestamp, Timestamp)>,
) -> Option<(Timestamp, Timestamp)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

/// What of a segment lies in a stretch; without a copy where all of it does and nobody else has it.
fn part(block: Arc<Block>, window: TimeRange) -> Block {
    let inside = |(first, last)| window.contains(first) && window.contains(last);
    if block.span().is_some_and(inside) {
        Arc::unwrap_or_clone(block)
    } else {
        block.within(window)
    }
}

/// Gives the content of a segment.
pub(crate) type Load<'a> = &'a dyn Fn(SegmentMeta, Columns) -> Result<Arc<Block>>;

/// The layers of a meter at one moment.
pub(crate) struct View<'a> {
    /// Those in memory and in runs, the newest first.
    layers: Vec<&'a Layer>,
    segments: &'a [SegmentMeta],
}

impl View<'_> {
    /// The reading at an instant.
    pub(crate) fn find(&self, at: Timestamp, load: Load<'_>) -> Result<Option<Reading>> {
        for layer in &self.layers {
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
        let place = self.segments.partition_point(|meta| meta.last < at);
        self.segments.get(place).copied()
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
        // What is deleted wholly is not read: it may be damaged.
        let hides = |meta: &SegmentMeta| {
            let mut deleted = self.deleted(self.layers.len());
            deleted.any(|gone| is_hidden(std::slice::from_ref(gone), meta))
        };
        let stored = match meta.filter(|meta| meta.first < until && !hides(meta)) {
            Some(meta) => Some(load(meta, columns)?),
            None => None,
        };
        let hidden = self
            .deleted(self.layers.len())
            .any(|gone| gone.intersect(window).is_some());
        let block = match stored {
            None => rows,
            Some(block) if rows.is_empty() && !hidden => part(block, window),
            Some(block) => self.merge(part(block, window), rows),
        };
        Ok(Piece { block, until })
    }

    /// What the newest `count` layers delete of those below.
    fn deleted(&self, count: usize) -> impl Iterator<Item = &TimeRange> {
        let newest = self.layers.iter().take(count);
        newest.flat_map(|layer| layer.deleted())
    }

    /// Rows of all layers from the start of `range` to `until`, at most a segment's worth: then
    /// `until` is drawn in.
    fn rows_in_memory(&self, range: TimeRange, until: Timestamp) -> (Block, Timestamp) {
        let mut rows = Block::default();
        let Some(window) = TimeRange::new(range.start(), until) else {
            return (rows, until);
        };
        // Mostly only one layer has any, and all of it came in order.
        let mut with_rows = self.layers.iter().enumerate().filter(|(_, layer)| {
            // Asked of the whole layer: cheaper than of the window, and nearly as good.
            layer.last().is_some_and(|last| window.start() <= last)
        });
        match (with_rows.next(), with_rows.next()) {
            (None, _) => return (rows, until),
            (Some((above, layer)), None) if self.deleted(above).next().is_none() => {
                let short = |rows: &Block| rows.len() <= segment::MOST;
                if let Some(rows) = layer.columns(window).filter(short) {
                    return (rows, until);
                }
            }
            _ => {}
        }
        let mut cursors: Vec<_> = self
            .layers
            .iter()
            .enumerate()
            .map(|(above, layer)| {
                let gone = move |at| self.deleted(above).any(|range| range.contains(at));
                layer
                    .rows(window)
                    .filter(move |row| !gone(row.at))
                    .peekable()
            })
            .collect();
        loop {
            let next = cursors
                .iter_mut()
                .filter_map(|rows| rows.peek().map(|row| row.at));
            let Some(at) = next.min() else {
                return (rows, until);
            };
            if rows.len() == segment::MOST {
                return (rows, at);
            }
            // The newest layer's row; those of the others at the same time are passed over.
            let mut newest = None;
            for cursor in &mut cursors {
                let row = cursor.next_if(|row| row.at == at);
                newest = newest.or(row);
            }
            newest.into_iter().for_each(|row| drop(rows.push(row)));
        }
    }

    /// Lays rows over a segment's part, of which what was deleted is left out.
    fn merge(&self, mut stored: Block, rows: Block) -> Block {
        let all = self.layers.len();
        if self.deleted(all).next().is_some() {
            let gone = |at| self.deleted(all).any(|range| range.contains(at));
            stored = stored.iter().filter(|row| !gone(row.at)).collect();
        }
        laid(stored, rows)
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
    let rows = match layer.columns(range) {
        Some(rows) => rows,
        None => layer.rows(range).collect(),
    };
    if !layer.deleted().is_empty() {
        let gone = |at| layer.deleted().iter().any(|range| range.contains(at));
        older = older.iter().filter(|row| !gone(row.at)).collect();
    }
    laid(older, rows)
}

/// Newer readings over older ones.
fn laid(mut older: Block, rows: Block) -> Block {
    let Err(rows) = older.insert(rows) else {
        return older;
    };
    // What lies before all new rows stays as it is.
    let first = rows.span().map(|(first, _)| first);
    let mixed = older.split_off(older.count_before(first.unwrap_or(Timestamp::MAX)));
    let mut mixed = mixed.iter().peekable();
    for row in rows.iter() {
        while let Some(old) = mixed.next_if(|old| old.at < row.at) {
            drop(older.push(old));
        }
        mixed.next_if(|old| old.at == row.at);
        drop(older.push(row));
    }
    mixed.for_each(|old| drop(older.push(old)));
    older
}
