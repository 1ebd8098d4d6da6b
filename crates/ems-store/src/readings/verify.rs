//! Reads and authenticates everything stored: keys, records, the ledger, manifests and their
//! segments, young blocks, replaced values. Says what was read, and names each place that is not as
//! it was written. As many threads as there are cores.

use std::{
    collections::{BTreeMap, HashSet},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use ems_core::meter::MeterId;
use ems_crypto::seal::Sealer;

use super::{
    disk::{hex, segment_key},
    engine::Engine,
    keys::Token,
    manifest::SegmentMeta,
    meter::State,
};
use crate::{Error, Result, Table, subject::Subject};

/// Meters that are looked at together: their manifests are in memory at the same time.
const METERS: usize = 4096;
/// Segments of a meter that a thread takes at a time.
const SEGMENTS: usize = 8;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Wrapped keys that opened.
    pub keys: u64,
    /// Journals that were replayed.
    pub journals: u64,
    /// Records that opened, those in journals among them.
    pub records: u64,
    /// Ledger entries that opened, those in journals among them.
    pub ledger: u64,
    /// Segments that opened and are as their manifests list them.
    pub segments: u64,
    /// Readings in segments, runs and journals.
    pub readings: u64,
    /// Values that were replaced, and are kept for their time.
    pub superseded: u64,
    /// Sealed bytes of the engine's file that were opened.
    pub bytes: u64,
    /// Each bad place, and what is wrong with it.
    pub faults: Vec<String>,
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Segments that were read.
    pub done: u64,
    /// Segments that there are.
    pub total: u64,
}

/// Is told how far a verification has come, from several threads.
pub type Watch<'a> = &'a (dyn Fn(Progress) + Sync);

/// Verifies an open engine; records and journals were read when it was opened.
pub(crate) fn verify(engine: &Engine, watch: Watch<'_>) -> Result<Report> {
    let (keys, faults) = engine.keys.verify()?;
    let records = engine.records.read();
    let records: usize = records.tables.values().map(BTreeMap::len).sum();
    let wide = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let mut report = Report {
        keys,
        faults,
        records: wide(records),
        journals: wide(engine.keys.journals().len()),
        ..Report::default()
    };
    verify_ledger(engine, &mut report);
    let tally = std::thread::scope(|scope| {
        let tally = scope.spawn(|| engine.disk.check_tally());
        verify_meters(engine, watch, &mut report)?;
        Ok::<_, Error>(joined(tally))
    })?;
    report
        .faults
        .extend(tally.err().map(|error| error.to_string()));
    report.bytes = engine.disk.bytes_read();
    report.faults.sort_unstable();
    Ok(report)
}

fn verify_ledger(engine: &Engine, report: &mut Report) {
    let end = engine.ledger.read().end();
    while report.ledger < end {
        match engine.ledger(report.ledger, 4096) {
            Ok(entries) if !entries.is_empty() => {
                report.ledger += u64::try_from(entries.len()).unwrap_or(u64::MAX);
            }
            Ok(_) => {
                let why = format!("it ends at entry {} of {end}", report.ledger);
                let fault = engine.disk.damaged("ledger", why);
                return report.faults.push(fault.to_string());
            }
            Err(error) => return report.faults.push(error.to_string()),
        }
    }
}

/// One meter on its way.
struct Work {
    token: Token,
    sealer: Sealer,
    state: State,
    superseded: Result<u64>,
}

impl Work {
    fn of(engine: &Engine, id: &MeterId) -> Result<Self> {
        let (token, state) = engine.peek(id)?;
        let sealer = Sealer::new(&engine.keys.existing(&Subject::Meter(id.clone()))?);
        let superseded = engine.disk.superseded(&sealer, token, &mut |_| {});
        Ok(Self {
            token,
            sealer,
            state,
            superseded,
        })
    }
}

fn verify_meters(engine: &Engine, watch: Watch<'_>, report: &mut Report) -> Result<()> {
    let ids: Vec<MeterId> = {
        let records = engine.records.read();
        let meters = records.tables.get(&Table::Meters).into_iter().flatten();
        meters
            .filter_map(|(id, _)| MeterId::parse(id).ok())
            .collect()
    };
    let loaded = engine.loaded().into_iter().map(|meter| meter.id.clone());
    let all: HashSet<MeterId> = ids.into_iter().chain(loaded).collect();
    let all: Vec<MeterId> = all.into_iter().collect();
    let stored = engine.disk.segment_keys()?;
    let total = u64::try_from(stored.len()).unwrap_or(u64::MAX);
    let done = AtomicU64::new(0);
    let (mut listed, mut known) = (HashSet::new(), HashSet::new());
    for ids in all.chunks(METERS) {
        let mut meters = Vec::with_capacity(ids.len());
        known.extend(ids.iter().map(|id| engine.keys.meter_token(id)));
        for work in parallel(ids, |id| Work::of(engine, id)) {
            match work {
                Ok(work) => meters.push(work),
                Err(error) => report.faults.push(error.to_string()),
            }
        }
        let mut pieces: Vec<(&Work, &[SegmentMeta])> = Vec::new();
        for meter in &meters {
            report.readings += meter.state.statistics.readings;
            match &meter.superseded {
                Ok(count) => report.superseded += count,
                Err(error) => report.faults.push(error.to_string()),
            }
            let segments = meter.state.segments();
            listed.extend(segments.iter().map(|meta| segment_key(meter.token, *meta)));
            pieces.extend(segments.chunks(SEGMENTS).map(|piece| (meter, piece)));
        }
        let verified = parallel(&pieces, |(meter, piece)| {
            let found = verify_segments(engine, meter, piece);
            let count = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            let done = done.fetch_add(count, Ordering::Relaxed) + count;
            watch(Progress { done, total });
            found
        });
        for (good, faults) in verified {
            report.segments += good;
            report.faults.extend(faults);
        }
    }
    let unlisted = stored.iter().filter(|key| !listed.contains(*key));
    report.faults.extend(unlisted.map(|key| {
        let place = format!("segment {}", hex(key));
        engine
            .disk
            .damaged(place, "no manifest lists it")
            .to_string()
    }));
    verify_tokens(engine, &known, report)
}

/// Opens some segments of a meter: how many are good, and what is wrong with the others.
fn verify_segments(engine: &Engine, meter: &Work, piece: &[SegmentMeta]) -> (u64, Vec<String>) {
    let (mut good, mut faults) = (0, Vec::new());
    for meta in piece {
        let (sealer, token) = (&meter.sealer, meter.token);
        match engine.disk.check_segment(sealer, token, *meta) {
            Ok(()) => good += 1,
            Err(error) => faults.push(error.to_string()),
        }
    }
    (good, faults)
}

/// Names what is stored of no known meter.
fn verify_tokens(engine: &Engine, known: &HashSet<Token>, report: &mut Report) -> Result<()> {
    for run in engine.disk.head()?.runs {
        for token in engine.disk.tokens(run.id)? {
            if !known.contains(&token) {
                let place = format!("run {}, block {}", run.id, hex(&token));
                let fault = engine.disk.damaged(place, "no meter of its name is known");
                report.faults.push(fault.to_string());
            }
        }
    }
    for token in engine.disk.manifest_tokens()? {
        if !known.contains(&token) {
            let place = format!("manifest {}", hex(&token));
            let fault = engine.disk.damaged(place, "no meter of its name is known");
            report.faults.push(fault.to_string());
        }
    }
    Ok(())
}

/// Works on all items, by as many threads as there are cores; in no order.
fn parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(work(item));
        }
        done
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(items.len()))
            .map(|_| scope.spawn(run))
            .collect();
        let mut done = run();
        others
            .into_iter()
            .for_each(|other| done.extend(joined(other)));
        done
    })
}

/// What a thread came to.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
