//! What the process says about itself: every metric is declared here once, and the log is set up.
//!
//! A [`Metrics`] is a bundle of handles, cheap to clone and private to its server, so that two servers (or two tests) in
//! one process do not count into each other. Labels are bounded: never a subject, a path, a `kid` or an address.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

mod log;

pub use self::log::{InvalidLogFilter, LogFilter, LogFormat, LogSettings, causes, init_log};
use crate::clock::UnixTime;

/// How one request ended: the labels of `siwa_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The door it came through: `proxy` or `layer`.
    pub door: &'static str,
    /// The route: its configured name, `default` for what no rule matches, `none` for what has no route.
    pub route: RouteLabel,
    /// `forwarded`, or the reason code of the rejection, e.g. `token_expired`.
    pub outcome: &'static str,
    /// Whose fault a rejection was: `none`, `caller`, `apple`, `upstream` or `us`.
    pub fault: &'static str,
}

/// The name of a route, as a label: one of those that are configured, so that there are no more than those.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteLabel(Arc<str>);

impl RouteLabel {
    /// The route called `name`.
    #[must_use]
    pub fn new(name: &Arc<str>) -> Self {
        Self(Arc::clone(name))
    }

    /// No route.
    #[must_use]
    pub fn none() -> Self {
        Self("none".into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl EncodeLabelValue for RouteLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// Where a verdict came from: the label of `siwa_verdicts_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerdictLabels {
    /// `hit` (remembered), `miss` (judged now).
    pub cache: &'static str,
}

/// How one fetch of the key set ended: the label of `siwa_jwks_fetches_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FetchLabels {
    /// `ok`, or the code of the fault, e.g. `status`, `timeout`.
    pub result: &'static str,
}

/// Why a TLS handshake failed: the label of `siwa_tls_handshake_failures_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeFailureLabels {
    /// `timeout`, `closed`, `not_tls`, `incompatible`, `no_certificate`, `bad_certificate`, `refused` or `other`.
    pub reason: &'static str,
}

/// Whose certificate: the label of `siwa_tls_certificate_expiry_seconds`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CertificateLabels {
    /// `server`: the one that callers see.
    pub certificate: &'static str,
}

/// What the application answered: the label of the times it took.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabels {
    /// `1xx` to `5xx`, or `other`.
    pub status: &'static str,
}

impl StatusLabels {
    /// The class of `status` (RFC 9110 §15).
    #[must_use]
    pub fn of(status: http::StatusCode) -> Self {
        let status = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        };
        Self { status }
    }
}

/// What became of the key set on disk: the labels of `siwa_jwks_file_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JwksFileLabels {
    /// `load` or `store`.
    pub operation: &'static str,
    /// `ok`, `failed`, `absent`, or why the file was not believed, e.g. `digest`, `too_old`.
    pub result: &'static str,
}

/// What Apple publishes otherwise than it is pinned: the label of `siwa_apple_drift`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DriftLabels {
    /// `issuer`, `jwks_uri`, `algorithms` or `keys`.
    pub what: &'static str,
}

/// How one look for drift ended: the label of `siwa_apple_drift_checks_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DriftCheckLabels {
    /// `ok`, or the code of the fault, e.g. `status`, `html`.
    pub result: &'static str,
}

/// Every metric of the process.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
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
    /// Requests refused because too many were in flight.
    pub requests_shed: Counter,
    /// Requests refused because their client sent too many.
    pub requests_rate_limited: Counter,
    /// Requests cut short because they took too long.
    pub requests_timed_out: Counter,
    /// Identity headers that a client sent and that were removed.
    pub spoofed_headers_stripped: Counter,
    /// Seconds that connecting to the application took, its name's lookup and TLS included.
    pub upstream_connect_seconds: Histogram,
    /// Seconds from a rebuilt request to the head of the application's response, by class of status.
    pub upstream_first_byte_seconds: Family<StatusLabels, Histogram, fn() -> Histogram>,
    /// Seconds from a rebuilt request to the end of the application's response, by class of status.
    pub upstream_total_seconds: Family<StatusLabels, Histogram, fn() -> Histogram>,
    /// Requests sent again because the kept connection had ended before anything of them was sent.
    pub upstream_retries: Counter,
    /// Upgraded streams (WebSocket) open now.
    pub upgraded_streams: Gauge,
    /// Tokens looked at, by verdict-cache outcome.
    pub verdicts: Family<VerdictLabels, Counter>,
    /// Seconds that judging one token took on a verdict-cache miss, a wait for keys included.
    pub judge_seconds: Histogram,
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
    /// Email claims that could not be a header field value and were left out.
    pub emails_left_out: Counter,
    jwks_age: Gauge,
    jwks_fetched_at: Arc<AtomicU64>,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn upstream_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.5, 13))
}

impl Metrics {
    /// A fresh set of metrics, all at zero.
    #[must_use]
    #[rustfmt::skip] // One metric a line reads as the table that it is.
    pub fn new() -> Self {
        let requests = Family::default();
        let request_seconds = Histogram::new(exponential_buckets(0.000_1, 2.5, 14));
        let requests_in_flight = Gauge::default();
        let connections = Gauge::default();
        let accept_errors = Counter::default();
        let tls_handshake_failures = Family::default();
        let tls_certificate_expiry = Family::default();
        let tls_reload_failures = Counter::default();
        let requests_shed = Counter::default();
        let requests_rate_limited = Counter::default();
        let requests_timed_out = Counter::default();
        let spoofed_headers_stripped = Counter::default();
        let upstream_connect_seconds = Histogram::new(exponential_buckets(0.000_1, 2.5, 14));
        let upstream_first_byte_seconds = Family::new_with_constructor(upstream_histogram as fn() -> Histogram);
        let upstream_total_seconds = Family::new_with_constructor(upstream_histogram as fn() -> Histogram);
        let upstream_retries = Counter::default();
        let upgraded_streams = Gauge::default();
        let verdicts = Family::default();
        let judge_seconds = Histogram::new(exponential_buckets(0.000_01, 2.5, 14));
        let jwks_fetches = Family::default();
        let jwks_keys = Gauge::default();
        let jwks_keys_skipped = Counter::default();
        let jwks_refetches_suppressed = Counter::default();
        let jwks_file = Family::default();
        let apple_drift = Family::default();
        let apple_drift_checks = Family::default();
        let emails_left_out = Counter::default();
        let jwks_age = Gauge::default();

        let mut r = Registry::with_prefix("siwa");
        r.register("requests", "Requests answered, by door, route, outcome and whose fault a rejection was", requests.clone());
        r.register_with_unit("request", "From a request's head to its response's head", Unit::Seconds, request_seconds.clone());
        r.register("requests_in_flight", "Requests being worked on now", requests_in_flight.clone());
        r.register("connections", "Connections open now on the public listener", connections.clone());
        r.register("accept_errors", "Failures to accept a connection that were ours, such as no file descriptor left", accept_errors.clone());
        r.register("tls_handshake_failures", "TLS handshakes that failed, by reason", tls_handshake_failures.clone());
        r.register_with_unit("tls_certificate_expiry", "When a TLS certificate in use ends, in Unix time", Unit::Seconds, tls_certificate_expiry.clone());
        r.register("tls_reload_failures", "Looks at the TLS files that found what cannot be used", tls_reload_failures.clone());
        r.register("requests_shed", "Requests refused because too many were in flight", requests_shed.clone());
        r.register("requests_rate_limited", "Requests refused because their client sent too many", requests_rate_limited.clone());
        r.register("requests_timed_out", "Requests cut short because they took too long in total", requests_timed_out.clone());
        r.register("spoofed_headers_stripped", "Identity headers that clients sent and that were removed", spoofed_headers_stripped.clone());
        r.register_with_unit("upstream_connect", "Connecting to the application, name lookup and TLS included", Unit::Seconds, upstream_connect_seconds.clone());
        r.register_with_unit("upstream_first_byte", "From a rebuilt request to the head of the application's response, by class of status", Unit::Seconds, upstream_first_byte_seconds.clone());
        r.register_with_unit("upstream_total", "From a rebuilt request to the end of the application's response, by class of status", Unit::Seconds, upstream_total_seconds.clone());
        r.register("upstream_retries", "Requests sent again because the kept connection had ended before anything of them was sent", upstream_retries.clone());
        r.register("upgraded_streams", "Upgraded streams (WebSocket) open now", upgraded_streams.clone());
        r.register("verdicts", "Tokens looked at, by verdict-cache outcome", verdicts.clone());
        r.register_with_unit("judge", "Judging one token that the verdict cache did not hold", Unit::Seconds, judge_seconds.clone());
        r.register("jwks_fetches", "Attempts to fetch the key set, by result", jwks_fetches.clone());
        r.register("jwks_keys", "Keys in the current sets of all sources", jwks_keys.clone());
        r.register("jwks_keys_skipped", "Keys in fetched sets that cannot be used", jwks_keys_skipped.clone());
        r.register("jwks_refetches_suppressed", "Unknown key ids that caused no fetch because of the cooldown", jwks_refetches_suppressed.clone());
        r.register("jwks_file", "The key set on disk, by operation and result", jwks_file.clone());
        r.register("apple_drift", "1 where Apple publishes something else than what is pinned", apple_drift.clone());
        r.register("apple_drift_checks", "Looks for drift, by result", apple_drift_checks.clone());
        r.register("emails_left_out", "Email claims that cannot be a header field value", emails_left_out.clone());
        r.register_with_unit("jwks_age", "Since the last successful fetch of the key set, the oldest if there are several; -1 before the first", Unit::Seconds, jwks_age.clone());

        Self {
            requests, request_seconds, requests_in_flight, connections, accept_errors, tls_handshake_failures,
            tls_certificate_expiry, tls_reload_failures, requests_shed, requests_rate_limited, requests_timed_out,
            spoofed_headers_stripped, verdicts, upstream_connect_seconds, upstream_first_byte_seconds,
            upstream_total_seconds, upstream_retries, upgraded_streams, judge_seconds, jwks_fetches, jwks_keys,
            jwks_keys_skipped, jwks_refetches_suppressed, jwks_file, apple_drift, apple_drift_checks, emails_left_out,
            jwks_age, jwks_fetched_at: Arc::new(AtomicU64::new(0)), registry: Arc::new(r),
        }
    }

    /// Notes when the key set in use was fetched.
    pub fn jwks_fetched(&self, at: UnixTime) {
        self.jwks_fetched_at.store(at.as_secs(), Ordering::Relaxed);
    }

    /// All metrics in the `OpenMetrics` text format, as Prometheus scrapes them.
    ///
    /// # Errors
    ///
    /// Never in practice: writing into a `String` cannot fail.
    pub fn render(&self, now: UnixTime) -> Result<String, fmt::Error> {
        self.jwks_age.set(match self.jwks_fetched_at.load(Ordering::Relaxed) {
            0 => -1,
            at => i64::try_from(now.as_secs().saturating_sub(at)).unwrap_or(i64::MAX),
        });
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_the_keys_grows_with_the_clock() {
        let metrics = Metrics::new();
        assert!(
            metrics.render(UnixTime::from_secs(50)).unwrap().contains("siwa_jwks_age_seconds -1")
        );
        metrics.jwks_fetched(UnixTime::from_secs(100));
        assert!(
            metrics.render(UnixTime::from_secs(160)).unwrap().contains("siwa_jwks_age_seconds 60")
        );
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
