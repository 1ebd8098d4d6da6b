//! What is counted of alerts and of the shipping. The labels come from the settings.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    channel: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LineLabels {
    log: &'static str,
    to: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BehindLabels {
    log: &'static str,
    to: &'static str,
}

/// The figures. Clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    alerts: Family<AlertLabels, Counter>,
    queue: Gauge,
    lines: Family<LineLabels, Counter>,
    behind: Family<BehindLabels, Gauge>,
}

impl Figures {
    /// Figures at zero, registered.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let figures = Self::default();
        let help = "Alerts by channel and what became of them";
        registry.register("alerts", help, figures.alerts.clone());
        registry.register("alert_queue", "Alerts that wait", figures.queue.clone());
        let help = "Lines of the logs by receiver and what became of them";
        registry.register("ship_lines", help, figures.lines.clone());
        let help = "Bytes of the logs that a receiver has not confirmed";
        registry.register("ship_behind_bytes", help, figures.behind.clone());
        figures
    }

    pub(super) fn alert(&self, channel: &str, outcome: &'static str) {
        let labels = AlertLabels {
            channel: channel.to_owned(),
            outcome,
        };
        self.alerts.get_or_create(&labels).inc();
    }

    pub(super) fn queued(&self, by: i64) {
        self.queue.inc_by(by);
    }

    pub(super) fn lines(
        &self,
        (log, to): (&'static str, &'static str),
        outcome: &'static str,
        by: u64,
    ) {
        let labels = LineLabels { log, to, outcome };
        self.lines.get_or_create(&labels).inc_by(by);
    }

    pub(super) fn behind(&self, (log, to): (&'static str, &'static str), bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.behind
            .get_or_create(&BehindLabels { log, to })
            .set(bytes);
    }
}
