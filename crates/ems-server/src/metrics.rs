//! What is counted and timed, in the Prometheus text format, on a listener of its own.
//!
//! Labels come from fixed sets (route templates, methods, status classes), so that no client can
//! make new series.

pub mod guard;
mod shared;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ems_store::{Batch, Commit, Counts, Outcome};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Metric, Registry, Unit},
};
use tokio::time::Instant;

use crate::notify::figures::Figures;

/// The media type of the answer.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LoginLabels {
    method: &'static str,
    outcome: &'static str,
}

/// All figures. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram>,
    in_flight: Gauge,
    readings: Family<KindLabels, Counter>,
    rate_limited: Family<KindLabels, Counter>,
    auth_failures: Family<KindLabels, Counter>,
    logins: Family<LoginLabels, Counter>,
    commits: Histogram,
    damaged: Counter,
    guard: guard::Figures,
    shared: shared::Figures,
    /// What is counted of alerts and of the shipping of logs.
    pub(crate) notify: Figures,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers all figures at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("ems");
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        let requests = counted(&mut registry, "http_requests", "Requests answered");
        let histograms: fn() -> Histogram = histogram;
        let latency = Family::new_with_constructor(histograms);
        let help = "Time from a request's head to its answer's head";
        registry.register_with_unit(
            "http_request_duration",
            help,
            Unit::Seconds,
            latency.clone(),
        );
        let help = "Requests being served";
        let in_flight = counted(&mut registry, "http_requests_in_flight", help);
        let help = "Readings by what became of them";
        let readings = counted(&mut registry, "readings", help);
        let help = "Requests refused by a window";
        let rate_limited = counted(&mut registry, "rate_limited", help);
        let auth_failures = counted(&mut registry, "auth_failures", "Credentials refused");
        let help = "Sessions begun, renewed or refused";
        let logins: Family<LoginLabels, Counter> = counted(&mut registry, "logins", help);
        let help = "Times that something stored did not open";
        let damaged = counted(&mut registry, "store_damaged", help);
        let commits = histogram();
        let help = "Time until a commit was durable";
        registry.register_with_unit(
            "store_commit_duration",
            help,
            Unit::Seconds,
            commits.clone(),
        );
        let guard = guard::Figures::register(&mut registry);
        let shared = shared::Figures::register(&mut registry);
        at_zero(
            &readings,
            &["accepted", "unchanged", "corrected", "rejected"],
        );
        let windows = ["principal", "address", "readings", "new_meters"];
        at_zero(&rate_limited, &windows);
        at_zero(&auth_failures, &["token", "api_key", "login"]);
        for method in ["password", "otp", "recovery", "sso", "refresh"] {
            for outcome in ["ok", "refused"] {
                drop(logins.get_or_create(&LoginLabels { method, outcome }));
            }
        }
        let notify = Figures::register(&mut registry);
        Self {
            registry: Arc::new(registry),
            guard,
            requests,
            latency,
            in_flight,
            readings,
            rate_limited,
            auth_failures,
            logins,
            commits,
            damaged,
            shared,
            notify,
        }
    }

    /// The page.
    pub fn render(&self) -> String {
        let mut page = String::new();
        // Writing to a text cannot fail.
        let _ = encode(&mut page, &self.registry);
        page
    }

    /// Notes that a request begins; the guard notes that it ended, however it did.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Notes an answer. Every argument comes from a fixed set.
    pub fn answered(&self, route: &'static str, method: &'static str, status: u16, took: Duration) {
        let class = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        self.requests
            .get_or_create(&RequestLabels {
                route,
                method,
                status: class,
            })
            .inc();
        self.latency
            .get_or_create(&RouteLabels { route, method })
            .observe(took.as_secs_f64());
    }

    /// Notes rows that were refused.
    pub fn rejected(&self, rows: u64) {
        self.count("rejected", rows);
    }

    /// Notes a request that a window refused: `principal`, `address` or `readings`.
    pub fn rate_limited(&self, kind: &'static str) {
        self.rate_limited.get_or_create(&KindLabels { kind }).inc();
    }

    /// Notes a refused credential: `token`, `api_key` or `login`.
    pub fn auth_failed(&self, kind: &'static str) {
        self.auth_failures.get_or_create(&KindLabels { kind }).inc();
    }

    /// Notes a login or a renewal by `method`, a name of [`ems_guard::sessions::Means`].
    pub fn login(&self, method: &'static str, good: bool) {
        let outcome = if good { "ok" } else { "refused" };
        self.logins
            .get_or_create(&LoginLabels { method, outcome })
            .inc();
    }

    /// Notes that something stored did not open when it was asked for.
    pub fn damaged(&self) {
        self.damaged.inc();
    }

    /// What is counted of the door.
    pub fn guard(&self) -> &guard::Figures {
        &self.guard
    }

    fn stored(&self, counts: Counts) {
        self.count("accepted", counts.accepted);
        self.count("unchanged", counts.unchanged);
        self.count("corrected", counts.corrected);
    }

    fn count(&self, kind: &'static str, by: u64) {
        if by > 0 {
            self.readings.get_or_create(&KindLabels { kind }).inc_by(by);
        }
    }
}

/// A figure from nothing on, registered.
fn counted<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let figure = M::default();
    registry.register(name, help, figure.clone());
    figure
}

/// Begins a family's known series: the first event of a kind is then a rise that an alert sees, and
/// the family is on the page before it.
fn at_zero(family: &Family<KindLabels, Counter>, kinds: &[&'static str]) {
    for kind in kinds {
        drop(family.get_or_create(&KindLabels { kind }));
    }
}

/// 100 µs to 13 s, each bound 2.2 times the one before.
fn histogram() -> Histogram {
    Histogram::new(prometheus_client::metrics::histogram::exponential_buckets(
        0.0001, 2.2, 16,
    ))
}

/// A request being served.
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A store's commit, timed and counted.
pub struct MeteredCommit {
    inner: Arc<dyn Commit>,
    metrics: Metrics,
}

impl MeteredCommit {
    /// Wraps a commit.
    pub fn new(inner: Arc<dyn Commit>, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }
}

#[async_trait]
impl Commit for MeteredCommit {
    async fn commit(&self, batch: Batch) -> ems_store::Result<Outcome> {
        let began = Instant::now();
        let outcome = self.inner.commit(batch).await?;
        self.metrics.commits.observe(began.elapsed().as_secs_f64());
        self.metrics.stored(outcome.counts);
        Ok(outcome)
    }

    async fn fresh(&self) -> ems_store::Result<()> {
        self.inner.fresh().await
    }

    async fn close(&self) -> ems_store::Result<()> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_was_counted() {
        let metrics = Metrics::new();
        metrics.answered("/health", "GET", 200, Duration::from_millis(3));
        metrics.answered("/health", "GET", 204, Duration::from_millis(3));
        metrics.rejected(7);
        let in_flight = metrics.begin();
        let page = metrics.render();
        for line in [
            r#"ems_http_requests_total{route="/health",method="GET",status="2xx"} 2"#,
            r#"ems_readings_total{kind="rejected"} 7"#,
            "ems_http_requests_in_flight 1",
            r#"ems_http_request_duration_seconds_count{route="/health",method="GET"} 2"#,
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        drop(in_flight);
        assert!(metrics.render().contains("ems_http_requests_in_flight 0"));
    }
}
