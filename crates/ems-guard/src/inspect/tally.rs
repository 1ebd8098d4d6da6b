//! What was found in one request, and what it sums up to.

use super::rules::{self, Places, Rule};

/// The longest name of a field that a log repeats.
const SHOWN: usize = 40;

/// What was found in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The sum of the rules' scores.
    pub score: u32,
    /// The part of it that is for the form alone: what a known caller is told by another status.
    pub form: u32,
    /// The ids of the rules, in the order of the table.
    pub rules: Vec<&'static str>,
    /// Where the first of them was: the kind of place, and its name where that is a plain one.
    pub place: String,
}

/// The rules that found something, by their place in the table.
#[derive(Debug, Default)]
pub(super) struct Tally {
    hits: u128,
    first: Option<String>,
    /// The score so far, without what is for the form alone.
    pub(super) score: u32,
}

impl Tally {
    /// Adds a rule, unless that is allowed.
    pub(super) fn add(
        &mut self,
        index: usize,
        place: Places,
        field: &[u8],
        allowed: &dyn Fn(&Rule) -> bool,
    ) {
        let bit = u32::try_from(index)
            .ok()
            .and_then(|index| 1_u128.checked_shl(index));
        let Some(bit) = bit.filter(|bit| self.hits & bit == 0) else {
            return;
        };
        let Some(rule) = rules::all().nth(index).filter(|rule| !allowed(rule)) else {
            return;
        };
        self.hits |= bit;
        if !is_form(rule) {
            self.score += rule.score;
        }
        self.first.get_or_insert_with(|| describe(place, field));
    }

    pub(super) fn report(&self) -> Option<Report> {
        let hit = |(index, _): &(usize, _)| self.hits >> index & 1 == 1;
        let rules: Vec<&Rule> = rules::all()
            .enumerate()
            .filter(hit)
            .map(|(_, rule)| rule)
            .collect();
        let place = self.first.clone()?;
        let sum = |counts: &dyn Fn(&Rule) -> bool| {
            let counted = rules.iter().filter(|rule| counts(rule));
            counted.map(|rule| rule.score).sum()
        };
        Some(Report {
            score: sum(&|_| true),
            form: sum(&is_form),
            rules: rules.iter().map(|rule| rule.id).collect(),
            place,
        })
    }
}

/// Whether a rule is for the form of a request alone.
fn is_form(rule: &Rule) -> bool {
    rule.patterns.is_empty() && rule.id.starts_with("protocol-")
}

fn describe(place: Places, field: &[u8]) -> String {
    let kind = match place {
        Places::PATH => "path",
        Places::NAME => "name",
        Places::VALUE => "value",
        Places::COOKIE => "cookie",
        Places::AGENT | Places::REFERER | Places::HEADER => "header field",
        Places::FILE => "file name",
        Places::PROSE => "text",
        _ => "body",
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
    match std::str::from_utf8(field) {
        Ok(name) if (1..=SHOWN).contains(&name.len()) && field.iter().all(plain) => {
            format!("{kind} {name}")
        }
        _ => kind.to_owned(),
    }
}
