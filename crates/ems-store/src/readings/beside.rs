//! A fold that meets a damaged segment, manifest or block: the meter's new rows are left beside it,
//! as one block in a run, and everything else is folded.
//!
//! Nothing damaged is thrown away, and nothing is laid over what cannot be read: a scan of the
//! damaged stretch stays an error. What a deletion covers wholly goes without being read, so that a
//! damaged meter can be deleted and erased.

use std::sync::Arc;

use ems_core::{block::Block, time::TimeRange};
use ems_crypto::seal::Sealer;

use super::{
    disk::FoldWrite,
    engine::Engine,
    manifest::{Manifest, SegmentMeta},
    meter::{Meter, State},
    run,
    table::Layer,
};
use crate::{Error, Result, subject::Subject};

/// What became of a meter that could not be merged.
pub(crate) struct Beside {
    /// The run that holds its young rows now, if it has any.
    run: Option<u64>,
    /// Its segments, where a deletion took some.
    manifest: Option<Manifest>,
    /// Runs that held rows of it.
    spent: Vec<u64>,
}

/// Where the rows of a meter went that were to become segments.
pub(crate) enum Settled {
    Segments(Manifest),
    /// Into one run, since something is damaged.
    Beside(Beside),
}

/// Brings a meter's rows to segments as `attempt` does; where that meets damage, what it staged is
/// dropped, and the rows of `layer` are left beside.
pub(crate) fn settle(
    engine: &Engine,
    (meter, sealer): (&Meter, &Sealer),
    (state, layer): (&State, &Arc<Layer>),
    write: &mut FoldWrite,
    attempt: impl FnOnce(&mut FoldWrite) -> Result<Manifest>,
) -> Result<Settled> {
    let staged = (write.segments.len(), write.manifests.len());
    match attempt(write) {
        Err(error @ Error::Damaged { .. }) => {
            tracing::error!(%error, "a meter's new readings are left beside what is damaged");
            write.segments.truncate(staged.0);
            write.manifests.truncate(staged.1);
            fold(engine, (meter, sealer), (state, layer), write).map(Settled::Beside)
        }
        settled => settled.map(Settled::Segments),
    }
}

impl Beside {
    pub(crate) fn tell(self, state: &mut State) {
        state.left_beside(self.manifest, &self.spent, self.run);
    }
}

/// Whether a deletion leaves nothing of a stretch.
pub(crate) fn is_hidden(deleted: &[TimeRange], meta: &SegmentMeta) -> bool {
    let covers = |gone: &TimeRange| gone.start() <= meta.first && meta.last < gone.end();
    deleted.iter().any(covers)
}

/// Leaves the rows of a layer beside what a meter has on disk.
fn fold(
    engine: &Engine,
    (meter, sealer): (&Meter, &Sealer),
    (state, layer): (&State, &Arc<Layer>),
    write: &mut FoldWrite,
) -> Result<Beside> {
    let all_gone = layer.deleted().contains(&TimeRange::ALL);
    let kept = state.segments().iter().copied();
    let kept: Vec<_> = kept
        .filter(|meta| !is_hidden(layer.deleted(), meta))
        .collect();
    let fewer = kept.len() < state.segments().len();
    let manifest = (all_gone || fewer).then_some(Manifest { segments: kept });
    if let Some(manifest) = &manifest {
        let row = engine.disk.seal_manifest(sealer, meter.token, manifest);
        write.manifests.push(row);
    }
    let (rows, spent) = match engine.young(meter, state) {
        Ok(Some(mut young)) => {
            young.absorb(Layer::clone(layer));
            (young.rows(TimeRange::ALL).collect(), state.runs().to_vec())
        }
        Ok(None) => (layer.rows(TimeRange::ALL).collect(), Vec::new()),
        Err(Error::Damaged { .. }) => {
            let rows: Block = layer.rows(TimeRange::ALL).collect();
            let runs = write.head.runs.iter().map(|run| run.id);
            let gone = runs.filter(|_| all_gone).collect::<Vec<_>>();
            (rows, with_block(engine, meter, gone)?)
        }
        Err(error) => return Err(error),
    };
    write.spend(meter, &spent);
    let run = if rows.is_empty() {
        None
    } else {
        let next = write.head.next_run;
        let (run, blocks) = write.run.get_or_insert_with(|| (next, Vec::new()));
        let owner = engine.keys.subject_token(&Subject::Meter(meter.id.clone()));
        let content = run::encode(&meter.id, &rows);
        let place = (owner, meter.token);
        blocks.push(engine.disk.seal_block(sealer, place, *run, &content));
        Some(*run)
    };
    Ok(Beside {
        run,
        manifest,
        spent,
    })
}

/// Those of some runs that hold a block of a meter.
fn with_block(engine: &Engine, meter: &Meter, runs: Vec<u64>) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for run in runs {
        if engine.disk.has_block(run, meter.token)? {
            found.push(run);
        }
    }
    Ok(found)
}
