//! One request, from its head to the head of its answer: counted as in flight, and told of exactly once, whoever ends it.

use http::{Method, StatusCode};
use tokio::time::Instant;
use tracing::info;

use crate::{
    authn::Rejection,
    telemetry::{Metrics, RequestLabels, RouteLabel},
    upstream::Arrival,
};

/// A request that is being answered. If it is dropped before it ended, its client has hung up.
pub(super) struct Exchange {
    metrics: Metrics,
    door: &'static str,
    method: Method,
    route: RouteLabel,
    arrival: Arrival,
    since: Instant,
    is_told: bool,
}

/// What the log and the metrics are told of an end.
struct Ending {
    status: Option<StatusCode>,
    outcome: &'static str,
    fault: &'static str,
    reason: Option<String>,
}

impl Exchange {
    pub(super) fn begin(
        metrics: &Metrics,
        door: &'static str,
        method: Method,
        arrival: Arrival,
    ) -> Self {
        metrics.requests_in_flight.inc();
        let (metrics, since, route) = (metrics.clone(), Instant::now(), RouteLabel::none());
        Self { metrics, door, method, route, arrival, since, is_told: false }
    }

    pub(super) fn takes(&mut self, route: RouteLabel) {
        self.route = route;
    }

    pub(super) const fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// The application has answered.
    pub(super) fn forwarded(mut self, status: StatusCode) {
        self.tell(Ending {
            status: Some(status),
            outcome: "forwarded",
            fault: "none",
            reason: None,
        });
    }

    /// We have told whoever asked that it may pass, or what it asked for.
    pub(super) fn allowed(mut self, status: StatusCode) {
        self.tell(Ending { status: Some(status), outcome: "allowed", fault: "none", reason: None });
    }

    /// We have answered, with `status` on the wire.
    pub(super) fn refused(mut self, rejection: &Rejection, status: StatusCode) {
        self.tell(Ending {
            status: Some(status),
            outcome: rejection.code(),
            fault: rejection.fault().as_str(),
            reason: Some(rejection.to_string()),
        });
    }

    /// We have answered, and it came to `outcome`.
    pub(super) fn answered(mut self, status: StatusCode, outcome: &'static str) {
        self.tell(Ending { status: Some(status), outcome, fault: "none", reason: None });
    }

    fn tell(&mut self, ending: Ending) {
        self.is_told = true;
        let Ending { status, outcome, fault, reason } = ending;
        let elapsed = self.since.elapsed();
        let labels = RequestLabels { door: self.door, route: self.route.clone(), outcome, fault };
        self.metrics.requests.get_or_create(&labels).inc();
        self.metrics.request_seconds.observe(elapsed.as_secs_f64());

        // Whole microseconds: more digits are noise.
        let elapsed_ms = (elapsed.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let status = status.map(|status| status.as_u16());
        let (method, route) = (known(&self.method), self.route.as_str());
        let (request_id, peer) = (self.arrival.id().as_str(), self.arrival.peer());
        info!(target: "access", request_id, method, route, status, outcome, fault, reason, %peer, elapsed_ms, "request");
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.metrics.requests_in_flight.dec();
        if !self.is_told {
            self.tell(Ending {
                status: None,
                outcome: "client_gone",
                fault: "caller",
                reason: None,
            });
        }
    }
}

/// A method is any token that the client likes, of any length; the log has a word for those that nobody registered.
fn known(method: &Method) -> &str {
    const REGISTERED: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    if REGISTERED.contains(method) { method.as_str() } else { "other" }
}

#[cfg(test)]
mod tests {
    use http::{Extensions, HeaderMap};

    use super::*;
    use crate::peers::Peers;

    fn begin(metrics: &Metrics) -> Exchange {
        let arrival = Arrival::new(&Extensions::new(), &HeaderMap::new(), &Peers::default());
        Exchange::begin(metrics, "proxy", Method::GET, arrival)
    }

    fn counted(metrics: &Metrics, outcome: &'static str, fault: &'static str) -> u64 {
        let labels = RequestLabels { door: "proxy", route: RouteLabel::none(), outcome, fault };
        metrics.requests.get_or_create(&labels).get()
    }

    #[test]
    fn a_request_whose_client_hangs_up_is_counted_and_no_longer_in_flight() {
        let metrics = Metrics::new();
        drop(begin(&metrics));
        assert_eq!(metrics.requests_in_flight.get(), 0);
        assert_eq!(counted(&metrics, "client_gone", "caller"), 1);
    }

    #[test]
    fn a_request_that_is_answered_is_counted_once() {
        let metrics = Metrics::new();
        begin(&metrics).forwarded(StatusCode::OK);
        begin(&metrics).refused(&Rejection::NoCredential, StatusCode::UNAUTHORIZED);
        assert_eq!(metrics.requests_in_flight.get(), 0);
        assert_eq!(counted(&metrics, "forwarded", "none"), 1);
        assert_eq!(counted(&metrics, "no_credential", "caller"), 1);
        assert_eq!(counted(&metrics, "client_gone", "caller"), 0);
    }

    #[test]
    fn a_made_up_method_does_not_fill_the_log() {
        let long = "X".repeat(60_000);
        assert_eq!(known(&Method::from_bytes(long.as_bytes()).unwrap()), "other");
        assert_eq!(known(&Method::PATCH), "PATCH");
    }
}
