//! Folding: what is in memory and journal becomes segments, manifests, records and ledger chunks,
//! in one transaction; then the journal and its key are destroyed. A crash at any point leaves the
//! old state and its journal, or the new one.
//!
//! A month's new rows are merged with the segments they overlap, and with earlier small ones as long
//! as those are not twice as large: each reading is rewritten a logarithmic number of times.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use ems_core::{
    block::Block,
    time::{TimeRange, Timestamp, month_of, month_start},
};
use ems_crypto::seal::Sealer;

use super::{
    disk::{FoldWrite, Sealed, segment_key},
    engine::Engine,
    manifest::{Head, Manifest, SegmentMeta},
    meter::{Meter, lay_over},
    segment,
    table::Layer,
    writer::retire,
};
use crate::{Columns, Error, Result, Table, subject::Subject};

/// What a fold is to bring to disk.
pub(crate) struct FoldJob {
    /// The last journal whose content is in it.
    journal: u64,
    sequence: u64,
    meters: Vec<Arc<Meter>>,
    records: Vec<(Table, Arc<str>)>,
    ledger_end: u64,
}

impl FoldJob {
    /// Freezes what is in memory. Only the writer may call it, between two groups.
    pub(crate) fn freeze(engine: &Engine, journal: u64, sequence: u64) -> Self {
        let mut meters = engine.loaded();
        meters.retain(|meter| {
            let mut state = meter.state.write();
            if state.active.is_empty() {
                return false;
            }
            state.frozen = Arc::new(std::mem::take(&mut state.active));
            true
        });
        let records = engine.records.write().changed.drain().collect();
        let ledger_end = engine.ledger.read().end();
        Self {
            journal,
            sequence,
            meters,
            records,
            ledger_end,
        }
    }
}

/// The thread that folds, one job after the other.
pub(crate) struct Folder {
    /// `None` once it is to end.
    jobs: Option<mpsc::Sender<FoldJob>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What became of each attempt at the job under way.
    attempts: mpsc::Receiver<Result<()>>,
    stop: Arc<AtomicBool>,
    busy: bool,
}

impl Folder {
    pub(crate) fn start(engine: Arc<Engine>) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<FoldJob>();
        let (told, attempts) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("ems-folder".into());
        let work = move || {
            for job in queue {
                loop {
                    let attempt = fold(&engine, &job);
                    let failed = attempt.is_err();
                    if told.send(attempt).is_err() || stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    if !failed {
                        break;
                    }
                    std::thread::sleep(engine.ground.retry);
                }
            }
        };
        let thread = thread.spawn(work).map_err(Error::io("folder thread"))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
            attempts,
            stop,
            busy: false,
        })
    }

    /// Whether a job is under way.
    pub(crate) fn is_busy(&mut self) -> bool {
        while let (true, Ok(attempt)) = (self.busy, self.attempts.try_recv()) {
            self.busy = attempt.is_err();
        }
        self.busy
    }

    /// Waits for the job under way.
    ///
    /// # Errors
    /// What an attempt at it failed with, such as a full disk. It stays under way and is tried
    /// again; until then its journal holds everything.
    pub(crate) fn wait(&mut self) -> Result<()> {
        if self.is_busy() {
            let ended = |_| Error::Unavailable("the folder has ended".into());
            self.attempts.recv().map_err(ended)??;
            self.busy = false;
        }
        Ok(())
    }

    /// Hands over a job; none may be under way.
    pub(crate) fn begin(&mut self, job: FoldJob) {
        self.busy = self
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
    }
}

impl Drop for Folder {
    /// Ends the thread and waits for it: what it holds is free when this returns.
    fn drop(&mut self) {
        self.jobs = None;
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn fold(engine: &Engine, job: &FoldJob) -> Result<()> {
    let old = engine.disk.head()?;
    let mut write = FoldWrite {
        head: old,
        ..FoldWrite::default()
    };
    let mut manifests = Vec::with_capacity(job.meters.len());
    for meter in &job.meters {
        manifests.push(Arc::new(fold_meter(
            engine,
            meter,
            job.sequence,
            &mut write,
        )?));
    }
    {
        let records = engine.records.read();
        write.records = job
            .records
            .iter()
            .map(|(table, id)| engine.disk.seal_record(*table, id, records.get(*table, id)))
            .collect::<Result<_>>()?;
    }
    let entries: Vec<Arc<[u8]>> = {
        let tail = engine.ledger.read();
        let count = usize::try_from(job.ledger_end - tail.first).unwrap_or(usize::MAX);
        tail.entries.iter().take(count).cloned().collect()
    };
    write.ledger = engine.disk.seal_ledger(old.ledger, &entries);
    write.head = Head {
        journal: job.journal,
        sequence: job.sequence,
        ledger: job.ledger_end,
        generation: engine.keys.generation(),
        next_segment: write.head.next_segment,
    };
    engine.disk.write(write)?;
    for (meter, manifest) in job.meters.iter().zip(manifests) {
        let mut state = meter.state.write();
        state.manifest = manifest;
        state.frozen = Arc::default();
    }
    {
        let mut tail = engine.ledger.write();
        tail.entries.drain(..entries.len());
        tail.first = job.ledger_end;
    }
    let folded = engine
        .keys
        .journals()
        .into_iter()
        .filter(|number| *number <= job.journal);
    folded
        .into_iter()
        .try_for_each(|number| retire(engine, number))
}

/// Brings the frozen layer of one meter to segments; returns the meter's new manifest.
fn fold_meter(
    engine: &Engine,
    meter: &Meter,
    sequence: u64,
    write: &mut FoldWrite,
) -> Result<Manifest> {
    let (layer, old) = {
        let state = meter.state.read();
        (Arc::clone(&state.frozen), Arc::clone(&state.manifest))
    };
    let sealer = Sealer::new(&engine.keys.existing(&Subject::Meter(meter.id.clone()))?);
    let mut months: BTreeMap<u32, Vec<SegmentMeta>> = BTreeMap::new();
    for meta in &old.segments {
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
            layer: &layer,
            sealer: &sealer,
            number: month,
        };
        manifest.segments.extend(work.fold(&metas, write)?);
    }
    if !layer.superseded().is_empty() {
        let content = segment::encode_superseded(layer.superseded());
        write.superseded.push(engine.disk.seal_superseded(
            &sealer,
            meter.token,
            sequence,
            &content,
        ));
    }
    write
        .manifests
        .push(engine.disk.seal_manifest(&sealer, meter.token, &manifest));
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
        let affected = |meta: &SegmentMeta| {
            let overlaps =
                span.is_some_and(|(first, last)| first <= meta.last && meta.first <= last);
            let gone = |range: &TimeRange| range.start() <= meta.last && meta.first < range.end();
            overlaps || self.layer.deleted().iter().any(gone)
        };
        let mut from = metas.iter().position(affected).unwrap_or(metas.len());
        let until = metas
            .iter()
            .rposition(affected)
            .map_or(from, |last| last + 1);
        if span.is_none() && from == until {
            return Ok(metas.to_vec());
        }
        // New rows between two segments go where they belong.
        if from == metas.len()
            && let Some((first, _)) = span
        {
            from = metas.partition_point(|meta| meta.last < first);
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

    /// Goes back over earlier segments that are small beside what is merged.
    fn draw_in_small(&self, metas: &[SegmentMeta], mut from: usize, until: usize) -> usize {
        let rows = self.layer.count(month_range(self.number));
        let most = u64::try_from(segment::MOST).unwrap_or(u64::MAX);
        let mut total = rows
            + metas
                .iter()
                .take(until)
                .skip(from)
                .map(|meta| meta.count)
                .sum::<u64>();
        while let Some(meta) = from.checked_sub(1).and_then(|place| metas.get(place)) {
            if meta.count >= most || meta.count > total.saturating_mul(2) {
                break;
            }
            total += meta.count;
            from -= 1;
        }
        from
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
            let block = self.engine.segment(self.meter, *meta, Columns::All)?;
            older.extend(Arc::unwrap_or_clone(block));
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
