//! The entries by which the target's ledger says what happened: which pseudonym of the source is
//! which of the target's own, and what was moved. They come last, so a target that has them all is
//! whole.

use std::collections::HashSet;

use ems_core::{
    audit::{AuditEvent, AuditKind, Change},
    time::Timestamp,
};
use serde_json::{Map, Value, json};

use super::{Moved, PAGE, Pages, Sides, meter_of, pseudonym, wide};
use crate::{Batch, Record, Result, Table};

const ACTION: &str = "migrate";
/// Meters that an entry names.
const NAMED: usize = 100;

/// Writes those that are not there yet.
pub(super) async fn write(sides: Sides<'_>, moved: &Moved, now: Timestamp) -> Result<()> {
    let there = already(sides, moved.source.ledger_entries).await?;
    let mut pages = Pages::new(sides.source, Table::Meters);
    loop {
        let page = pages.next().await?;
        if page.is_empty() {
            break;
        }
        let mut batch = Batch::default();
        for records in page.chunks(NAMED) {
            let names = names(sides, records, &there).await?;
            if !names.is_empty() {
                batch.ledger.push(renamed(&names, now));
            }
        }
        if !batch.ledger.is_empty() {
            sides.target.commit.commit(batch).await?;
        }
    }
    if !there.complete {
        let from = sides.source.keys.status().await?.instance;
        let to = sides.target.keys.status().await?.instance;
        let last = complete(moved, (from, to), now);
        sides.target.commit.commit(Batch::note(last)).await?;
    }
    Ok(())
}

/// The old and the new pseudonym of those meters that are not told yet.
async fn names(sides: Sides<'_>, meters: &[Record], there: &Already) -> Result<Map<String, Value>> {
    let mut names = Map::new();
    for record in meters {
        let meter = meter_of(record)?;
        let old = pseudonym(sides.source, &meter).await?;
        let new = pseudonym(sides.target, &meter).await?;
        if let (Some(old), Some(new)) = (old, new)
            && !there.pseudonyms.contains(&old)
        {
            names.insert(old, Value::String(new));
        }
    }
    Ok(names)
}

/// Whether an entry is one of these.
pub(super) fn is_one(entry: &[u8]) -> bool {
    event(entry).is_some()
}

fn event(entry: &[u8]) -> Option<AuditEvent> {
    let event: AuditEvent = serde_json::from_slice(entry).ok()?;
    (event.action == ACTION && event.user == "system").then_some(event)
}

/// What the entries that are there say.
#[derive(Default)]
struct Already {
    pseudonyms: HashSet<String>,
    complete: bool,
}

async fn already(sides: Sides<'_>, mut from: u64) -> Result<Already> {
    let mut already = Already::default();
    loop {
        let page = sides.target.ledger.entries(from, PAGE).await?;
        if page.is_empty() {
            return Ok(already);
        }
        from += wide(page.len());
        for event in page.iter().filter_map(|(_, entry)| event(entry)) {
            already.complete |= event.change.is_some();
            let names = event.filters.get("pseudonyms").and_then(Value::as_object);
            let names = names.into_iter().flat_map(Map::keys).cloned();
            already.pseudonyms.extend(names);
        }
    }
}

fn renamed(names: &Map<String, Value>, now: Timestamp) -> AuditEvent {
    let subjects = names.values().filter_map(Value::as_str).map(str::to_owned);
    AuditEvent {
        record_count: wide(names.len()),
        subjects: subjects.collect(),
        filters: json!({ "pseudonyms": names }),
        ..entry("meters", now)
    }
}

fn complete(moved: &Moved, (from, to): ([u8; 16], [u8; 16]), now: Timestamp) -> AuditEvent {
    let content = &moved.target;
    let instance = |name: [u8; 16]| format!("instance {}", data_encoding::HEXLOWER.encode(&name));
    AuditEvent {
        record_count: content.records,
        filters: json!({
            "meters": content.meters,
            "readings": content.readings,
            "ledger_entries": content.ledger_entries,
            "readings_sha256": content.readings_sha256,
            "records_sha256": content.records_sha256,
            "ledger_sha256": content.ledger_sha256,
            "superseded_left_behind": moved.superseded_left_behind,
        }),
        change: Some(Change {
            component: "store".into(),
            old_value: instance(from),
            new_value: instance(to),
        }),
        ..entry("instance", now)
    }
}

fn entry(table: &str, now: Timestamp) -> AuditEvent {
    AuditEvent {
        timestamp: now,
        event_type: AuditKind::ConfigurationChange,
        user: "system".into(),
        action: ACTION.into(),
        table: table.into(),
        record_count: 0,
        filters: json!({}),
        subjects: Vec::new(),
        source_ip: "system".into(),
        request_id: String::new(),
        change: None,
    }
}
