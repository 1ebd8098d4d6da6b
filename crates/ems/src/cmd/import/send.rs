//! Sending a batch: again where the server asks to wait, in halves where it is too large, and once
//! more in parts where the answer could not name every row that was refused.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use ems_api::{
    client::{Client, Error},
    problem::InputError,
    reading::BatchStored,
};

use super::batch::{Batch, Rejected};
use crate::output::note;

/// Attempts after which a server that does not answer is given up.
const ATTEMPTS: u32 = 6;
/// Waits that a server may ask for before it is given up.
const WAITS: u32 = 60;
/// Rows that are asked about at once.
const ASKED: usize = 1000;

/// What became of a batch.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The counts, those of unsent rows included.
    pub(crate) stored: BatchStored,
    /// Every row that was refused.
    pub(crate) rejected: Vec<Rejected>,
}

/// What is asked of the server.
#[derive(Debug, Clone, Copy)]
enum Call {
    Store,
    Validate,
}

/// Sends a batch and learns why each refused row was.
pub(crate) async fn batch(client: &Client, batch: &Batch) -> Result<Sent> {
    let mut sent = Sent {
        rejected: batch.unsent.clone(),
        ..Sent::default()
    };
    sent.stored.rejected = u64::try_from(batch.unsent.len())?;
    // Parts yet to be sent, the first one last.
    let mut parts = vec![(0, batch.len())];
    while let Some((from, to)) = parts.pop() {
        if from == to {
            continue;
        }
        let answer = match call(client, batch, (from, to), Call::Store).await {
            Err(error) if error.status() == Some(413) && to - from > 1 => {
                let middle = from + (to - from) / 2;
                parts.extend([(middle, to), (from, middle)]);
                continue;
            }
            answer => answer.with_context(|| {
                format!(
                    "the import stopped at line {}",
                    batch.rejected(from, String::new()).line
                )
            })?,
        };
        sent.stored.accepted += answer.accepted;
        sent.stored.unchanged += answer.unchanged;
        sent.stored.corrected += answer.corrected;
        sent.stored.rejected += answer.rejected;
        if answer.rejected > 0 {
            let reasons = reasons(client, batch, (from, to), answer).await?;
            sent.rejected.extend(reasons);
        }
    }
    sent.rejected.sort_by_key(|rejected| rejected.line);
    Ok(sent)
}

/// The reasons of every refused row. The answer names at most 100 broken rules; about the rows
/// behind the last one that it names, the server is asked again, without storing.
async fn reasons(
    client: &Client,
    batch: &Batch,
    (from, to): (usize, usize),
    answer: BatchStored,
) -> Result<Vec<Rejected>> {
    let (mut found, mut next) = understood(batch, (from, to), &answer);
    let mut step = ASKED;
    while next < to {
        let part = (next, to.min(next.saturating_add(step)));
        let answer = call(client, batch, part, Call::Validate).await;
        let answer = answer.context("asking why rows were refused")?;
        let (more, reached) = understood(batch, part, &answer);
        if reached == next && part.1 - part.0 > 1 {
            // Rows and answer do not agree, or one row alone broke too many rules: a row at a time.
            step = step.min(part.1 - part.0) / 2;
            continue;
        }
        found.extend(more);
        next = reached.max(next + 1);
    }
    Ok(found)
}

/// The refused rows of an answer that are named wholly, and the first row that may not be.
fn understood(
    batch: &Batch,
    (from, to): (usize, usize),
    answer: &BatchStored,
) -> (Vec<Rejected>, usize) {
    let rows = answer.accepted + answer.unchanged + answer.corrected + answer.rejected;
    let one = to - from == 1;
    if rows != u64::try_from(to - from).unwrap_or(u64::MAX) && !one {
        return (Vec::new(), from);
    }
    let mut by_row: BTreeMap<usize, Vec<&InputError>> = BTreeMap::new();
    for error in &answer.errors {
        let index = error.index.and_then(|index| usize::try_from(index).ok());
        // Where one row was sent, whatever is said is about it.
        let index = if one { Some(0) } else { index };
        if let Some(index) = index.filter(|index| from + index < to) {
            by_row.entry(index).or_default().push(error);
        }
    }
    let mut reached = to;
    if answer.errors_truncated && !one {
        // The last row named may have broken more rules than there was room for.
        reached = by_row.pop_last().map_or(from, |(index, _)| from + index);
    }
    let rejected = |(index, errors): (usize, Vec<&InputError>)| {
        batch.rejected(
            from + index,
            in_words(&errors, answer.errors_truncated && one),
        )
    };
    (by_row.into_iter().map(rejected).collect(), reached)
}

/// The broken rules of a row in one line.
fn in_words(errors: &[&InputError], more: bool) -> String {
    let words = |error: &&InputError| {
        let place = error.pointer.trim_start_matches('/');
        let space = if place.is_empty() { "" } else { " " };
        format!("{place}{space}{}: {}", error.code, error.detail)
    };
    let mut text = errors.iter().map(words).collect::<Vec<_>>().join("; ");
    if more {
        text.push_str("; and more");
    }
    text
}

/// One call, made again while that may help.
async fn call(
    client: &Client,
    batch: &Batch,
    (from, to): (usize, usize),
    call: Call,
) -> Result<BatchStored, Error> {
    let body = batch.body(from, to);
    let body = body.map_err(|error| Error::Setup(error.to_string()))?;
    let (mut attempts, mut waits) = (0, 0);
    loop {
        let answer = match call {
            Call::Store => client.batch(body.clone()).await,
            Call::Validate => client.validate(body.clone()).await,
        };
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let pause = match &error {
            Error::Refused {
                problem,
                retry_after,
            } if matches!(problem.status, 429 | 503) => {
                waits += 1;
                retry_after.unwrap_or(Duration::from_secs(5))
            }
            // Sending it again is safe: a reading that is there already counts as unchanged.
            Error::Transport(_) => {
                attempts += 1;
                Duration::from_secs(1 << attempts.min(5))
            }
            _ => return Err(error),
        };
        if attempts >= ATTEMPTS || waits >= WAITS {
            return Err(error);
        }
        note(&format!("{error}: going on in {} s", pause.as_secs()));
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests;
