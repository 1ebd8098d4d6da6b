//! What has to be known to read a report rightly: what its sources can and cannot tell.

use ems_api::incident::Incident;

/// The notes that hold for this report.
pub(super) fn notes(incident: &Incident) -> Vec<String> {
    let always = [
        "Every look at data and every change has an entry in the ledger that was durable before \
         data left or the change was acknowledged. A look that was noted may not have arrived.",
        "Of a flood of refusals security.log has a count in place of lines, up to some seconds late. \
         Customers are those that the meters' records name now. Entries are found by their times, \
         which may be out of order by an hour: a clock that was set by more may hide some.",
    ];
    let always = always.into_iter().map(str::to_owned);
    let mut notes: Vec<String> = stored(incident).into_iter().collect();
    notes.extend(of_the_ledger(incident).into_iter().flatten());
    notes.extend(
        of_the_log(incident)
            .into_iter()
            .flatten()
            .map(str::to_owned),
    );
    always.chain(notes).collect()
}

/// What readings that were stored leave open.
fn stored(incident: &Incident) -> Option<String> {
    let is = |action: &str, table: &str| action == "create" && table == "readings";
    let mut actions = incident.actions.iter();
    let stored = actions.find(|done| is(&done.action, &done.table))?;
    let scope = match incident.about.scope.as_slice() {
        [] => "the caller's meters".to_owned(),
        scope => format!("the caller's meters, now {}", scope.join(" ")),
    };
    Some(format!(
        "Readings were stored {} times, {} in all. Such an entry holds their number and the SHA-256 \
         of what was sent, not their meters: which meters were written cannot be told from it, only \
         that they lie within {scope}. Values that were replaced are kept.",
        stored.sum.times, stored.sum.records,
    ))
}

fn of_the_ledger(incident: &Incident) -> [Option<String>; 5] {
    let extent = incident.extent;
    let mut acts = incident.meters.iter().flat_map(|meter| &meter.acts);
    let any = |count: fn(&ems_api::incident::Action) -> u64| {
        incident.actions.iter().any(|action| count(action) > 0)
    };
    let note = |holds: bool, text: &str| holds.then(|| text.to_owned());
    [
        note(
            acts.any(|act| act.shared_records > 0),
            "Where several meters were asked for at once, the ledger has the number of readings of \
             all of them together (shared records), so a meter's share is at most that.",
        ),
        (extent.meters_gone > 0).then(|| {
            format!(
                "{} meters are named by pseudonym only: they were erased, removed, or moved from \
                 another store since, and nothing leads from the pseudonym to the meter any more. \
                 Each counts as one data subject.",
                extent.meters_gone
            )
        }),
        note(
            extent.meters_beyond,
            "More meters were named than a report lists: shorten the period to list them all.",
        ),
        note(
            any(|action| action.aborted),
            "Streams were cut short: their records are what was handed out by then, at most.",
        ),
        note(
            any(|action| action.without_end),
            "Something was begun and has no end in the ledger, since it still runs or the server \
             died under it: it may have given all that was asked for.",
        ),
    ]
}

fn of_the_log(incident: &Incident) -> [Option<&'static str>; 3] {
    let basis = &incident.basis;
    let unassigned = basis.log_lines_skipped > 0 || basis.log_unattributed > 0;
    [
        incident.about.address.is_some().then_some(
            "An address may be shared by many people, and one of them may change addresses.",
        ),
        (!basis.log_complete).then_some(
            "security.log does not show that it reaches back to the beginning of the period: \
             refusals may be missing. The ledger is never cut.",
        ),
        unassigned.then_some("Some lines of security.log could not be assigned to anyone."),
    ]
}
