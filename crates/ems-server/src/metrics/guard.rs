//! What is counted of the door: who is shut out, and what was told by name.

use ems_guard::{
    bans::{Kind, Reason},
    journal::Violation,
};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::listener::GivenUp;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SentenceLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhereLabels {
    r#where: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabels {
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PatternLabels {
    pattern: &'static str,
}

/// The figures. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Figures {
    sentences: Family<KindLabels, Gauge>,
    sentenced: Family<SentenceLabels, Counter>,
    refused: Family<WhereLabels, Counter>,
    patterns: Family<PatternLabels, Counter>,
    given_up: Family<WhyLabels, Counter>,
}

/// The patterns that are told by name.
const PATTERNS: [Violation; 10] = [
    Violation::ManyAccounts,
    Violation::ManyAddresses,
    Violation::BurstUnauthorized,
    Violation::BurstForbidden,
    Violation::BurstNotFound,
    Violation::NewNetwork,
    Violation::ScopeProbing,
    Violation::ReadingJump,
    Violation::UndeclaredProxy,
    Violation::ProtocolAbuse,
];

impl Figures {
    /// Registers the figures, each known kind at zero.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let figures = Self {
            sentences: Family::default(),
            sentenced: Family::default(),
            refused: Family::default(),
            patterns: Family::default(),
            given_up: Family::default(),
        };
        let help = "Addresses that are shut out now";
        registry.register("guard_sentences", help, figures.sentences.clone());
        let help = "Times that an address was shut out";
        registry.register("guard_sentenced", help, figures.sentenced.clone());
        let help = "Connections and requests of addresses that are shut out";
        registry.register("guard_refused", help, figures.refused.clone());
        let help = "Patterns of attack that were told, by name";
        registry.register("guard_patterns", help, figures.patterns.clone());
        let help = "Connections that were given up, by why";
        registry.register("guard_given_up", help, figures.given_up.clone());
        figures.hold(0, 0);
        for (kind, reason) in [
            (Kind::Block, Reason::TooManyFailedAttempts),
            (Kind::Block, Reason::AttackScore),
            (Kind::Ban, Reason::AttackScore),
            (Kind::Ban, Reason::Manual),
        ] {
            figures.of_sentence(kind, reason);
        }
        for pattern in PATTERNS.map(Violation::as_str) {
            let _ = figures.patterns.get_or_create(&PatternLabels { pattern });
        }
        for why in GivenUp::ALL.map(GivenUp::as_str) {
            let _ = figures.given_up.get_or_create(&WhyLabels { why });
        }
        for r#where in ["accept", "request"] {
            let _ = figures.refused.get_or_create(&WhereLabels { r#where });
        }
        figures
    }

    /// Notes how many addresses are blocked and banned now.
    pub fn hold(&self, blocked: usize, banned: usize) {
        for (kind, count) in [(Kind::Block, blocked), (Kind::Ban, banned)] {
            let kind = kind.as_str();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.sentences
                .get_or_create(&KindLabels { kind })
                .set(count);
        }
    }

    /// Notes that an address was shut out.
    pub fn sentenced(&self, kind: Kind, reason: Reason) {
        self.of_sentence(kind, reason).inc();
    }

    fn of_sentence(&self, kind: Kind, reason: Reason) -> Counter {
        let labels = SentenceLabels {
            kind: kind.as_str(),
            reason: reason.as_str(),
        };
        self.sentenced.get_or_create(&labels).clone()
    }

    /// Notes a connection (`accept`) or a request (`request`) of an address that is shut out.
    pub fn refused(&self, r#where: &'static str) {
        self.refused.get_or_create(&WhereLabels { r#where }).inc();
    }

    /// Notes a connection that was given up.
    pub fn gave_up(&self, why: GivenUp) {
        let why = why.as_str();
        self.given_up.get_or_create(&WhyLabels { why }).inc();
    }

    /// Notes that a pattern of attack was told.
    pub fn pattern(&self, pattern: Violation) {
        let pattern = pattern.as_str();
        self.patterns
            .get_or_create(&PatternLabels { pattern })
            .inc();
    }
}
