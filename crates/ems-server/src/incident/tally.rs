//! What the ledger's entries of one suspect come to. Each look is counted once: a stream, which has
//! an entry before its first byte and one after its last, too.

use std::collections::{BTreeMap, HashMap};

use ems_api::incident::{Action, Changed, Login, Peer, Sum};
use ems_core::{
    audit::{AuditEvent, AuditKind},
    time::Timestamp,
};
use memchr::memmem::Finder;
use serde_json::Value;

use super::{Asked, Suspect, touched::Touched};

/// Sessions that are listed.
const LOGINS: usize = 1000;
/// Names that are told apart, of peers and of changed components.
pub(super) const NAMES: usize = 10_000;
/// Looks that have begun and not ended that are kept in mind.
const OPEN: usize = 100_000;
/// What names beyond [`NAMES`] are counted as.
pub(super) const OTHERS: &str = "others";

/// An action and a table.
pub(super) type Kind = (String, String);

/// Counts.
pub(super) struct Tally<'a> {
    asked: &'a Asked,
    needle: Finder<'static>,
    open: HashMap<(String, String), Kind>,
    found: Found,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) matched: u64,
    pub(super) actions: BTreeMap<Kind, Action>,
    pub(super) changes: BTreeMap<(String, String), Changed>,
    pub(super) logins: Vec<Login>,
    pub(super) peers: HashMap<String, Peer>,
    pub(super) meters: Touched,
    /// Whether more meters were named than are listed.
    pub(super) beyond: bool,
}

impl Found {
    /// The meters, to be named.
    pub(super) fn take_meters(&mut self) -> Touched {
        std::mem::take(&mut self.meters)
    }
}

/// Which part of a look an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Begun,
    /// The end; whether it says how much was given, and whether it came too early.
    Ended {
        counts: bool,
        aborted: bool,
    },
}

impl Part {
    fn of(event: &AuditEvent) -> Self {
        let said = |name| event.filters.get(name).and_then(Value::as_str);
        match (said("stream"), said("stage")) {
            (Some("begun"), _) | (None, Some("begun")) => Self::Begun,
            (Some(end), _) => Self::Ended {
                counts: true,
                aborted: end != "completed",
            },
            (None, Some(_)) => Self::Ended {
                counts: false,
                aborted: false,
            },
            (None, None) => Self::Whole,
        }
    }
}

impl<'a> Tally<'a> {
    pub(super) fn new(asked: &'a Asked) -> Self {
        let (field, text) = match &asked.suspect {
            Suspect::Principal(name) => ("user", name),
            Suspect::Address(address) => ("source_ip", address),
        };
        let text = Value::from(text.as_str());
        Self {
            asked,
            needle: Finder::new(&format!("\"{field}\":{text}")).into_owned(),
            open: HashMap::new(),
            found: Found::default(),
        }
    }

    /// Counts an entry, if it is of the suspect and the period.
    pub(super) fn entry(&mut self, index: u64, entry: &[u8]) -> ems_store::Result<()> {
        // Nearly all of a long ledger is not: it is not worth parsing.
        if self.needle.find(entry).is_none() {
            return Ok(());
        }
        let event: AuditEvent =
            serde_json::from_slice(entry).map_err(|error| ems_store::Error::Damaged {
                place: format!("ledger entry {index}"),
                why: error.to_string(),
            })?;
        if self.asked.suspect.is(&event.user, &event.source_ip) {
            self.count(event);
        }
        Ok(())
    }

    pub(super) fn matched(&self) -> u64 {
        self.found.matched
    }

    /// Ends the counting.
    pub(super) fn done(mut self) -> Found {
        for kind in std::mem::take(&mut self.open).into_values() {
            if let Some(action) = self.found.actions.get_mut(&kind) {
                action.without_end += 1;
            }
        }
        self.found.beyond = self.found.meters.beyond;
        self.found
    }

    fn count(&mut self, event: AuditEvent) {
        let look = (event.user.clone(), event.request_id.clone());
        let inside = self.asked.contains(event.timestamp);
        match Part::of(&event) {
            Part::Ended { counts, aborted } if self.open.contains_key(&look) => {
                self.open.remove(&look);
                self.found.matched += 1;
                let records = if counts { event.record_count } else { 0 };
                self.done_with(&event, (0, records));
                self.action(&event).aborted += u64::from(aborted);
            }
            _ if !inside => {}
            Part::Begun => {
                if self.open.len() < OPEN {
                    self.open.insert(look, kind(&event));
                }
                self.add(event);
            }
            // The end of a look that began before the period is a look of the period.
            Part::Ended { aborted, .. } => {
                self.action(&event).aborted += u64::from(aborted);
                self.add(event);
            }
            Part::Whole => self.add(event),
        }
    }

    fn add(&mut self, event: AuditEvent) {
        self.found.matched += 1;
        self.done_with(&event, (1, event.record_count));
        let name = self.asked.suspect.peer(&event.user, &event.source_ip);
        peer(&mut self.found.peers, name, event.timestamp).acts += 1;
        if event.event_type == AuditKind::Authentication
            && event.action == "login"
            && self.found.logins.len() < LOGINS
        {
            self.found.logins.push(Login {
                at: event.timestamp,
                user: event.user.clone(),
                address: event.source_ip.clone(),
                request_id: event.request_id.clone(),
            });
        }
        if let Some(change) = event.change {
            let full = self.found.changes.len() >= NAMES;
            let mut key = (change.component, event.action);
            if full && !self.found.changes.contains_key(&key) {
                OTHERS.clone_into(&mut key.0);
            }
            let changed =
                self.found
                    .changes
                    .entry(key)
                    .or_insert_with_key(|(component, action)| Changed {
                        component: component.clone(),
                        action: action.clone(),
                        sum: Sum::default(),
                    });
            add(&mut changed.sum, event.timestamp, (1, event.record_count));
        }
    }

    /// Adds to the action and to the meters that it names.
    fn done_with(&mut self, event: &AuditEvent, (times, records): (u64, u64)) {
        add(
            &mut self.action(event).sum,
            event.timestamp,
            (times, records),
        );
        self.found.meters.add(event, (times, records));
    }

    fn action(&mut self, event: &AuditEvent) -> &mut Action {
        self.found
            .actions
            .entry(kind(event))
            .or_insert_with(|| Action {
                action: event.action.clone(),
                table: event.table.clone(),
                effect: effect(event).to_owned(),
                sum: Sum::default(),
                aborted: 0,
                without_end: 0,
            })
    }
}

fn kind(event: &AuditEvent) -> Kind {
    (event.action.clone(), event.table.clone())
}

/// What an entry means for the data: what is not known to change it is taken for a look at it.
fn effect(event: &AuditEvent) -> &'static str {
    match (event.event_type, event.action.as_str()) {
        (AuditKind::Authentication, _) => "session",
        (AuditKind::ConfigurationChange, _)
        | (
            AuditKind::DataAccess,
            "create" | "update" | "delete" | "destroy_key" | "erase" | "anonymise" | "restrict"
            | "restore",
        ) => "changed",
        (AuditKind::DataAccess, _) => "left",
    }
}

/// Adds to a sum. What is the rest of something counted before moves no time.
pub(super) fn add(sum: &mut Sum, at: Timestamp, (times, records): (u64, u64)) {
    if times > 0 {
        sum.first = if sum.times == 0 {
            at
        } else {
            sum.first.min(at)
        };
        sum.last = sum.last.max(at);
    }
    sum.times = sum.times.saturating_add(times);
    sum.records = sum.records.saturating_add(records);
}

/// The peer of a name, or what stands for those beyond the number told apart.
pub(super) fn peer<'a>(
    peers: &'a mut HashMap<String, Peer>,
    name: &str,
    at: Timestamp,
) -> &'a mut Peer {
    let full = peers.len() >= NAMES && !peers.contains_key(name);
    let name = if full { OTHERS } else { name };
    let peer = peers.entry(name.to_owned()).or_insert_with(|| Peer {
        name: name.to_owned(),
        acts: 0,
        refusals: 0,
        first: at,
        last: at,
    });
    peer.first = peer.first.min(at);
    peer.last = peer.last.max(at);
    peer
}
