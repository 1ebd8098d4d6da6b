//! The ledger's entries of a period: their beginning and end found by halving, then read by pages.

use ems_api::incident::Basis;
use ems_core::time::Timestamp;
use ems_store::Ledger;

use super::{Asked, tally::Tally};

/// Entries read at a time.
const PAGE: usize = 4096;

/// Counts the entries of the period, and some around it that may be of it.
pub(super) async fn ledger(
    ledger: &dyn Ledger,
    asked: &Asked,
    tally: &mut Tally<'_>,
) -> ems_store::Result<Basis> {
    let length = *ledger.durable().borrow();
    let from = first_at(ledger, asked.earliest(), (0, length)).await?;
    let until = first_at(ledger, asked.latest(), (from, length)).await?;
    let mut next = from;
    while next < until {
        let left = usize::try_from(until - next).unwrap_or(usize::MAX);
        let page = ledger.entries(next, left.min(PAGE)).await?;
        let Some((last, _)) = page.last() else { break };
        next = last.saturating_add(1);
        for (index, entry) in &page {
            tally.entry(*index, entry)?;
        }
        // A long ledger must not hold the others of this thread up.
        tokio::task::yield_now().await;
    }
    Ok(Basis {
        ledger_from: from,
        ledger_until: next,
        ledger_entries: length,
        entries_matched: tally.matched(),
        ..Basis::default()
    })
}

/// The instant of the ledger's first entry.
pub(super) async fn oldest(ledger: &dyn Ledger) -> ems_store::Result<Option<Timestamp>> {
    let first = ledger.range(0, 1).await?;
    Ok(first.first().map(|(_, event)| event.timestamp))
}

/// The first of some entries that is not before an instant, were they in order.
async fn first_at(
    ledger: &dyn Ledger,
    at: Timestamp,
    (mut from, mut until): (u64, u64),
) -> ems_store::Result<u64> {
    while from < until {
        let middle = from + (until - from) / 2;
        let entry = ledger.range(middle, 1).await?;
        let Some((_, event)) = entry.first() else {
            break;
        };
        if event.timestamp < at {
            from = middle + 1;
        } else {
            until = middle;
        }
    }
    Ok(from)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use async_trait::async_trait;
    use tokio::sync::watch;

    use super::*;
    use crate::incident::tests::{asked, at, entry};

    /// A ledger of one entry a second, nearly in order; counts what is read of it.
    struct Long {
        entries: u64,
        read: AtomicU64,
    }

    #[async_trait]
    impl Ledger for Long {
        async fn entries(
            &self,
            from: u64,
            limit: usize,
        ) -> ems_store::Result<Vec<(u64, Arc<[u8]>)>> {
            let until = self.entries.min(from + u64::try_from(limit).unwrap());
            self.read.fetch_add(until - from, Ordering::Relaxed);
            let made = |index: u64| {
                // Every seventh came a minute earlier, and was served later.
                let late = if index.is_multiple_of(7) { 60 } else { 0 };
                let event = entry("alice", at(i64::try_from(index).unwrap() - late));
                (index, serde_json::to_vec(&event).unwrap().into())
            };
            Ok((from..until).map(made).collect())
        }

        fn durable(&self) -> watch::Receiver<u64> {
            watch::channel(self.entries).1
        }
    }

    #[tokio::test]
    async fn of_a_ledger_of_millions_only_the_period_is_read_and_nothing_of_it_is_missed() {
        let long = Long {
            entries: 5_000_000,
            read: AtomicU64::new(0),
        };
        let asked = asked("alice", (4_000_000, 4_000_100));
        let mut tally = Tally::new(&asked);
        let basis = ledger(&long, &asked, &mut tally).await.unwrap();
        let expected = (3_999_000_u64..4_001_000).filter(|index| {
            let second = if index.is_multiple_of(7) {
                index - 60
            } else {
                *index
            };
            (4_000_000..4_000_100).contains(&second)
        });
        assert_eq!(
            basis.entries_matched,
            u64::try_from(expected.count()).unwrap()
        );
        // Halving lands a minute off at most, since that is how far entries are out of order.
        assert!(basis.ledger_from <= 4_000_000 - 3540 && basis.ledger_until >= 4_000_100 + 3540);
        assert!(basis.ledger_entries == 5_000_000 && long.read.into_inner() < 8000);
    }
}
