//! One request, from its head to the head of its answer: counted as in flight, and told of exactly once, whoever ends it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, Response, StatusCode, request::Parts as Head};
use tokio::time::Instant;
use tracing::{Level, Span, enabled, info};

use super::browser::ForBrowser;
use crate::{
    authn::{Authenticator, Rejection},
    peers::Peers,
    telemetry::{
        ACCESS, Metrics, RequestLabels, RouteLabel,
        traces::spans::{self, Beginning},
    },
    upstream::{Arrival, Connected, StreamedBody},
    verify::{ClientId, Identity, KeyId},
};

/// A request that is being answered. If it is dropped before it ended, its client has hung up.
pub(super) struct Exchange {
    metrics: Metrics,
    /// What it is counted under: as one whose client has hung up, until it has ended otherwise.
    labels: RequestLabels,
    method: Method,
    arrival: Arrival,
    since: Instant,
    seen: Seen,
    for_browser: ForBrowser,
    apple_deadline: Option<Instant>,
    span: Span,
    is_told: bool,
}

/// What is seen of a request on its way, for the log alone.
#[derive(Default)]
struct Seen {
    identity: Option<Arc<Identity>>,
    /// The key that a token names which proved nobody.
    unverified_kid: Option<KeyId>,
    /// Why a credential that was sent was taken for none.
    hint: Option<&'static str>,
    upstream: Option<UpstreamSeen>,
}

/// What is seen of the application's answer.
struct UpstreamSeen {
    status: StatusCode,
    /// None on a connection that was there.
    connect: Option<Duration>,
    first_byte: Option<Duration>,
}

/// What the log and the metrics are told of an end.
struct Ending<'a> {
    status: Option<StatusCode>,
    outcome: &'static str,
    fault: &'static str,
    token_fault: Option<&'static str>,
    reason: Option<&'a Rejection>,
}

impl Ending<'_> {
    /// The end of a request that was not refused.
    const fn well(status: StatusCode, outcome: &'static str) -> Self {
        Self { status: Some(status), outcome, fault: "none", token_fault: None, reason: None }
    }

    const fn hang_up() -> Self {
        let (outcome, fault) = ("client_gone", "caller");
        Self { status: None, outcome, fault, token_fault: None, reason: None }
    }
}

impl Exchange {
    /// Begins for a request with this `head`, of whose sender `trusted_peers` may tell.
    pub(super) fn of(
        head: &Head,
        door: &'static str,
        trusted_peers: &Peers,
        metrics: &Metrics,
    ) -> Self {
        let arrival = Arrival::new(&head.extensions, &head.headers, trusted_peers);
        Self::begin(metrics, door, head.method.clone(), arrival)
    }

    pub(super) fn begin(
        metrics: &Metrics,
        door: &'static str,
        method: Method,
        mut arrival: Arrival,
    ) -> Self {
        metrics.requests_in_flight.inc();
        let (metrics, since) = (metrics.clone(), Instant::now());
        let Ending { outcome, fault, .. } = Ending::hang_up();
        let labels = RequestLabels { door, route: RouteLabel::none(), outcome, fault };
        let span = spans::request(&Beginning {
            door,
            method: known(&method),
            request_id: arrival.id().as_str(),
            client: arrival.client(),
            parent: arrival.trace(),
        });
        arrival.enter(&span);
        let (seen, for_browser) = (Seen::default(), ForBrowser::default());
        Self {
            metrics,
            labels,
            method,
            arrival,
            since,
            seen,
            for_browser,
            apple_deadline: None,
            span,
            is_told: false,
        }
    }

    pub(super) fn takes(&mut self, route: RouteLabel) {
        self.labels.route = route;
    }

    /// What goes on while this runs is a part of it.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// It goes on to the application, which will see itself as a child of this span.
    pub(super) fn goes_on(&mut self) -> Span {
        let span = spans::upstream();
        self.arrival.enter(&span);
        span
    }

    /// It comes from somebody who is proved.
    pub(super) fn proves(&mut self, identity: &Arc<Identity>) {
        self.seen.identity = Some(Arc::clone(identity));
    }

    /// It proves nobody; what its `headers` claim may help to see why.
    pub(super) fn proves_nobody(&mut self, headers: &HeaderMap) {
        if enabled!(target: ACCESS, Level::INFO) {
            self.seen.unverified_kid = Authenticator::unverified_key_id(headers);
            self.seen.hint = Authenticator::oddity_of(headers);
        }
    }

    /// What a browser gets besides the answer, or in its place.
    pub(super) const fn for_browser(&mut self) -> &mut ForBrowser {
        &mut self.for_browser
    }

    /// Whoever asked waits until `deadline`: no longer than half of that is Apple waited for.
    pub(super) fn hurries(&mut self, deadline: Instant) {
        let now = Instant::now();
        self.apple_deadline = Some(now + deadline.saturating_duration_since(now) / 2);
    }

    /// Until when Apple is waited for, if it is asked about somebody's session; until it answers, if there is none.
    pub(super) const fn apple_deadline(&self) -> Option<Instant> {
        self.apple_deadline
    }

    /// The application answers with the head of `response`.
    pub(super) fn is_answered_by(&mut self, response: &Response<StreamedBody>) {
        let connect = response.extensions().get().map(|Connected(time)| *time);
        let first_byte = response.body().first_byte();
        self.seen.upstream = Some(UpstreamSeen { status: response.status(), connect, first_byte });
    }

    pub(super) const fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// The application has answered.
    pub(super) fn forwarded(mut self, status: StatusCode) {
        self.tell(&Ending::well(status, "forwarded"));
    }

    /// We have told whoever asked that it may pass, or what it asked for.
    pub(super) fn allowed(mut self, status: StatusCode) {
        self.tell(&Ending::well(status, "allowed"));
    }

    /// We have answered, with `status` on the wire.
    pub(super) fn refused(mut self, rejection: &Rejection, status: StatusCode) {
        self.tell(&Ending {
            status: Some(status),
            outcome: rejection.code(),
            fault: rejection.fault().as_str(),
            token_fault: rejection.token_fault(),
            reason: Some(rejection),
        });
    }

    /// We have answered, and it came to `outcome`.
    pub(super) fn answered(mut self, status: StatusCode, outcome: &'static str) {
        self.tell(&Ending::well(status, outcome));
    }

    fn tell(&mut self, ending: &Ending<'_>) {
        self.is_told = true;
        let Ending { outcome, fault, .. } = *ending;
        let elapsed = self.since.elapsed();
        (self.labels.outcome, self.labels.fault) = (outcome, fault);
        self.metrics.request_ended(&self.labels);
        self.metrics.request_seconds.observe(elapsed);
        let status = ending.status.map(|status| status.as_u16());
        spans::end(&self.span, self.labels.route.as_str(), status, (outcome, fault));
        self.log(ending, elapsed);
    }

    /// The one line about this request. No path and no header is in it: they may hold anything.
    fn log(&self, ending: &Ending<'_>, elapsed: Duration) {
        let Ending { status, outcome, fault, token_fault, reason } = *ending;
        let Seen { identity, unverified_kid, hint, upstream } = &self.seen;
        let identity = identity.as_ref();
        info!(
            target: ACCESS,
            request_id = self.arrival.id().as_str(),
            trace_id = self.arrival.trace().map(|trace| trace.trace_id()),
            door = self.labels.door,
            method = known(&self.method),
            route = self.labels.route.as_str(),
            status = status.map(|status| status.as_u16()),
            outcome,
            fault,
            token_fault,
            reason = reason.map(display),
            hint,
            kid = identity.map(|identity| identity.key_id().as_str()),
            unverified_kid = unverified_kid.as_ref().map(KeyId::as_str),
            audience = identity.map(|identity| identity.client_id()).map(ClientId::as_str),
            client = %self.arrival.client(),
            peer = %self.arrival.peer(),
            upstream_status = upstream.as_ref().map(|it| it.status.as_u16()),
            upstream_connect_ms = upstream.as_ref().and_then(|it| it.connect).map(milliseconds),
            upstream_first_byte_ms = upstream.as_ref().and_then(|it| it.first_byte).map(milliseconds),
            elapsed_ms = milliseconds(elapsed),
            "request"
        );
    }
}

/// In whole microseconds: more digits are noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.metrics.requests_in_flight.dec();
        if !self.is_told {
            self.tell(&Ending::hang_up());
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
