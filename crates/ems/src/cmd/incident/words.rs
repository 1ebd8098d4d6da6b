//! The report in words: one list of sections, written as plain text or as Markdown.

use std::fmt::Write as _;

use ems_api::incident::{Incident, Sum};

/// What stands where a human has to write.
const TO_FILL: &str = "[TO BE FILLED IN]";

/// A part of the report.
struct Section {
    title: &'static str,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// What to say where there are no rows.
    none: &'static str,
}

/// As plain text.
pub(super) fn text(incident: &Incident) -> String {
    let mut out = format!("INCIDENT REPORT\n{}\n", "=".repeat(15));
    for section in sections(incident) {
        let _ = write!(
            out,
            "\n{}\n{}\n",
            section.title,
            "-".repeat(section.title.chars().count())
        );
        if section.rows.is_empty() {
            let _ = writeln!(out, "{}", section.none);
            continue;
        }
        let head = section.head.iter().map(|name| (*name).to_owned()).collect();
        let named = !section.head.is_empty();
        let rows: Vec<Vec<String>> = named
            .then_some(head)
            .into_iter()
            .chain(section.rows)
            .collect();
        let mut widths: Vec<usize> = Vec::new();
        for row in &rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                let _ = write!(line, "{cell:width$}  ");
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

/// As Markdown.
pub(super) fn markdown(incident: &Incident) -> String {
    let mut out = "# Incident report\n".to_owned();
    for section in sections(incident) {
        let _ = write!(out, "\n## {}\n\n", section.title);
        let width = section.rows.iter().map(Vec::len).max().unwrap_or(0);
        match (section.rows.is_empty(), width) {
            (true, _) => {
                let _ = writeln!(out, "{}", section.none);
            }
            (false, 1) => {
                for row in &section.rows {
                    let _ = writeln!(out, "- {}", escaped(&row.concat()));
                }
            }
            (false, _) => {
                let mut head: Vec<&str> = section.head.clone();
                head.resize(width, "");
                let _ = writeln!(out, "| {} |\n|{}", head.join(" | "), "---|".repeat(width));
                for row in &section.rows {
                    let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
                    let _ = writeln!(out, "| {} |", cells.join(" | "));
                }
            }
        }
    }
    out
}

/// A text that is no markup of its own.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\`*_{}[]<>|#".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

fn sections(incident: &Incident) -> Vec<Section> {
    let mut sections = vec![
        facts(incident),
        deadlines(incident),
        extent(incident),
        categories(incident),
        actions(incident),
        changes(incident),
        logins(incident),
        peers(incident),
        refused(incident),
    ];
    sections.extend(meters(incident));
    sections.push(basis(incident));
    sections.push(Section {
        title: "What has to be known to read this",
        head: Vec::new(),
        rows: incident
            .notes
            .iter()
            .map(|note| vec![note.clone()])
            .collect(),
        none: "",
    });
    sections.push(to_fill(incident));
    sections
}

fn pairs(title: &'static str, pairs: Vec<(&str, String)>) -> Section {
    let rows = pairs
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value]);
    Section {
        title,
        head: Vec::new(),
        rows: rows.collect(),
        none: "",
    }
}

fn yes(holds: bool) -> String {
    if holds { "yes" } else { "no" }.to_owned()
}

fn facts(incident: &Incident) -> Section {
    let about = &incident.about;
    let mut rows = Vec::new();
    rows.extend(about.principal.clone().map(|name| ("principal", name)));
    rows.extend(about.address.clone().map(|name| ("address", name)));
    rows.extend(about.role.clone().map(|role| ("role now", role)));
    if !about.scope.is_empty() {
        rows.push(("meters now", about.scope.join(" ")));
    }
    rows.extend(about.active.map(|active| ("active now", yes(active))));
    let period = incident.period;
    rows.push(("period", format!("{} to {}", period.since, period.until)));
    rows.push(("report made", period.made.to_string()));
    let effect = incident.effect;
    rows.push(("data left", yes(effect.data_left)));
    rows.push(("data changed", yes(effect.data_changed)));
    rows.push(("attempts refused", yes(effect.attempts_refused)));
    rows.push(("only attempted", yes(effect.only_attempted)));
    pairs("What happened", rows)
}

fn deadlines(incident: &Incident) -> Section {
    let deadlines = &incident.deadlines;
    let by = match deadlines.detected_by.as_str() {
        "given" => "as given",
        "first_violation" => "the first violation of the period",
        _ => "when this report was made",
    };
    pairs(
        "Deadlines",
        vec![
            ("detected", format!("{} ({by})", deadlines.detected)),
            (
                "early warning",
                format!("{} (24 hours, NIS2 Art. 23(4)(a))", deadlines.early_warning),
            ),
            (
                "notification",
                format!(
                    "{} (72 hours, GDPR Art. 33(1), NIS2 Art. 23(4)(b))",
                    deadlines.notification
                ),
            ),
            (
                "final report",
                format!(
                    "{} (a month after the notification, NIS2 Art. 23(4)(d))",
                    deadlines.final_report
                ),
            ),
        ],
    )
}

fn extent(incident: &Incident) -> Section {
    let extent = incident.extent;
    let beyond = if extent.meters_beyond {
        ", and more that are not listed"
    } else {
        ""
    };
    pairs(
        "How many (approximately)",
        vec![
            (
                "data subjects",
                format!("{} ({} customers)", extent.data_subjects, extent.customers),
            ),
            (
                "meters",
                format!(
                    "{} ({} erased or removed since){beyond}",
                    extent.meters, extent.meters_gone
                ),
            ),
            ("records that left", extent.records_left.to_string()),
            ("records changed", extent.records_changed.to_string()),
        ],
    )
}

fn categories(incident: &Incident) -> Section {
    let rows = incident.categories.iter().map(|category| {
        vec![
            category.name.clone(),
            category.records_left.to_string(),
            category.records_changed.to_string(),
        ]
    });
    Section {
        title: "Categories of data",
        head: vec!["category", "records that left", "records changed"],
        rows: rows.collect(),
        none: "None: nothing was read or changed.",
    }
}

/// A sum's cells: times, records, first, last.
fn cells(sum: &Sum) -> [String; 4] {
    [
        sum.times.to_string(),
        sum.records.to_string(),
        sum.first.to_string(),
        sum.last.to_string(),
    ]
}

fn actions(incident: &Incident) -> Section {
    let rows = incident.actions.iter().map(|action| {
        let [times, records, first, last] = cells(&action.sum);
        let what = format!("{} {}", action.action, action.table);
        let broken = format!("{} / {}", action.aborted, action.without_end);
        vec![
            what,
            action.effect.clone(),
            times,
            records,
            first,
            last,
            broken,
        ]
    });
    Section {
        title: "What was done",
        head: vec![
            "action",
            "effect",
            "times",
            "records",
            "first",
            "last",
            "cut short / without end",
        ],
        rows: rows.collect(),
        none: "Nothing: the ledger has no entry.",
    }
}

fn changes(incident: &Incident) -> Section {
    let rows = incident.changes.iter().map(|changed| {
        let [times, _, first, last] = cells(&changed.sum);
        vec![
            changed.component.clone(),
            changed.action.clone(),
            times,
            first,
            last,
        ]
    });
    Section {
        title: "Configuration that was changed",
        head: vec!["what", "action", "times", "first", "last"],
        rows: rows.collect(),
        none: "None.",
    }
}

fn logins(incident: &Incident) -> Section {
    let rows = incident.logins.iter().map(|login| {
        let from = [
            login.user.clone(),
            login.address.clone(),
            login.request_id.clone(),
        ];
        std::iter::once(login.at.to_string()).chain(from).collect()
    });
    Section {
        title: "Sessions that began",
        head: vec!["at", "user", "from", "request"],
        rows: rows.collect(),
        none: "None.",
    }
}

fn peers(incident: &Incident) -> Section {
    let rows = incident.peers.iter().map(|peer| {
        let counts = [peer.acts, peer.refusals].map(|count| count.to_string());
        let times = [peer.first, peer.last].map(|at| at.to_string());
        std::iter::once(peer.name.clone())
            .chain(counts)
            .chain(times)
            .collect()
    });
    let by_address = incident.about.address.is_some();
    Section {
        title: if by_address {
            "Principals"
        } else {
            "Addresses"
        },
        head: vec!["name", "acts", "refusals", "first", "last"],
        rows: rows.collect(),
        none: "None.",
    }
}

fn refused(incident: &Incident) -> Section {
    let rows = incident.refused.iter().map(|refused| {
        let [times, _, first, last] = cells(&refused.sum);
        let status = refused
            .status
            .map(|status| status.to_string())
            .unwrap_or_default();
        vec![
            refused.kind.clone(),
            refused.what.clone(),
            status,
            times,
            first,
            last,
        ]
    });
    Section {
        title: "What was refused",
        head: vec!["kind", "what", "status", "times", "first", "last"],
        rows: rows.collect(),
        none: "Nothing.",
    }
}

fn meters(incident: &Incident) -> [Section; 2] {
    let rows = incident.meters.iter().flat_map(|meter| {
        let name = meter
            .meter_id
            .clone()
            .unwrap_or_else(|| format!("(gone) {}", meter.pseudonym));
        let customer = meter.customer_id.clone().unwrap_or_else(|| "-".to_owned());
        meter.acts.iter().map(move |act| {
            let [times, records, first, last] = cells(&act.sum);
            let what = format!("{} {}", act.action, act.table);
            vec![
                name.clone(),
                customer.clone(),
                what,
                times,
                records,
                act.shared_records.to_string(),
                first,
                last,
            ]
        })
    });
    let customers = incident.customers.iter();
    [
        Section {
            title: "Meters that were seen or changed",
            head: vec![
                "meter", "customer", "action", "times", "records", "shared", "first", "last",
            ],
            rows: rows.collect(),
            none: "None that the ledger names.",
        },
        Section {
            title: "Customers of these meters",
            head: vec!["customer", "meters"],
            rows: customers
                .map(|one| vec![one.customer_id.clone(), one.meters.to_string()])
                .collect(),
            none: "None that the meters' records name.",
        },
    ]
}

fn basis(incident: &Incident) -> Section {
    let basis = &incident.basis;
    pairs(
        "What this rests on",
        vec![
            (
                "ledger",
                format!(
                    "entries {} up to, not with, {} of {}; {} of them are this report's",
                    basis.ledger_from,
                    basis.ledger_until,
                    basis.ledger_entries,
                    basis.entries_matched
                ),
            ),
            (
                "security.log",
                format!(
                    "{} lines of the period, {} not read, {} events of unknown callers; complete: {}",
                    basis.log_lines,
                    basis.log_lines_skipped,
                    basis.log_unattributed,
                    yes(basis.log_complete)
                ),
            ),
        ],
    )
}

fn to_fill(incident: &Incident) -> Section {
    let fill = &incident.to_fill;
    let said = |text: &Option<String>| text.clone().unwrap_or_else(|| TO_FILL.to_owned());
    pairs(
        "To be filled in by a human",
        vec![
            ("nature and cause", said(&fill.nature_and_cause)),
            ("severity and impact", said(&fill.severity_and_impact)),
            ("likely consequences", said(&fill.likely_consequences)),
            ("measures", said(&fill.measures)),
            ("contact", said(&fill.contact)),
            ("data subjects told", said(&fill.data_subjects_told)),
        ],
    )
}
