//! Answers that are kept for a while, so that a request which is sent again under the same name is
//! answered as before instead of being done twice. An answer is a record of the commit that it
//! answers: it is there if, and only if, that commit is.

use ems_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Batch, Counts, Expect, Outcome, RecordChange, Records, Result, Store, Table};

/// Records of a page that are looked at for those that are over.
const PAGE: usize = 1000;

/// The name under which a request may be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable {
    /// Who sent it and the name that was chosen: one name of one principal is one request.
    pub id: String,
    /// Hash of what was sent: another request must not take the name.
    pub digest: [u8; 32],
    /// What its answer holds beside the counts, as the caller likes it.
    pub answer: Vec<u8>,
    /// Until when it is remembered.
    pub until: Timestamp,
}

/// What was answered to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What became of the readings.
    pub counts: Counts,
    /// What the answer held beside the counts.
    pub answer: Vec<u8>,
}

/// What a record of the table holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    digest: [u8; 32],
    until: i64,
    counts: [u64; 3],
    answer: Vec<u8>,
}

/// What is known under a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing, or no more.
    New,
    /// This request, and its answer.
    Same(Answered),
    /// Another request.
    Other,
}

impl Repeatable {
    /// What the value of its record says at an instant.
    pub(crate) fn known(&self, value: Option<&[u8]>, now: Timestamp) -> Known {
        let Some(kept) = value.and_then(decode) else {
            return Known::New;
        };
        if kept.until <= now.as_micros() {
            return Known::New;
        }
        if kept.digest != self.digest {
            return Known::Other;
        }
        let [accepted, unchanged, corrected] = kept.counts;
        Known::Same(Answered {
            counts: Counts {
                accepted,
                unchanged,
                corrected,
            },
            answer: kept.answer,
        })
    }

    /// What is known under its name before it is committed; one that is under way is not.
    ///
    /// # Errors
    /// As [`Records::get`].
    pub async fn look(&self, records: &dyn Records, now: Timestamp) -> Result<Known> {
        let record = records.get(Table::Answers, &self.id).await?;
        Ok(self.known(record.as_ref().map(|record| &*record.value), now))
    }

    /// The record of its answer.
    pub(crate) fn keep(&self, outcome: &Outcome) -> RecordChange {
        let Counts {
            accepted,
            unchanged,
            corrected,
        } = outcome.counts;
        let kept = Kept {
            digest: self.digest,
            until: self.until.as_micros(),
            counts: [accepted, unchanged, corrected],
            answer: self.answer.clone(),
        };
        RecordChange {
            table: Table::Answers,
            id: self.id.clone(),
            expect: Expect::Any,
            value: postcard::to_allocvec(&kept).ok(),
        }
    }
}

fn decode(value: &[u8]) -> Option<Kept> {
    postcard::from_bytes(value).ok()
}

/// Removes the answers that are over; returns how many. Nothing of it is for the ledger: they say no
/// more than the entries of their commits.
///
/// # Errors
/// Those of the store.
pub async fn sweep(store: &Store, now: Timestamp) -> Result<u64> {
    let (mut removed, mut after) = (0, None::<String>);
    loop {
        let from = after.as_deref();
        let page = store.records.list(Table::Answers, "", from, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(removed);
        };
        after = Some(last.id.to_string());
        let over = |value: &[u8]| decode(value).is_none_or(|kept| kept.until <= now.as_micros());
        let over = page.iter().filter(|record| over(&record.value));
        let records: Vec<RecordChange> = over
            .map(|record| RecordChange {
                table: Table::Answers,
                id: record.id.to_string(),
                expect: Expect::Any,
                value: None,
            })
            .collect();
        removed += u64::try_from(records.len()).unwrap_or(u64::MAX);
        if !records.is_empty() {
            let batch = Batch {
                records,
                ..Batch::default()
            };
            store.commit.commit(batch).await?;
        }
    }
}
