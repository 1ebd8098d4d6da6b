//! The table of rules: what each looks for, where, and how much it weighs.
//!
//! One that is sure of an attack weighs 5 and is enough at the threshold as it comes; hints weigh 1
//! to 3 and add up. In prose only those look that ask for the form of an attack, never for a word.

mod code;
mod command;
mod file;
mod head;
mod query;
mod script;
mod sql;

/// Where a text stands in a request, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Places(u16);

impl Places {
    pub(super) const PATH: Self = Self(1);
    /// Of parameters and fields.
    pub(super) const NAME: Self = Self(1 << 1);
    /// Of parameters and fields that are no prose.
    pub(super) const VALUE: Self = Self(1 << 2);
    pub(super) const COOKIE: Self = Self(1 << 3);
    pub(super) const HEADER: Self = Self(1 << 4);
    pub(super) const AGENT: Self = Self(1 << 5);
    pub(super) const REFERER: Self = Self(1 << 6);
    /// The name of a file that is sent.
    pub(super) const FILE: Self = Self(1 << 7);
    /// A field that people write in.
    pub(super) const PROSE: Self = Self(1 << 8);
    /// A document as a whole.
    pub(super) const DOCUMENT: Self = Self(1 << 9);

    pub(super) const STRICT: Self = Self(0xff);
    pub(super) const ALL: Self = Self(0x3ff);
    /// What a client says by itself, not the client's program.
    pub(super) const GIVEN: Self = Self(0xff & !(1 << 5) & !(1 << 6));
    /// What goes to where a form's fields go.
    pub(super) const FIELDS: Self = Self(0b1110);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name in the log and the settings.
    pub id: &'static str,
    /// What it adds to the score of a request, once.
    pub score: u32,
    /// What it looks for.
    pub looks_for: &'static str,
    /// A text that it finds.
    pub example: &'static str,
    pub(super) places: Places,
    /// One of these, without regard to case; none where it is found by code.
    pub(super) patterns: &'static [&'static str],
}

/// Rules against one kind of attack.
#[derive(Debug)]
pub struct Category {
    /// Its name in the documentation.
    pub name: &'static str,
    /// Its rules.
    pub rules: &'static [Rule],
}

/// All rules.
pub const CATEGORIES: &[Category] = &[
    Category {
        name: "SQL injection",
        rules: sql::RULES,
    },
    Category {
        name: "Script injection",
        rules: script::RULES,
    },
    Category {
        name: "Commands",
        rules: command::RULES,
    },
    Category {
        name: "Code, templates and objects",
        rules: code::RULES,
    },
    Category {
        name: "Files and addresses",
        rules: file::RULES,
    },
    Category {
        name: "Queries and documents",
        rules: query::RULES,
    },
    Category {
        name: "Scanners and the protocol",
        rules: head::RULES,
    },
];

/// The rule of a name.
pub fn rule(id: &str) -> Option<&'static Rule> {
    all().find(|rule| rule.id == id)
}

pub(super) fn all() -> impl Iterator<Item = &'static Rule> {
    CATEGORIES.iter().flat_map(|category| category.rules)
}
