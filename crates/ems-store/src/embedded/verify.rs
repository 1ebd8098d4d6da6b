//! Reads and authenticates everything stored: keys, records, the ledger, manifests and their
//! segments. Says what was read, and names each place that is not as it was written.

use std::collections::HashSet;

use ems_core::meter::MeterId;
use ems_crypto::seal::Sealer;

use super::{
    disk::{hex, segment_key},
    engine::Engine,
};
use crate::{Columns, Result, Table, subject::Subject};

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Wrapped keys that opened.
    pub keys: u64,
    /// Records that opened.
    pub records: u64,
    /// Ledger entries that opened.
    pub ledger: u64,
    /// Segments that opened and are as their manifests list them.
    pub segments: u64,
    /// Readings in those segments and in the journal.
    pub readings: u64,
    /// Values that were replaced, and are kept for their time.
    pub superseded: u64,
    /// Each bad place, and what is wrong with it.
    pub faults: Vec<String>,
}

/// Verifies an open engine; the journal was read when it was opened.
pub(crate) fn verify(engine: &Engine) -> Result<Report> {
    let mut report = Report::default();
    (report.keys, report.faults) = engine.keys.verify()?;
    let mut faults = Vec::new();
    engine
        .disk
        .records(&mut |_, _| report.records += 1, &mut |error| {
            faults.push(error.to_string());
        })?;
    report.faults.append(&mut faults);
    verify_ledger(engine, &mut report);
    verify_meters(engine, &mut report)?;
    if let Err(error) = engine.disk.check_tally() {
        report.faults.push(error.to_string());
    }
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
                return report.faults.push(format!(
                    "engine.redb, ledger: it ends at entry {} of {end}",
                    report.ledger
                ));
            }
            Err(error) => return report.faults.push(error.to_string()),
        }
    }
}

fn verify_meters(engine: &Engine, report: &mut Report) -> Result<()> {
    let ids: Vec<MeterId> = {
        let records = engine.records.read();
        let meters = records.tables.get(&Table::Meters).into_iter().flatten();
        meters
            .filter_map(|(id, _)| MeterId::parse(id).ok())
            .collect()
    };
    let loaded = engine.loaded().into_iter().map(|meter| meter.id.clone());
    let all: HashSet<MeterId> = ids.into_iter().chain(loaded).collect();
    let (mut listed, mut manifests) = (HashSet::new(), HashSet::new());
    for id in all {
        manifests.insert(engine.keys.meter_token(&id));
        if let Err(error) = verify_meter(engine, &id, &mut listed, report) {
            report.faults.push(error.to_string());
        }
    }
    for key in engine.disk.segment_keys()? {
        if !listed.contains(&key) {
            report.faults.push(format!(
                "engine.redb, segment {}: no manifest lists it",
                hex(&key)
            ));
        }
    }
    for run in engine.disk.head()?.runs {
        for token in engine.disk.tokens(run.id)? {
            if !manifests.contains(&token) {
                report.faults.push(format!(
                    "engine.redb, run {}, block {}: no meter of its name is known",
                    run.id,
                    hex(&token)
                ));
            }
        }
    }
    for token in engine.disk.manifest_tokens()? {
        if !manifests.contains(&token) {
            report.faults.push(format!(
                "engine.redb, manifest {}: no meter of its name is known",
                hex(&token)
            ));
        }
    }
    Ok(())
}

fn verify_meter(
    engine: &Engine,
    id: &MeterId,
    listed: &mut HashSet<[u8; 28]>,
    report: &mut Report,
) -> Result<()> {
    let meter = engine.load_meter(id)?;
    let state = meter.state.read().clone();
    report.readings += state.statistics.readings;
    let sealer = Sealer::new(&engine.keys.existing(&Subject::Meter(id.clone()))?);
    report.superseded += engine.disk.superseded(&sealer, meter.token)?;
    for meta in state.segments() {
        listed.insert(segment_key(meter.token, *meta));
        match engine
            .disk
            .segment(&sealer, meter.token, *meta, Columns::All)
        {
            Ok(_) => report.segments += 1,
            Err(error) => report.faults.push(error.to_string()),
        }
    }
    Ok(())
}
