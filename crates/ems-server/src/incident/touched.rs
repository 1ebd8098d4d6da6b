//! The meters that entries name, by pseudonym, and what was done to each.

use std::collections::{HashMap, hash_map::Entry};

use ems_api::incident::{MeterAct, Sum};
use ems_core::audit::AuditEvent;

use super::tally::add;

/// Meters that a report lists.
const METERS: usize = 100_000;

/// Meters.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// By pseudonym.
    pub(super) meters: HashMap<String, Vec<MeterAct>>,
    /// Whether there were more than are listed.
    pub(super) beyond: bool,
}

impl Touched {
    /// Adds an act on the meters that an entry names. Where it names several, how many of its
    /// readings were of each is not known; of descriptions each has one.
    pub(super) fn add(&mut self, event: &AuditEvent, (times, records): (u64, u64)) {
        let meters = event
            .subjects
            .iter()
            .filter(|subject| subject.starts_with("m_"));
        let (own, shared) = match event.subjects.len() {
            1 => (records, 0),
            _ if event.table == "meters" => (times, 0),
            _ => (0, records),
        };
        for pseudonym in meters {
            let full = self.meters.len() >= METERS;
            let acts = match self.meters.entry(pseudonym.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(_) if full => {
                    self.beyond = true;
                    continue;
                }
                Entry::Vacant(new) => new.insert(Vec::new()),
            };
            let act = act(acts, event);
            if let Some(act) = act {
                add(&mut act.sum, event.timestamp, (times, own));
                act.shared_records = act.shared_records.saturating_add(shared);
            }
        }
    }
}

/// The act of an entry's kind, made where it is the first.
fn act<'a>(acts: &'a mut Vec<MeterAct>, event: &AuditEvent) -> Option<&'a mut MeterAct> {
    let is = |act: &MeterAct| act.action == event.action && act.table == event.table;
    let at = acts.iter().position(is).unwrap_or(acts.len());
    if at == acts.len() {
        acts.push(MeterAct {
            action: event.action.clone(),
            table: event.table.clone(),
            sum: Sum::default(),
            shared_records: 0,
        });
    }
    acts.get_mut(at)
}
