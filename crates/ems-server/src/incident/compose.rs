//! The parts, put together: totals, categories, deadlines.

use std::collections::BTreeMap;

use ems_api::incident::{
    About, Action, Basis, Category, Customer, Deadlines, Effect, Extent, Incident, Meter, Peer,
    ToFill,
};
use ems_core::{calendar::Zone, time::Timestamp};

use super::{
    Asked,
    attempts::Attempts,
    notes,
    tally::{Found, peer},
};

const HOUR: i64 = 3_600_000_000;

/// Makes the report of what was found.
pub(super) fn compose(
    asked: &Asked,
    about: About,
    (found, attempts, meters): (Found, Attempts, Vec<Meter>),
    basis: Basis,
) -> Incident {
    let deadlines = deadlines(asked, attempts.first_violation);
    let actions: Vec<Action> = found.actions.into_values().collect();
    let customers = customers(&meters);
    let extent = Extent {
        meters_beyond: found.beyond,
        ..extent(&actions, &meters, &customers)
    };
    let mut peers = found.peers;
    for (name, refused) in attempts.peers {
        let known = peer(&mut peers, &name, refused.first);
        known.refusals = known.refusals.saturating_add(refused.refusals);
        known.last = known.last.max(refused.last);
    }
    let mut peers: Vec<Peer> = peers.into_values().collect();
    peers.sort_by(|one, other| (one.first, &one.name).cmp(&(other.first, &other.name)));
    let refused = !attempts.refused.is_empty();
    let effect = Effect {
        data_left: actions.iter().any(|action| {
            action.effect == "left" && (action.sum.records > 0 || action.without_end > 0)
        }),
        data_changed: actions.iter().any(|action| action.effect == "changed"),
        attempts_refused: refused,
        only_attempted: false,
    };
    let only_attempted = refused && !effect.data_left && !effect.data_changed;
    let mut incident = Incident {
        about,
        period: asked.period,
        deadlines,
        effect: Effect {
            only_attempted,
            ..effect
        },
        categories: categories(&actions),
        extent,
        actions,
        changes: found.changes.into_values().collect(),
        logins: found.logins,
        peers,
        refused: attempts.refused.into_values().collect(),
        meters,
        customers,
        basis,
        notes: Vec::new(),
        to_fill: ToFill::default(),
    };
    incident.notes = notes::notes(&incident);
    incident
}

fn deadlines(asked: &Asked, first_violation: Option<Timestamp>) -> Deadlines {
    let (detected, by) = match (asked.detected, first_violation) {
        (Some(given), _) => (given, "given"),
        (None, Some(violation)) => (violation, "first_violation"),
        (None, None) => (asked.period.made, "report"),
    };
    let notification = detected.saturating_add_micros(72 * HOUR);
    Deadlines {
        detected,
        detected_by: by.to_owned(),
        early_warning: detected.saturating_add_micros(24 * HOUR),
        notification,
        final_report: Zone::utc().month_after(notification),
    }
}

/// The category of a table's data.
fn category(table: &str) -> &'static str {
    match table {
        "readings" => "consumption readings, with the locations noted in them",
        "meters" => "meter descriptions: location, site, time zone, customer",
        "customers" | "privacy" => "customers' contact data",
        "users" | "keys" | "sessions" => "account data: user names, roles, scopes",
        "security_events" | "audit" | "incidents" => "logs: user names, addresses, pseudonyms",
        _ => "operational data",
    }
}

fn categories(actions: &[Action]) -> Vec<Category> {
    let mut categories: BTreeMap<&str, Category> = BTreeMap::new();
    for action in actions.iter().filter(|action| action.effect != "session") {
        let name = category(&action.table);
        let category = categories.entry(name).or_insert_with(|| Category {
            name: name.to_owned(),
            records_left: 0,
            records_changed: 0,
        });
        let records = if action.effect == "left" {
            &mut category.records_left
        } else {
            &mut category.records_changed
        };
        *records = records.saturating_add(action.sum.records);
    }
    categories.into_values().collect()
}

fn customers(meters: &[Meter]) -> Vec<Customer> {
    let mut customers: BTreeMap<&str, u64> = BTreeMap::new();
    for customer in meters
        .iter()
        .filter_map(|meter| meter.customer_id.as_deref())
    {
        *customers.entry(customer).or_default() += 1;
    }
    let customers = customers.into_iter();
    customers
        .map(|(customer_id, meters)| Customer {
            customer_id: customer_id.to_owned(),
            meters,
        })
        .collect()
}

fn extent(actions: &[Action], meters: &[Meter], customers: &[Customer]) -> Extent {
    let records = |effect: &str| {
        let of_it = actions.iter().filter(|action| action.effect == effect);
        of_it.fold(0_u64, |sum, action| sum.saturating_add(action.sum.records))
    };
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let alone = meters.iter().filter(|meter| meter.customer_id.is_none());
    Extent {
        data_subjects: count(customers.len()) + count(alone.count()),
        customers: count(customers.len()),
        meters: count(meters.len()),
        meters_gone: count(
            meters
                .iter()
                .filter(|meter| meter.meter_id.is_none())
                .count(),
        ),
        meters_beyond: false,
        records_left: records("left"),
        records_changed: records("changed"),
    }
}
