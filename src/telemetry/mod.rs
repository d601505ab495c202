//! What the process says about itself: every metric is declared here once, and the log is set up.
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
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Metric, Registry, Unit},
};

mod by_status;
mod labels;
mod log;
mod page;
mod process;
pub(crate) mod traces;

pub(crate) use self::log::ACCESS;
use self::process::Process;
pub use self::{
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
    page::PageFormat,
    traces::{InvalidVariable, TraceParent, TraceSettings},
};
use crate::clock::UnixTime;

/// Every metric of the process, shared: a clone is one more pointer to the same counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Handles>);

impl Deref for Metrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.0
    }
}

/// The metrics themselves, as [`Metrics`] hands them out.
#[derive(Debug)]
#[non_exhaustive]
pub struct Handles {
    /// Requests answered, by door, route, outcome and fault.
    pub requests: Family<RequestLabels, Counter>,
    /// Seconds from a request's head to its response's head.
    pub request_seconds: Histogram,
    /// Requests being worked on now.
    pub requests_in_flight: Gauge,
    /// Connections open now on the public listener.
    pub connections: Gauge,
    /// Failures to accept a connection that were ours, such as no file descriptor left.
    pub accept_errors: Counter,
    /// TLS handshakes that failed, by reason.
    pub tls_handshake_failures: Family<HandshakeFailureLabels, Counter>,
    /// When a TLS certificate in use ends, in Unix time. Absent without TLS.
    pub tls_certificate_expiry: Family<CertificateLabels, Gauge>,
    /// Looks at the TLS files that found what cannot be used.
    pub tls_reload_failures: Counter,
    /// Connections and HTTP/2 streams ended because their peer took nothing of its response for too long.
    pub send_timeouts: Counter,
    /// Requests refused because too many were in flight.
    pub requests_shed: Counter,
    /// Requests refused because their client sent too many.
    pub requests_rate_limited: Counter,
    /// Requests that took longer than the application may take in all.
    pub requests_timed_out: Counter,
    /// Identity headers that a client sent and that were removed.
    pub spoofed_headers_stripped: Counter,
    /// Seconds that connecting to the application took, its name's lookup and TLS included.
    pub upstream_connect_seconds: Histogram,
    /// Seconds from a rebuilt request to the head of the application's response, by class of status.
    pub upstream_first_byte_seconds: ByStatus,
    /// Seconds from a rebuilt request to the end of the application's response, by class of status.
    pub upstream_total_seconds: ByStatus,
    /// Responses of the application that ended before they were whole, by what ended them.
    pub upstream_broken_responses: Family<BrokenResponseLabels, Counter>,
    /// Requests sent again because the kept connection had ended before anything of them was sent.
    pub upstream_retries: Counter,
    /// Upgraded streams (WebSocket) open now.
    pub upgraded_streams: Gauge,
    /// Tokens looked at, by verdict-cache outcome.
    pub verdicts: Family<VerdictLabels, Counter>,
    /// Verdicts that are remembered now.
    pub verdict_cache_entries: Gauge,
    /// Verdicts that are no longer remembered, by cause.
    pub verdict_cache_evictions: Family<EvictionLabels, Counter>,
    /// Seconds that judging one token took on a verdict-cache miss, a wait for keys included, whatever came of it.
    pub verify_seconds: Histogram,
    /// Tokens refused because no source of keys knows their key id.
    pub unknown_key_ids: Counter,
    /// Attempts to fetch the key set, by result.
    pub jwks_fetches: Family<FetchLabels, Counter>,
    /// Keys in the current sets of all sources.
    pub jwks_keys: Gauge,
    /// Keys in fetched sets that were skipped because they cannot be used.
    pub jwks_keys_skipped: Counter,
    /// Unknown `kid`s that caused no fetch because of the cooldown.
    pub jwks_refetches_suppressed: Counter,
    /// The key set on disk, by operation and result.
    pub jwks_file: Family<JwksFileLabels, Counter>,
    /// 1 where Apple publishes something else than what is pinned.
    pub apple_drift: Family<DriftLabels, Gauge>,
    /// Looks for drift, by result.
    pub apple_drift_checks: Family<DriftCheckLabels, Counter>,
    /// Requests to Apple in an app's name, by what was asked and what came of it.
    pub apple_requests: Family<AppleRequestLabels, Counter>,
    /// Seconds that Apple took to answer one of them, whatever it answered.
    pub apple_request_seconds: Histogram,
    /// 1 while Apple does not know an app by the team key.
    pub apple_client_refused: Family<AppleClientLabels, Gauge>,
    /// 1 while the store fails to do what it is asked.
    pub store_failing: Gauge,
    /// Questions to the store that it failed to answer.
    pub store_errors: Counter,
    /// Records that were found in the store and are none of ours, counted at each reading.
    pub store_records_skipped: Counter,
    /// Subjects on the list of revocations, lifted ones included.
    pub revocations: Gauge,
    /// Seconds since it was last certain that the list is what the store holds; -1 before it was read.
    pub revocations_age: Gauge,
    /// What became of sessions, by event.
    pub sessions: Family<SessionLabels, Counter>,
    /// Sessions that were ended and whose tokens have not expired.
    pub ended_sessions: Gauge,
    /// Notifications received, by event and by what became of them.
    pub notifications: Family<NotificationLabels, Counter>,
    /// Attempts to deliver an event to a webhook, by result.
    pub webhook_deliveries: Family<DeliveryLabels, Counter>,
    /// Events that wait to be delivered.
    pub webhook_queue: Gauge,
    /// Attempts to read the settings again, by result.
    pub config_reloads: Family<ReloadLabels, Counter>,
    /// 1 while the settings that were last read are in use, 0 while they are refused.
    pub config_last_reload_successful: Gauge,
    /// When settings were last taken up, the start included, in Unix time.
    pub config_last_reload_success: Gauge,
    /// Email claims that could not be a header field value and were left out.
    pub emails_left_out: Counter,
    verdict_hits: OnceLock<Counter>,
    verdict_misses: OnceLock<Counter>,
    jwks_state: Family<KeyStateLabels, Gauge>,
    jwks_age: Gauge,
    jwks_fetched_at: AtomicU64,
    registry: Registry,
}

fn upstream_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 13))
}

impl Default for Handles {
    #[rustfmt::skip] // One metric a line reads as the table that it is.
    fn default() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process::default()));
        let r = registry.sub_registry_with_prefix("siwa");
        add(r, "build_info", "What is running: always 1", build_info());
        Self {
            requests: add(r, "requests", "Requests answered, by door, route, outcome and whose fault a rejection was", Family::default()),
            request_seconds: seconds(r, "request_duration", "From a request's head to its response's head", Histogram::new(exponential_buckets(0.000_1, 2.5, 14))),
            requests_in_flight: add(r, "requests_in_flight", "Requests being worked on now", Gauge::default()),
            connections: add(r, "connections", "Connections open now on the public listener", Gauge::default()),
            accept_errors: add(r, "accept_errors", "Failures to accept a connection that were ours, such as no file descriptor left", Counter::default()),
            tls_handshake_failures: add(r, "tls_handshake_failures", "TLS handshakes that failed, by reason", Family::default()),
            tls_certificate_expiry: seconds(r, "tls_certificate_expiry_timestamp", "When a TLS certificate in use ends, in Unix time", Family::default()),
            tls_reload_failures: add(r, "tls_reload_failures", "Looks at the TLS files that found what cannot be used", Counter::default()),
            send_timeouts: add(r, "send_timeouts", "Connections and HTTP/2 streams ended because their peer took nothing of its response for too long", Counter::default()),
            requests_shed: add(r, "requests_shed", "Requests refused because too many were in flight", Counter::default()),
            requests_rate_limited: add(r, "requests_rate_limited", "Requests refused because their client sent too many", Counter::default()),
            requests_timed_out: add(r, "requests_timed_out", "Requests that took longer than the application may take in all", Counter::default()),
            spoofed_headers_stripped: add(r, "spoofed_headers_stripped", "Identity headers that clients sent and that were removed", Counter::default()),
            upstream_connect_seconds: seconds(r, "upstream_connect_duration", "Connecting to the application, name lookup and TLS included", Histogram::new(exponential_buckets(0.000_1, 2.5, 14))),
            upstream_first_byte_seconds: ByStatus::of(seconds(r, "upstream_first_byte_duration", "From a rebuilt request to the head of the application's response, by class of status", Family::new_with_constructor(upstream_histogram as fn() -> Histogram))),
            upstream_total_seconds: ByStatus::of(seconds(r, "upstream_response_duration", "From a rebuilt request to the end of the application's response, by class of status", Family::new_with_constructor(upstream_histogram as fn() -> Histogram))),
            upstream_broken_responses: add(r, "upstream_broken_responses", "Responses of the application that ended before they were whole, by what ended them", Family::default()),
            upstream_retries: add(r, "upstream_retries", "Requests sent again because the kept connection had ended before anything of them was sent", Counter::default()),
            upgraded_streams: add(r, "upgraded_streams", "Upgraded streams (WebSocket) open now", Gauge::default()),
            verdicts: add(r, "verdicts", "Tokens looked at, by verdict-cache outcome", Family::default()),
            verdict_cache_entries: add(r, "verdict_cache_entries", "Verdicts that are remembered now", Gauge::default()),
            verdict_cache_evictions: add(r, "verdict_cache_evictions", "Verdicts that are no longer remembered, by cause", Family::default()),
            verify_seconds: seconds(r, "verify_duration", "Judging one token that the verdict cache did not hold, a wait for keys included", Histogram::new(exponential_buckets(0.000_01, 2.5, 14))),
            unknown_key_ids: add(r, "unknown_key_ids", "Tokens refused because no source of keys knows their key id", Counter::default()),
            jwks_fetches: add(r, "jwks_fetches", "Attempts to fetch the key set, by result", Family::default()),
            jwks_keys: add(r, "jwks_keys", "Keys in the current sets of all sources", Gauge::default()),
            jwks_keys_skipped: add(r, "jwks_keys_skipped", "Keys in fetched sets that cannot be used", Counter::default()),
            jwks_refetches_suppressed: add(r, "jwks_refetches_suppressed", "Unknown key ids that caused no fetch because of the cooldown", Counter::default()),
            jwks_file: add(r, "jwks_file", "The key set on disk, by operation and result", Family::default()),
            apple_drift: add(r, "apple_drift", "1 where Apple publishes something else than what is pinned", Family::default()),
            apple_drift_checks: add(r, "apple_drift_checks", "Looks for drift, by result", Family::default()),
            apple_requests: add(r, "apple_requests", "Requests to Apple in an app's name, by what was asked and what came of it", Family::default()),
            apple_request_seconds: seconds(r, "apple_request_duration", "A request to Apple in an app's name, whatever came of it", Histogram::new(exponential_buckets(0.001, 2.5, 13))),
            apple_client_refused: add(r, "apple_client_refused", "1 while Apple does not know an app by the team key: its id, the key or our clock is wrong", Family::default()),
            store_failing: add(r, "store_failing", "1 while the store fails to do what it is asked", Gauge::default()),
            store_errors: add(r, "store_errors", "Questions to the store that it failed to answer", Counter::default()),
            store_records_skipped: add(r, "store_records_skipped", "Records found in the store that are none of ours, counted at each reading", Counter::default()),
            revocations: add(r, "revocations", "Subjects on the list of revocations, lifted ones included", Gauge::default()),
            revocations_age: seconds(r, "revocations_age", "Since it was last certain that the list is what the store holds; -1 before it was read", Gauge::default()),
            sessions: add(r, "sessions", "What became of sessions, by event", Family::default()),
            ended_sessions: add(r, "ended_sessions", "Sessions that were ended and whose tokens have not expired", Gauge::default()),
            notifications: add(r, "notifications", "Notifications received, by event and by what became of them", Family::default()),
            webhook_deliveries: add(r, "webhook_deliveries", "Attempts to deliver an event to a webhook, by result", Family::default()),
            webhook_queue: add(r, "webhook_queue", "Events that wait to be delivered", Gauge::default()),
            config_reloads: add(r, "config_reloads", "Attempts to read the settings again, by result", Family::default()),
            config_last_reload_successful: add(r, "config_last_reload_successful", "1 while the settings that were last read are in use, 0 while they are refused", Gauge::default()),
            config_last_reload_success: seconds(r, "config_last_reload_success_timestamp", "When settings were last taken up, the start included, in Unix time", Gauge::default()),
            emails_left_out: add(r, "emails_left_out", "Email claims that cannot be a header field value", Counter::default()),
            jwks_state: add(r, "jwks_state", "1 for how good the keys are, the worst if there are several sources", Family::default()),
            jwks_age: seconds(r, "jwks_age", "Since the last successful fetch of the key set, the oldest if there are several; -1 before the first", Gauge::default()),
            jwks_fetched_at: AtomicU64::new(0),
            verdict_hits: OnceLock::new(),
            verdict_misses: OnceLock::new(),
            registry,
        }
    }
}

impl Metrics {
    /// Counts a token whose verdict was remembered.
    pub fn verdict_hit(&self) {
        self.verdict_hits.get_or_init(|| self.verdicts_of("hit")).inc();
    }

    /// Counts a token that is judged now.
    pub fn verdict_miss(&self) {
        self.verdict_misses.get_or_init(|| self.verdicts_of("miss")).inc();
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
        self.jwks_fetched_at.store(at.as_secs(), Ordering::Relaxed);
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
        match self.jwks_fetched_at.load(Ordering::Relaxed) {
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
        text::encode(&mut page, &self.registry)?;
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

/// Registers `metric` as `siwa_NAME` and hands it on.
fn add<M: Metric + Clone>(to: &mut Registry, name: &str, help: &str, metric: M) -> M {
    to.register(name, help, metric.clone());
    metric
}

/// Registers `metric`, which counts seconds, as `siwa_NAME_seconds` and hands it on.
fn seconds<M: Metric + Clone>(to: &mut Registry, name: &str, help: &str, metric: M) -> M {
    to.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
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
    fn a_counter_is_rendered_with_its_labels() {
        let metrics = Metrics::new();
        let labels = RequestLabels {
            door: "proxy",
            route: RouteLabel::none(),
            outcome: "forwarded",
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
