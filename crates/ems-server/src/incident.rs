//! The report on an incident: what a principal or an address did in a period, from the ledger and
//! `security.log`.
//!
//! Both are read in parts and only summed, so that memory is bounded however long they are. The
//! ledger is the authority; the log adds what was refused, which changes nothing and has no entry.

mod attempts;
mod compose;
mod notes;
mod resolve;
mod scan;
mod tally;
mod touched;

use std::sync::Arc;

use ems_api::incident::{About, Incident, Period};
use ems_core::time::Timestamp;
use ems_guard::accounts;

use self::{attempts::Attempts, tally::Tally};
use crate::{app::App, problem::Problem};

/// How far entries and lines may be out of order: an entry has the time when its request came, and
/// is written when that is served.
const DISORDER: i64 = 3_600_000_000;

/// Whom a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Suspect {
    /// A principal, as the ledger names it.
    Principal(String),
    /// An address, as the ledger writes it.
    Address(String),
}

impl Suspect {
    /// Whether something by `user` from `address` is its.
    fn is(&self, user: &str, address: &str) -> bool {
        match self {
            Self::Principal(name) => name == user,
            Self::Address(text) => text == address,
        }
    }

    /// The other of the two: from where the principal came, who used the address.
    fn peer<'a>(&self, user: &'a str, address: &'a str) -> &'a str {
        match self {
            Self::Principal(_) => address,
            Self::Address(_) => user,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// About whom.
    pub(crate) suspect: Suspect,
    /// From when to when.
    pub(crate) period: Period,
    /// When the incident was detected, where that is known.
    pub(crate) detected: Option<Timestamp>,
}

impl Asked {
    fn contains(&self, at: Timestamp) -> bool {
        self.period.since <= at && at < self.period.until
    }

    /// Before which nothing of the period lies.
    fn earliest(&self) -> Timestamp {
        self.period.since.saturating_add_micros(-DISORDER)
    }

    /// After which nothing of the period lies.
    fn latest(&self) -> Timestamp {
        self.period.until.saturating_add_micros(DISORDER)
    }
}

/// Makes the report.
///
/// # Errors
/// 503 where the ledger or the log cannot be read.
pub(crate) async fn report(app: &Arc<App>, asked: Asked) -> Result<Incident, Problem> {
    let about = about(app, &asked.suspect).await?;
    let mut tally = Tally::new(&asked);
    let mut basis = scan::ledger(&*app.store.ledger, &asked, &mut tally).await?;
    let mut found = tally.done();
    let attempts = attempts_of(app, &asked).await?;
    let oldest = scan::oldest(&*app.store.ledger).await?;
    attempts.note_in(&mut basis, oldest);
    let mut meters = resolve::meters(&app.store, found.take_meters()).await?;
    meters.sort_by(|one, other| {
        (&one.meter_id, &one.pseudonym).cmp(&(&other.meter_id, &other.pseudonym))
    });
    Ok(compose::compose(
        &asked,
        about,
        (found, attempts, meters),
        basis,
    ))
}

/// What `security.log` has. Its lines are brought to the file before it is read.
async fn attempts_of(app: &Arc<App>, asked: &Asked) -> Result<Attempts, Problem> {
    app.journal.flush().await;
    let (app, asked) = (Arc::clone(app), asked.clone());
    let read = tokio::task::spawn_blocking(move || {
        let past = app.journal.past(None)?;
        Ok::<_, Problem>(attempts::read(past, &asked))
    });
    let read = read
        .await
        .map_err(|error| Problem::internal(error.to_string()))??;
    read.map_err(|error| Problem::unavailable(format!("security.log: {error}")))
}

/// What is known of the principal now.
async fn about(app: &App, suspect: &Suspect) -> Result<About, Problem> {
    let name = match suspect {
        Suspect::Address(address) => {
            let address = Some(address.clone());
            return Ok(About {
                address,
                ..About::default()
            });
        }
        Suspect::Principal(name) => name,
    };
    let mut about = About {
        principal: Some(name.clone()),
        ..About::default()
    };
    if let Some(id) = name.strip_prefix("key:") {
        if let Some(key) = accounts::key(&app.identities, id).await? {
            about.role = Some(key.role.as_str().to_owned());
            about.scope = key.meters.iter().map(ToString::to_string).collect();
            about.active = Some(key.ends().is_none_or(|end| app.clock.now() < end));
        }
    } else if let Some(user) = accounts::user(&app.identities, name).await? {
        about.role = Some(user.role.as_str().to_owned());
        about.scope = user
            .scope()
            .patterns()
            .iter()
            .map(ToString::to_string)
            .collect();
        about.active = Some(!user.disabled);
    }
    Ok(about)
}

#[cfg(test)]
mod tests;
