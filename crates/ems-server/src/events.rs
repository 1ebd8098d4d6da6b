//! Security events out of `security.log`: the newest first, a bounded part of the log at a time.

use std::{net::IpAddr, sync::Arc};

use ems_api::security::SecurityEvent;
use ems_core::time::Timestamp;
use ems_guard::journal::{Past, PastEvent, Place, Violation};
use serde_json::{Value, json};

use crate::{api::data::instant, app::App, problem::Problem, query::Query};

/// Bytes of the log that one page looks through.
const MAX_READ: u64 = 8 * 1024 * 1024;
/// How far lines may be out of order.
const DISORDER: i64 = 3_600_000_000;

/// Which events are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    kind: Option<String>,
    user: Option<String>,
    address: Option<String>,
    since: Timestamp,
    until: Timestamp,
}

impl Filter {
    /// Takes it of a query.
    pub(crate) fn take(query: &mut Query) -> Result<Self, Problem> {
        let kind = query.read("type", kind)?;
        let user = query.read("user", user)?;
        let address = query.read("address", address)?;
        let since = instant(query, "since")?.unwrap_or(Timestamp::MIN);
        let until = instant(query, "until")?.unwrap_or(Timestamp::MAX);
        if since >= until {
            return Err(Problem::parameter("until", "has to be later than 'since'"));
        }
        Ok(Self {
            kind,
            user,
            address,
            since,
            until,
        })
    }

    /// Its parts, which a cursor is bound to.
    pub(crate) fn parts(&self) -> [String; 5] {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let times = [self.since, self.until].map(|at| at.to_string());
        let [since, until] = times;
        [
            text(&self.kind),
            text(&self.user),
            text(&self.address),
            since,
            until,
        ]
    }

    /// As the ledger has it.
    pub(crate) fn shown(&self) -> Value {
        json!({
            "type": self.kind,
            "user": self.user,
            "address": self.address,
            "since": self.since,
            "until": self.until,
        })
    }

    fn takes(&self, event: &PastEvent) -> bool {
        let listed = match event.event_type.as_str() {
            "security_violation" => true,
            "authentication" => event.success == Some(false),
            _ => false,
        };
        let is = |asked: &Option<String>, found: &str| {
            asked.as_deref().is_none_or(|asked| asked == found)
        };
        let kind = is(&self.kind, &event.event_type)
            || is(
                &self.kind,
                event.violation_type.as_deref().unwrap_or_default(),
            );
        listed
            && kind
            && is(&self.user, &event.user)
            && is(&self.address, &event.ip_address)
            && self.since <= event.timestamp
            && event.timestamp < self.until
    }
}

fn kind(text: &str) -> Result<String, String> {
    let violation = Violation::ALL
        .iter()
        .any(|violation| violation.as_str() == text);
    if violation || matches!(text, "security_violation" | "authentication") {
        return Ok(text.to_owned());
    }
    Err("is security_violation, authentication, or a violation's name".to_owned())
}

/// A principal's name in a query.
pub(crate) fn user(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@:-".contains(&byte);
    if (1..=80).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err("is a principal as the log names it, such as alice or key:3kTMd8Vy".to_owned())
}

/// An address in a query, as the log writes it.
pub(crate) fn address(text: &str) -> Result<String, String> {
    let address: IpAddr = text.parse().map_err(|_| "is an IP address".to_owned())?;
    Ok(address.to_canonical().to_string())
}

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The events.
    pub(crate) items: Vec<SecurityEvent>,
    /// Where the next page begins, if there may be one.
    pub(crate) next: Option<Place>,
    /// Lines that are none of the guide's.
    pub(crate) skipped: u64,
}

/// Finds a page of events, from the log's end or from a cursor's position.
///
/// # Errors
/// 400 for a position that is none, 503 where the log cannot be read.
pub(crate) async fn find(
    app: &Arc<App>,
    filter: Filter,
    (from, limit): (Option<Vec<u8>>, usize),
) -> Result<Found, Problem> {
    let from = match from {
        None => None,
        Some(bytes) => Some(Place::from_bytes(&bytes).ok_or_else(Problem::forged_cursor)?),
    };
    app.journal.flush().await;
    let app = Arc::clone(app);
    let read = tokio::task::spawn_blocking(move || {
        let past = app.journal.past(from)?;
        let found = page(past, &filter, (limit, MAX_READ));
        found.map_err(|error| Problem::unavailable(format!("security.log: {error}")))
    });
    read.await
        .map_err(|error| Problem::internal(error.to_string()))?
}

/// Reads until the page is full and one more is there, or the bounds are reached.
fn page(
    mut past: Past,
    filter: &Filter,
    (limit, max_read): (usize, u64),
) -> std::io::Result<Found> {
    let mut found = Found::default();
    let mut full = None;
    let earliest = filter.since.saturating_add_micros(-DISORDER);
    while past.bytes_read() <= max_read {
        let Some(line) = past.line()? else {
            return Ok(found);
        };
        let Some(event) = PastEvent::parse(&line) else {
            found.skipped += 1;
            continue;
        };
        if event.timestamp < earliest {
            return Ok(found);
        }
        if !filter.takes(&event) {
            continue;
        }
        if found.items.len() >= limit {
            found.next = full;
            return Ok(found);
        }
        found.items.push(shown(event));
        full = past.place();
    }
    found.next = past.place();
    Ok(found)
}

fn shown(event: PastEvent) -> SecurityEvent {
    SecurityEvent {
        timestamp: event.timestamp,
        event_type: event.event_type,
        violation_type: event.violation_type,
        action: event.action,
        user: event.user,
        ip_address: event.ip_address,
        details: event.details.or(event.additional_data).unwrap_or_default(),
        request_id: event.request_id,
        suppressed: event.suppressed,
    }
}
