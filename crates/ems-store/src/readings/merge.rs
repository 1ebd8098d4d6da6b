//! Merging: the young rows of many folds become segments, a few thousand meters a transaction, in the
//! order of their tokens, so that each page of a run is visited once. A crash leaves each meter's rows
//! in the runs or in segments, never in both.

use std::sync::Arc;

use super::{
    beside::{self, Settled},
    disk::FoldWrite,
    engine::Engine,
    keys::Token,
    manifest::Head,
    meter::Meter,
    months,
};
use crate::{Error, Result};

/// New runs that are worth a merge.
const RUNS: usize = 8;
/// Meters of a step at most.
const METERS: usize = 2048;

/// A merge under way.
pub(crate) struct Merge {
    /// Each meter that has rows in a run, and one such run: the next one last.
    left: Vec<(Token, u64)>,
    last: u64,
}

impl Merge {
    /// A merge of all runs, where enough of them are newer than `merged`.
    pub(crate) fn due(engine: &Engine, merged: u64) -> Result<Option<Self>> {
        let head = engine.disk.head()?;
        let new = head.runs.iter().filter(|run| run.id > merged).count();
        let Some(last) = head.runs.last().filter(|_| new >= RUNS) else {
            return Ok(None);
        };
        let mut left = Vec::new();
        for run in &head.runs {
            let tokens = engine.disk.tokens(run.id)?.into_iter();
            left.extend(tokens.map(|token| (token, run.id)));
            left.sort_unstable_by(|one, other| other.cmp(one));
            left.dedup_by_key(|(token, _)| *token);
        }
        let last = last.id;
        Ok(Some(Self { left, last }))
    }

    /// The last run that it takes in.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Merges the next meters, whole or not at all; whether there are more. A meter of which
    /// something is damaged is left as it is.
    pub(crate) fn step(&mut self, engine: &Engine) -> Result<bool> {
        let mut write = FoldWrite {
            head: engine.disk.head()?,
            ..FoldWrite::default()
        };
        let mut merged = Vec::new();
        let rest = self.left.len().saturating_sub(METERS);
        for (token, run) in self.left.split_off(rest).into_iter().rev() {
            match merge(engine, (token, run), &mut write) {
                Ok(done) => merged.extend(done),
                Err(error @ Error::Damaged { .. }) => {
                    tracing::error!(%error, "a meter's young readings are left unmerged");
                    stick(engine, token, &write.head)?;
                }
                Err(error) => return Err(error),
            }
        }
        write.begin_run();
        engine.disk.write(write, || {
            for (meter, settled) in merged {
                let mut state = meter.state.write();
                match settled {
                    Settled::Segments(manifest) => state.merged_to(manifest),
                    Settled::Beside(beside) => beside.tell(&mut state),
                }
            }
        })?;
        Ok(!self.left.is_empty())
    }
}

/// Notes the runs that hold a block of a meter: a merge will not empty them.
fn stick(engine: &Engine, token: Token, head: &Head) -> Result<()> {
    for run in &head.runs {
        if engine.disk.has_block(run.id, token)? {
            engine.stuck.lock().insert(run.id);
        }
    }
    Ok(())
}

/// Lays what the runs hold of a meter over its segments. `None` where a fold did so meanwhile.
fn merge(
    engine: &Engine,
    (token, run): (Token, u64),
    write: &mut FoldWrite,
) -> Result<Option<(Arc<Meter>, Settled)>> {
    let Some(id) = engine.disk.meter_of(run, token)? else {
        return Ok(None);
    };
    let meter = engine.load_meter(&id)?;
    let state = meter.state.read().below();
    let Some(young) = engine.young(&meter, &state)? else {
        return Ok(None);
    };
    let sealer = engine.sealer(&meter)?;
    let (of, none) = ((&*meter, &sealer), Arc::default());
    let settled = beside::settle(engine, of, (&state, &none), write, |write| {
        let manifest = months::fold(engine, of, (&young, state.segments()), write)?;
        write.spend(&meter, state.runs());
        Ok(manifest)
    })?;
    Ok(Some((meter, settled)))
}
