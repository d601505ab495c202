//! Every metric, declared once: what stands above it explains it to whoever reads the code, and to whoever scrapes it.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::exponential_buckets},
    registry::{Metric, Registry, Unit},
};

use super::{
    ByStatus, Timing, apart,
    labels::{
        AppleClientLabels, AppleRequestLabels, BrokenResponseLabels, CertificateLabels,
        DeliveryLabels, DriftCheckLabels, DriftLabels, EvictionLabels, FetchLabels,
        HandshakeFailureLabels, JwksFileLabels, KeyStateLabels, NotificationLabels, ReloadLabels,
        RequestLabels, SessionLabels, VerdictLabels,
    },
};

/// Each row is a field of [`Handles`] and how it is registered: `siwa_NAME`, with the comment for a help text.
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $vis:vis $field:ident: $kind:ty = $register:ident($name:literal $(, $buckets:expr)?);
    )+) => {
        /// The metrics themselves, as [`Metrics`](super::Metrics) hands them out.
        #[derive(Debug)]
        #[non_exhaustive]
        pub struct Handles {
            $($(#[doc = $help])+ $vis $field: $kind,)+
        }

        impl Handles {
            /// All at zero, and known to `registry`.
            pub(super) fn registered(registry: &mut Registry) -> Self {
                Self {
                    $($field: $register(registry, $name, &help(&[$($help),+]) $(, $buckets)?),)+
                }
            }
        }
    };
}

metrics! {
    /// Requests answered, by door, route, outcome and whose fault a rejection was.
    pub requests: Family<RequestLabels, apart::Counter> = add("requests");
    /// Seconds from a request's head to its response's head.
    pub request_seconds: Timing = timing("request_duration", (0.000_1, 14));
    /// Requests being worked on now.
    pub requests_in_flight: apart::Present = add("requests_in_flight");
    /// Connections open now on the public listener.
    pub connections: Gauge = add("connections");
    /// Failures to accept a connection that were ours, such as no file descriptor left.
    pub accept_errors: Counter = add("accept_errors");
    /// TLS handshakes that failed, by reason.
    pub tls_handshake_failures: Family<HandshakeFailureLabels, Counter> = add("tls_handshake_failures");
    /// When a TLS certificate in use ends, in Unix time; absent without TLS.
    pub tls_certificate_expiry: Family<CertificateLabels, Gauge> = seconds("tls_certificate_expiry_timestamp");
    /// Looks at the TLS files that found what cannot be used.
    pub tls_reload_failures: Counter = add("tls_reload_failures");
    /// Connections and HTTP/2 streams ended because their peer took nothing of its response for too long.
    pub send_timeouts: Counter = add("send_timeouts");
    /// Requests refused because too many were in flight.
    pub requests_shed: Counter = add("requests_shed");
    /// Requests refused because their client sent too many.
    pub requests_rate_limited: Counter = add("requests_rate_limited");
    /// Requests that took longer than the application may take in all.
    pub requests_timed_out: Counter = add("requests_timed_out");
    /// Identity headers that clients sent and that were removed.
    pub spoofed_headers_stripped: Counter = add("spoofed_headers_stripped");
    /// Seconds that connecting to the application took, name lookup and TLS included.
    pub upstream_connect_seconds: Timing = timing("upstream_connect_duration", (0.000_1, 14));
    /// Seconds from a rebuilt request to the head of the application's response, by class of status.
    pub upstream_first_byte_seconds: ByStatus = timing_by_status("upstream_first_byte_duration", UPSTREAM);
    /// Seconds from a rebuilt request to the end of the application's response, by class of status.
    pub upstream_total_seconds: ByStatus = timing_by_status("upstream_response_duration", UPSTREAM);
    /// Responses of the application that ended before they were whole, by what ended them.
    pub upstream_broken_responses: Family<BrokenResponseLabels, Counter> = add("upstream_broken_responses");
    /// Requests sent again because the kept connection had ended before anything of them was sent.
    pub upstream_retries: Counter = add("upstream_retries");
    /// Upgraded streams (WebSocket) open now.
    pub upgraded_streams: Gauge = add("upgraded_streams");
    /// Tokens looked at, by verdict-cache outcome.
    pub verdicts: Family<VerdictLabels, apart::Counter> = add("verdicts");
    /// Verdicts that are remembered now.
    pub verdict_cache_entries: Gauge = add("verdict_cache_entries");
    /// Verdicts that are no longer remembered, by cause.
    pub verdict_cache_evictions: Family<EvictionLabels, Counter> = add("verdict_cache_evictions");
    /// Seconds that judging a token took which the verdict cache did not hold, a wait for keys included.
    pub verify_seconds: Timing = timing("verify_duration", (0.000_01, 14));
    /// Tokens refused because no source of keys knows their key id.
    pub unknown_key_ids: Counter = add("unknown_key_ids");
    /// Attempts to fetch the key set, by result.
    pub jwks_fetches: Family<FetchLabels, Counter> = add("jwks_fetches");
    /// Keys in the current sets of all sources.
    pub jwks_keys: Gauge = add("jwks_keys");
    /// Keys in fetched sets that cannot be used.
    pub jwks_keys_skipped: Counter = add("jwks_keys_skipped");
    /// Unknown key ids that caused no fetch because of the cooldown.
    pub jwks_refetches_suppressed: Counter = add("jwks_refetches_suppressed");
    /// The key set on disk, by operation and result.
    pub jwks_file: Family<JwksFileLabels, Counter> = add("jwks_file");
    /// 1 where Apple publishes something else than what is pinned.
    pub apple_drift: Family<DriftLabels, Gauge> = add("apple_drift");
    /// Looks for drift, by result.
    pub apple_drift_checks: Family<DriftCheckLabels, Counter> = add("apple_drift_checks");
    /// Requests to Apple in an app's name, by what was asked and what came of it.
    pub apple_requests: Family<AppleRequestLabels, Counter> = add("apple_requests");
    /// Seconds that Apple took to answer a request in an app's name, whatever it answered.
    pub apple_request_seconds: Timing = timing("apple_request_duration", (0.001, 13));
    /// 1 while Apple does not know an app by the team key: its id, the key or our clock is wrong.
    pub apple_client_refused: Family<AppleClientLabels, Gauge> = add("apple_client_refused");
    /// 1 while the store fails to do what it is asked.
    pub store_failing: Gauge = add("store_failing");
    /// Questions to the store that it failed to answer.
    pub store_errors: Counter = add("store_errors");
    /// Records found in the store that are none of ours, counted at each reading.
    pub store_records_skipped: Counter = add("store_records_skipped");
    /// Subjects on the list of revocations, lifted ones included.
    pub revocations: Gauge = add("revocations");
    /// Seconds since it was last certain that the list is what the store holds; -1 before it was read.
    pub revocations_age: Gauge = seconds("revocations_age");
    /// What became of sessions, by event.
    pub sessions: Family<SessionLabels, Counter> = add("sessions");
    /// Sessions that were ended and whose tokens have not expired.
    pub ended_sessions: Gauge = add("ended_sessions");
    /// Notifications received, by event and by what became of them.
    pub notifications: Family<NotificationLabels, Counter> = add("notifications");
    /// Attempts to deliver an event to a webhook, by result.
    pub webhook_deliveries: Family<DeliveryLabels, Counter> = add("webhook_deliveries");
    /// Events that wait to be delivered.
    pub webhook_queue: Gauge = add("webhook_queue");
    /// Attempts to read the settings again, by result.
    pub config_reloads: Family<ReloadLabels, Counter> = add("config_reloads");
    /// 1 while the settings that were last read are in use, 0 while they are refused.
    pub config_last_reload_successful: Gauge = add("config_last_reload_successful");
    /// When settings were last taken up, the start included, in Unix time.
    pub config_last_reload_success: Gauge = seconds("config_last_reload_success_timestamp");
    /// Email claims that cannot be a header field value, and were left out.
    pub emails_left_out: Counter = add("emails_left_out");
    /// 1 for how good the keys are, the worst if there are several sources.
    pub(super) jwks_state: Family<KeyStateLabels, Gauge> = add("jwks_state");
    /// Seconds since the last successful fetch of the key set, the oldest if there are several; -1 before the first.
    pub(super) jwks_age: Gauge = seconds("jwks_age");
}

/// The first bound, in seconds, and the number of buckets; each reaches 2.5 times as far as the one before.
type Buckets = (f64, u16);

/// From a millisecond to a minute.
const UPSTREAM: fn() -> Timing = || times((0.001, 13));

fn times((first, buckets): Buckets) -> Timing {
    Timing::new(exponential_buckets(first, 2.5, buckets))
}

/// A comment as the sentence that it is, without its full stop, which the registry puts there.
fn help(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ").trim_end_matches('.').to_owned()
}

/// Registers a metric as `siwa_NAME`.
fn add<M: Metric + Clone + Default>(to: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    to.register(name, help, metric.clone());
    metric
}

/// Registers a metric in seconds as `siwa_NAME_seconds`.
fn seconds<M: Metric + Clone + Default>(to: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    to.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

/// Registers a histogram of seconds as `siwa_NAME_seconds`.
fn timing(to: &mut Registry, name: &str, help: &str, buckets: Buckets) -> Timing {
    let metric = times(buckets);
    to.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

/// Registers a histogram of seconds for each class of status as `siwa_NAME_seconds`.
fn timing_by_status(to: &mut Registry, name: &str, help: &str, times: fn() -> Timing) -> ByStatus {
    let family = Family::new_with_constructor(times);
    to.register_with_unit(name, help, Unit::Seconds, family.clone());
    ByStatus::of(family)
}
