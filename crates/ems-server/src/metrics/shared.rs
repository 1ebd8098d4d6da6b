//! How the state that processes share is doing. What is kept in process is always up.

use std::time::Duration;

use ems_store::shared::RedisFigures;
use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{Metrics, histogram};

#[derive(Debug, Clone)]
pub(super) struct Figures {
    up: Gauge,
    failures: Counter,
    local: Counter,
    asked: Histogram,
}

impl Figures {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let figures = Self {
            up: Gauge::default(),
            failures: Counter::default(),
            local: Counter::default(),
            asked: histogram(),
        };
        figures.up.set(1);
        let help = "Whether the state that processes share can be reached";
        registry.register("shared_up", help, figures.up.clone());
        let help = "Times that it did not answer in time, or with an error";
        registry.register("shared_failures", help, figures.failures.clone());
        let help = "Decisions of this process alone, since it could not be reached";
        registry.register("shared_local", help, figures.local.clone());
        let help = "Time until it answered";
        registry.register_with_unit("shared", help, Unit::Seconds, figures.asked.clone());
        figures
    }
}

impl RedisFigures for Metrics {
    fn answered(&self, took: Duration) {
        self.shared.asked.observe(took.as_secs_f64());
    }

    fn failed(&self) {
        self.shared.failures.inc();
    }

    fn alone(&self) {
        self.shared.local.inc();
    }

    fn up(&self, up: bool) {
        self.shared.up.set(i64::from(up));
    }
}
