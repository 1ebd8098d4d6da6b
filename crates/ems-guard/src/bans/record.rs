//! Sentences as records: what survives a restart, and what all processes of a store share.

use ems_core::{
    audit::{AuditKind, Change},
    time::Timestamp,
};
use ems_store::{Batch, Expect, Store, Table};
use serde_json::json;

use super::{Bans, REMEMBERED, Sentence, micros};
use crate::{
    Act, Network, Result,
    accounts::{expire, next_page, parse, put, remove},
};

/// Puts or removes the record of a network, with its ledger entry. Durable when it returns. The
/// records of `gone` go with it.
pub(crate) async fn commit(
    store: &Store,
    act: &Act,
    (network, sentence): (Network, Option<&Sentence>),
    gone: &[Network],
) -> Result<()> {
    let id = network.to_string();
    let mut batch = Batch::default();
    for network in gone {
        let id = network.to_string();
        batch.records.push(remove(Table::Bans, &id, Expect::Any));
    }
    let change = |old: &str, new: String| Change {
        component: format!("bans:{id}"),
        old_value: old.to_owned(),
        new_value: new,
    };
    if let Some(sentence) = sentence {
        let shown = json!({
            "kind": sentence.kind,
            "reason": sentence.reason,
            "until": sentence.until,
            "level": sentence.level,
        });
        batch
            .records
            .push(put(Table::Bans, &id, Expect::Any, sentence)?);
        batch
            .ledger
            .push(act.change("shut_out", "bans", change("", shown.to_string())));
    } else {
        batch.records.push(remove(Table::Bans, &id, Expect::Any));
        batch
            .ledger
            .push(act.change("let_in", "bans", change("shut out", String::new())));
    }
    store.commit.commit(batch).await?;
    Ok(())
}

/// The sentences that are stored, in the order of their networks' texts, after `after`; at most
/// `limit`. Those that are over are among them for a day.
///
/// # Errors
/// [`crate::Error::Store`].
pub async fn all(store: &Store, after: Option<&str>, limit: usize) -> Result<Vec<Sentence>> {
    let records = store.records.list(Table::Bans, "", after, limit).await?;
    records
        .iter()
        .map(|record| parse(Table::Bans, &record.value))
        .collect()
}

/// Takes all sentences of the store into the table; of those that are in the table and not in the
/// store, the ones that must have come there by now are let in again.
///
/// # Errors
/// [`crate::Error::Store`].
pub async fn load(bans: &Bans, store: &Store, now: Timestamp) -> Result<()> {
    let mut known = std::collections::HashSet::new();
    let mut after = None;
    while let Some(page) = next_page(store, (Table::Bans, ""), &mut after).await? {
        for record in page {
            let sentence: Sentence = parse(Table::Bans, &record.value)?;
            known.insert(sentence.network);
            if bans.remembered(sentence.network).as_ref() != Some(&sentence) {
                bans.put(sentence, now);
            }
        }
    }
    bans.keep(|network| known.contains(&network));
    Ok(())
}

/// Removes the records of sentences that have been over for a day. Returns how many.
///
/// # Errors
/// [`crate::Error::Store`].
pub async fn sweep(store: &Store, now: Timestamp) -> Result<u64> {
    let mut removed = 0;
    let mut after = None;
    while let Some(page) = next_page(store, (Table::Bans, ""), &mut after).await? {
        let mut over = Vec::new();
        for record in &page {
            let sentence: Sentence = parse(Table::Bans, &record.value)?;
            if sentence.until.saturating_add_micros(micros(REMEMBERED)) <= now {
                over.push(record);
            }
        }
        let what = (Table::Bans, AuditKind::ConfigurationChange);
        removed += expire(store, what, over.into_iter(), now).await?;
    }
    Ok(removed)
}
