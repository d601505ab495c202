//! What the process says about itself: its metrics, which `table.rs` declares, its log and its traces.
//!
//! A [`Metrics`] is a bundle of handles, cheap to clone and private to its server, so that two servers (or two tests) in
//! one process do not count into each other. Labels are bounded: never a subject, a path, a `kid` or an address.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

mod apart;
mod by_status;
mod json_lines;
mod labels;
mod log;
mod outcome;
mod page;
mod process;
mod table;
pub(crate) mod traces;

pub(crate) use self::log::ACCESS;
use self::process::Process;
pub use self::{
    apart::{Count, Counter, Present, Timing},
    by_status::ByStatus,
    labels::{
        AppleClientLabels, AppleRequestLabels, BrokenResponseLabels, BuildLabels,
        CertificateLabels, DeliveryLabels, DriftCheckLabels, DriftLabels, EvictionLabels,
        FetchLabels, HandshakeFailureLabels, JwksFileLabels, KeyState, KeyStateLabels,
        NotificationLabels, ReloadLabels, RequestLabels, RouteLabel, SessionLabels, StatusLabels,
        VerdictLabels,
    },
    log::{
        InitError, InvalidLogFilter, LogFilter, LogFormat, LogSettings, Telling, causes, init,
        init_log,
    },
    outcome::Outcome,
    page::PageFormat,
    table::Handles,
    traces::{InvalidVariable, TraceParent, TraceSettings},
};
use crate::clock::UnixTime;

/// Every metric of the process, shared: a clone is one more pointer to the same counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    handles: Handles,
    verdict_hits: OnceLock<Counter>,
    verdict_misses: OnceLock<Counter>,
    jwks_fetched_at: AtomicU64,
    registry: Registry,
}

impl Default for Shared {
    fn default() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::default()));
        let ours = registry.sub_registry_with_prefix("siwa");
        ours.register("build_info", "What is running: always 1", build_info());
        Self {
            handles: Handles::registered(ours),
            verdict_hits: OnceLock::new(),
            verdict_misses: OnceLock::new(),
            jwks_fetched_at: AtomicU64::new(0),
            registry,
        }
    }
}

impl Deref for Metrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.0.handles
    }
}

impl Metrics {
    /// Counts a token whose verdict was remembered.
    pub fn verdict_hit(&self) {
        self.0.verdict_hits.get_or_init(|| self.verdicts_of("hit")).inc();
    }

    /// Counts a token that is judged now.
    pub fn verdict_miss(&self) {
        self.0.verdict_misses.get_or_init(|| self.verdicts_of("miss")).inc();
    }

    /// Counts a request that has ended.
    pub fn request_ended(&self, labels: &RequestLabels) {
        match labels.route.forwarded().filter(|_| labels.is_of_most()) {
            Some(count) => count.get_or_init(|| self.requests.get_or_create_owned(labels)).inc(),
            None => self.requests.get_or_create(labels).inc(),
        };
    }

    fn verdicts_of(&self, cache: &'static str) -> Counter {
        self.verdicts.get_or_create_owned(&VerdictLabels { cache })
    }

    /// A fresh set of metrics, all at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes when the key set in use was fetched.
    pub fn jwks_fetched(&self, at: UnixTime) {
        self.0.jwks_fetched_at.store(at.as_secs(), Ordering::Relaxed);
    }

    /// Notes how good the keys are.
    pub fn jwks_state(&self, now: KeyState) {
        for state in KeyState::ALL {
            let labels = KeyStateLabels { state: state.as_str() };
            self.jwks_state.get_or_create(&labels).set(i64::from(state == now));
        }
    }

    /// How old the key set in use is at `now`, the oldest if there are several; none before the first.
    #[must_use]
    pub fn jwks_age(&self, now: UnixTime) -> Option<Duration> {
        match self.0.jwks_fetched_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(now.saturating_since(UnixTime::from_secs(at))),
        }
    }

    /// Notes that settings were taken up.
    pub fn settings_taken_up(&self, at: UnixTime) {
        self.config_last_reload_successful.set(1);
        self.config_last_reload_success.set(i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
    }

    /// All metrics in the `OpenMetrics` text format, as Prometheus scrapes them.
    ///
    /// # Errors
    ///
    /// Never in practice: writing into a `String` cannot fail.
    pub fn render(&self, now: UnixTime) -> Result<String, fmt::Error> {
        let age = self.jwks_age(now);
        self.jwks_age.set(age.map_or(-1, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX)));
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry)?;
        Ok(page)
    }

    /// All metrics, as whoever asks wants them.
    ///
    /// # Errors
    ///
    /// Those of [`render`](Self::render).
    pub fn render_as(&self, format: PageFormat, now: UnixTime) -> Result<String, fmt::Error> {
        let page = self.render(now)?;
        Ok(match format {
            PageFormat::OpenMetrics => page,
            PageFormat::Plain => page::plain(&page),
        })
    }
}

fn build_info() -> Family<BuildLabels, Gauge> {
    let family = Family::<BuildLabels, Gauge>::default();
    let commit = option_env!("BUILT_COMMIT").unwrap_or("unknown");
    family.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION"), commit }).set(1);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_the_keys_grows_with_the_clock() {
        let metrics = Metrics::new();
        let page = |at| metrics.render(UnixTime::from_secs(at)).unwrap();
        assert!(page(50).contains("siwa_jwks_age_seconds -1"));
        metrics.jwks_fetched(UnixTime::from_secs(100));
        assert!(page(160).contains("siwa_jwks_age_seconds 60"));
    }

    #[test]
    fn a_request_counts_once_whether_it_ended_as_most_do_or_otherwise() {
        let (metrics, route) = (Metrics::new(), RouteLabel::new(&Arc::from("api")));
        let labels =
            |door, outcome| RequestLabels { door, route: route.clone(), outcome, fault: "none" };
        for (door, outcome, times) in [
            ("proxy", Outcome::Forwarded, 3),
            ("proxy", Outcome::Allowed, 2),
            ("userinfo", Outcome::Forwarded, 1),
        ] {
            let labels = labels(door, outcome);
            (0..times).for_each(|_| metrics.request_ended(&labels));
            assert_eq!(metrics.requests.get_or_create(&labels).get(), times);
        }
    }

    #[test]
    fn a_counter_is_rendered_with_its_labels() {
        let metrics = Metrics::new();
        let labels = RequestLabels {
            door: "proxy",
            route: RouteLabel::none(),
            outcome: Outcome::Forwarded,
            fault: "none",
        };
        metrics.requests.get_or_create(&labels).inc();
        let page = metrics.render(UnixTime::from_secs(0)).unwrap();
        assert!(
            page.contains(
                r#"siwa_requests_total{door="proxy",route="none",outcome="forwarded",fault="none"} 1"#
            ),
            "{page}"
        );
    }
}
