//! What `security.log` adds: what was refused to the suspect. Blocks; for a thread that may.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use ems_api::incident::{Basis, Peer, Refused, Sum};
use ems_core::time::Timestamp;
use ems_guard::journal::{Past, PastEvent};

use super::{
    Asked,
    tally::{add, peer},
};

/// What a flood from everywhere has in the place of its addresses.
const VARIOUS: &str = "various";

/// What was refused.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pub(super) refused: BTreeMap<(&'static str, String, Option<u16>), Refused>,
    pub(super) peers: HashMap<String, Peer>,
    pub(super) first_violation: Option<Timestamp>,
    lines: u64,
    skipped: u64,
    unattributed: u64,
    oldest: Option<Timestamp>,
    complete: bool,
}

impl Attempts {
    /// Adds how far the log goes. `oldest` is the ledger's first instant: a log that has it was
    /// never cut.
    pub(super) fn note_in(&self, basis: &mut Basis, oldest: Option<Timestamp>) {
        basis.log_lines = self.lines;
        basis.log_lines_skipped = self.skipped;
        basis.log_unattributed = self.unattributed;
        let whole = self
            .oldest
            .zip(oldest)
            .is_some_and(|(line, entry)| line <= entry);
        basis.log_complete = self.complete || whole;
    }

    fn add(&mut self, asked: &Asked, event: &PastEvent) {
        let Some((kind, what, status)) = refusal(event) else {
            return;
        };
        if event.ip_address == VARIOUS {
            self.unattributed = self.unattributed.saturating_add(event.count());
            return;
        }
        if !asked.suspect.is(&event.user, &event.ip_address) {
            return;
        }
        if kind == "violation" {
            let first = self.first_violation.unwrap_or(event.timestamp);
            self.first_violation = Some(first.min(event.timestamp));
        }
        let name = asked.suspect.peer(&event.user, &event.ip_address);
        let peer = peer(&mut self.peers, name, event.timestamp);
        peer.refusals = peer.refusals.saturating_add(event.count());
        let key = (kind, what, status);
        let refused = self
            .refused
            .entry(key)
            .or_insert_with_key(|(kind, what, status)| Refused {
                kind: (*kind).to_owned(),
                what: what.clone(),
                status: *status,
                sum: Sum::default(),
            });
        add(&mut refused.sum, event.timestamp, (event.count(), 0));
    }
}

/// What an event refused, if it did.
fn refusal(event: &PastEvent) -> Option<(&'static str, String, Option<u16>)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    match event.event_type.as_str() {
        "security_violation" => Some(("violation", text(&event.violation_type), None)),
        "authentication" if event.success == Some(false) => {
            Some(("authentication", text(&event.action), None))
        }
        "api_access" => {
            let status = event.status_code.filter(|status| *status >= 400)?;
            let what = format!("{} {}", text(&event.method), text(&event.endpoint));
            Some(("request", what, Some(status)))
        }
        _ => None,
    }
}

/// Reads the log back to the beginning of the period.
pub(super) fn read(mut past: Past, asked: &Asked) -> io::Result<Attempts> {
    let mut attempts = Attempts::default();
    while let Some(line) = past.line()? {
        let Some(event) = PastEvent::parse(&line) else {
            attempts.skipped += 1;
            continue;
        };
        attempts.oldest = Some(event.timestamp);
        if event.timestamp < asked.earliest() {
            attempts.complete = true;
            break;
        }
        if asked.contains(event.timestamp) {
            attempts.lines += 1;
            attempts.add(asked, &event);
        }
    }
    Ok(attempts)
}
