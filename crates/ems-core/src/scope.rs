//! Which meters a principal may see and write.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Fault, FaultCode, meter::MeterId};

/// One entry of a scope: a meter id, a prefix such as `plant7-*`, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// Every meter.
    All,
    /// Every meter whose id begins so.
    Prefix(Arc<str>),
    /// One meter.
    One(MeterId),
}

impl Pattern {
    /// Reads an entry. The fault's pointer is `/meters`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text == "*" {
            return Ok(Self::All);
        }
        let Some(prefix) = text.strip_suffix('*') else {
            return MeterId::parse(text).map(Self::One).map_err(|fault| Fault {
                pointer: "/meters".into(),
                ..fault
            });
        };
        let fits = prefix.len() <= MeterId::MAX
            && prefix
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !fits {
            return Err(Fault::new(
                "/meters",
                FaultCode::InvalidFormat,
                "an entry is a meter id, a prefix and '*', or '*'",
            ));
        }
        Ok(Self::Prefix(prefix.into()))
    }

    /// Whether a meter is meant.
    pub fn matches(&self, meter: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => meter.starts_with(&**prefix),
            Self::One(id) => id.as_str() == meter,
        }
    }

    /// What every meter meant begins with.
    pub fn prefix(&self) -> &str {
        match self {
            Self::All => "",
            Self::Prefix(prefix) => prefix,
            Self::One(id) => id.as_str(),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::One(id) => id.fmt(f),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|fault| fault.detail)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.to_string()
    }
}

/// The meters of a principal: those that any of its patterns means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(Vec<Pattern>);

impl Scope {
    /// Every meter.
    pub fn all() -> Self {
        Self(vec![Pattern::All])
    }

    /// The meters that any of `patterns` means; none when there is none.
    pub fn of(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// Whether a meter is inside.
    pub fn contains(&self, meter: &MeterId) -> bool {
        self.0.iter().any(|pattern| pattern.matches(meter.as_str()))
    }

    /// Whether every meter is inside.
    pub fn is_all(&self) -> bool {
        self.0.contains(&Pattern::All)
    }

    /// Its entries.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(entries: &[&str]) -> Scope {
        Scope::of(
            entries
                .iter()
                .map(|entry| Pattern::parse(entry).unwrap())
                .collect(),
        )
    }

    #[test]
    fn a_prefix_means_what_begins_so_and_an_id_only_itself() {
        let scope = scope(&["plant7-*", "m1"]);
        let inside = |id| scope.contains(&MeterId::parse(id).unwrap());
        assert!(inside("plant7-a") && inside("plant7-") && inside("m1"));
        assert!(!inside("plant7") && !inside("plant70") && !inside("m10"));
    }

    #[test]
    fn an_empty_scope_holds_nothing() {
        assert!(!Scope::of(vec![]).contains(&MeterId::parse("m1").unwrap()));
        assert!(scope(&["*"]).is_all());
    }

    #[test]
    fn refuses_a_star_inside_and_an_empty_entry() {
        for text in ["", "a*b", "*a", "**", "a b*"] {
            assert!(Pattern::parse(text).is_err(), "{text:?}");
        }
    }
}
