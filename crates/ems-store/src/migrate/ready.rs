//! What must hold before anything is moved: the target is another instance, and what it holds came
//! from this source or is nothing.

use super::{PAGE, Pages, Sides, closing, wide};
use crate::{Error, Result, Store, Table};

/// Looks at both sides.
///
/// # Errors
/// [`Error::Refused`] saying what does not hold.
pub(super) async fn check(sides: Sides<'_>) -> Result<()> {
    let (source, target) = (sides.source, sides.target);
    let instances = (source.keys.status().await?, target.keys.status().await?);
    if instances.0.instance == instances.1.instance {
        return refused("source and target are the same instance");
    }
    for (store, which) in [(source, "source"), (target, "target")] {
        if erases(store).await? {
            return refused(format!(
                "a meter of the {which} is being erased: let its server finish that first"
            ));
        }
    }
    ledger(sides).await?;
    meters(sides).await
}

async fn erases(store: &Store) -> Result<bool> {
    let pending = store.records.list(Table::Erasures, "", None, 1).await?;
    Ok(!pending.is_empty())
}

/// What the target's ledger holds must be how the source's begins.
async fn ledger(sides: Sides<'_>) -> Result<()> {
    let mut from = 0;
    loop {
        let there = sides.target.ledger.entries(from, PAGE).await?;
        if there.is_empty() {
            return Ok(());
        }
        let here = sides.source.ledger.entries(from, there.len()).await?;
        let mut expected = here.iter();
        for (index, entry) in &there {
            let same = match expected.next() {
                Some((_, expected)) => expected == entry,
                None => closing::is_one(entry),
            };
            if !same {
                return refused(format!(
                    "the target's ledger has entries that are not the source's, the first is {index}: \
                     move into an instance that is new (`ems init --no-admin`)"
                ));
            }
        }
        from += wide(there.len());
    }
}

/// A meter that the source does not have is another's.
async fn meters(sides: Sides<'_>) -> Result<()> {
    let mut pages = Pages::new(sides.target, Table::Meters);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            return Ok(());
        }
        for record in page {
            let known = sides.source.records.get(Table::Meters, &record.id).await?;
            if known.is_none() {
                return refused(
                    "the target has meters that are not the source's: \
                     move into an instance that is new (`ems init --no-admin`)",
                );
            }
        }
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::Refused(why.into()))
}
