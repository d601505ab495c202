//! One request, from its head to the head of its answer: counted as in flight, and told of exactly once, whoever ends it.

use std::{sync::Arc, time::Duration};

use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::CACHE_CONTROL, request::Parts,
};
use tokio::time::Instant;
use tracing::{Instrument, Level, Span, enabled, info, instrument::Instrumented};

use super::browser::ForBrowser;
use crate::{
    authn::{Authenticator, Rejection},
    peers::Peers,
    telemetry::{
        ACCESS, Metrics, Outcome, RequestLabels, RouteLabel,
        traces::spans::{self, Beginning},
    },
    upstream::{Arrival, Connected, Shown, StreamedBody, X_REQUEST_ID},
    verify::{ClientId, Fault, Identity, KeyId},
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

/// What an exchange begins with: the head of a request, whoever holds it.
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) extensions: &'a Extensions,
    pub(super) headers: &'a HeaderMap,
}

impl<'a, B> From<&'a Request<B>> for Head<'a> {
    fn from(request: &'a Request<B>) -> Self {
        let (method, extensions) = (request.method(), request.extensions());
        Self { method, extensions, headers: request.headers() }
    }
}

impl<'a> From<&'a Parts> for Head<'a> {
    fn from(Parts { method, extensions, headers, .. }: &'a Parts) -> Self {
        Self { method, extensions, headers }
    }
}

/// What the log and the metrics are told of an end.
struct Ending<'a> {
    status: Option<StatusCode>,
    outcome: Outcome,
    reason: Option<&'a Rejection>,
}

impl<'a> Ending<'a> {
    const HANG_UP: Self = Self { status: None, outcome: Outcome::ClientGone, reason: None };

    fn of(status: StatusCode, came_to: Result<Outcome, &'a Rejection>) -> Self {
        let refused = |rejection: &Rejection| Outcome::Refused(rejection.code());
        let (reason, outcome) = (came_to.err(), came_to.unwrap_or_else(refused));
        Self { status: Some(status), outcome, reason }
    }

    /// Whose fault it was that it came to nothing.
    fn fault(&self) -> &'static str {
        match (self.reason, self.outcome) {
            (Some(rejection), _) => rejection.fault().as_str(),
            (None, Outcome::ClientGone) => Fault::Caller.as_str(),
            (None, _) => "none",
        }
    }
}

impl Exchange {
    /// Begins for a request with this `head` that came to `door`, and of whose sender `trusted_peers` may tell.
    pub(super) fn of<'a>(
        head: impl Into<Head<'a>>,
        door: &'static str,
        trusted_peers: &Peers,
        metrics: &Metrics,
    ) -> Self {
        let Head { method, extensions, headers } = head.into();
        let arrival = Arrival::new(extensions, headers, trusted_peers);
        Self::begin(metrics, door, method.clone(), arrival)
    }

    fn begin(metrics: &Metrics, door: &'static str, method: Method, mut arrival: Arrival) -> Self {
        metrics.requests_in_flight.inc();
        let (metrics, since) = (metrics.clone(), Instant::now());
        let (outcome, fault) = (Ending::HANG_UP.outcome, Ending::HANG_UP.fault());
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

    /// It is for this `route`.
    pub(super) fn note_route(&mut self, route: RouteLabel) {
        self.labels.route = route;
    }

    /// Does the `work` that the request asks for: what goes on meanwhile is told in traces as a part of it.
    pub(super) fn run<'a, F: Future>(
        &'a mut self,
        work: impl FnOnce(&'a mut Self) -> F,
    ) -> Instrumented<F> {
        let span = self.span();
        work(self).instrument(span)
    }

    /// What goes on while this runs is a part of it. For the main door, whose work is so large that it stays in its place;
    /// all others [`run`](Self::run) theirs.
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
    pub(super) fn note_identity(&mut self, identity: &Arc<Identity>) {
        self.seen.identity = Some(Arc::clone(identity));
    }

    /// It proves nobody; what its `headers` claim may help to see why.
    pub(super) fn note_unproved(&mut self, headers: &HeaderMap) {
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
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        let now = Instant::now();
        self.apple_deadline = Some(now + deadline.saturating_duration_since(now) / 2);
    }

    /// Until when Apple is waited for, if it is asked about somebody's session; until it answers, if there is none.
    pub(super) const fn apple_deadline(&self) -> Option<Instant> {
        self.apple_deadline
    }

    /// The application answers with the head of `response`.
    pub(super) fn note_response(&mut self, response: &Response<StreamedBody>) {
        let connect = response.extensions().get().map(|Connected(time)| *time);
        let first_byte = response.body().first_byte();
        self.seen.upstream = Some(UpstreamSeen { status: response.status(), connect, first_byte });
    }

    pub(super) const fn arrival(&self) -> &Arrival {
        &self.arrival
    }

    /// Ends it with the head of `response`, the only way to answer: under the name of the request, and with what browsers are
    /// told. What is ours is for whoever asked alone unless it says something else. The log and the metrics are told its
    /// status, and what the request `came_to`.
    pub(super) fn finish<B>(
        mut self,
        mut response: Response<B>,
        came_to: Result<Outcome, &Rejection>,
    ) -> Response<B> {
        let headers = response.headers_mut();
        self.for_browser.tell(headers);
        if !matches!(came_to, Ok(Outcome::Forwarded)) {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        headers.insert(X_REQUEST_ID, self.arrival.id().value());
        self.tell(&Ending::of(response.status(), came_to));
        response
    }

    fn tell(&mut self, ending: &Ending<'_>) {
        self.is_told = true;
        let (outcome, fault, elapsed) = (ending.outcome, ending.fault(), self.since.elapsed());
        (self.labels.outcome, self.labels.fault) = (outcome, fault);
        self.metrics.request_ended(&self.labels);
        self.metrics.request_seconds.observe(elapsed);
        let status = ending.status.map(|status| status.as_u16());
        spans::end(&self.span, self.labels.route.as_str(), status, (outcome.as_str(), fault));
        self.log(ending, elapsed);
    }

    /// The one line about this request. No path and no header is in it: they may hold anything.
    fn log(&self, ending: &Ending<'_>, elapsed: Duration) {
        let Ending { status, outcome, reason } = *ending;
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
            outcome = outcome.as_str(),
            fault = ending.fault(),
            token_fault = reason.and_then(Rejection::token_fault),
            reason = reason.map(display),
            hint,
            kid = identity.map(|identity| identity.key_id().as_str()),
            unverified_kid = unverified_kid.as_ref().map(KeyId::as_str),
            audience = identity.map(|identity| identity.client_id()).map(ClientId::as_str),
            client = %Shown(self.arrival.client()),
            peer = %Shown(self.arrival.peer()),
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
            self.tell(&Ending::HANG_UP);
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
    use super::*;
    use crate::peers::Peers;

    fn begin(metrics: &Metrics) -> Exchange {
        let arrival = Arrival::new(&Extensions::new(), &HeaderMap::new(), &Peers::default());
        Exchange::begin(metrics, "proxy", Method::GET, arrival)
    }

    fn counted(metrics: &Metrics, outcome: Outcome, fault: &'static str) -> u64 {
        let labels = RequestLabels { door: "proxy", route: RouteLabel::none(), outcome, fault };
        metrics.requests.get_or_create(&labels).get()
    }

    #[test]
    fn a_request_whose_client_hangs_up_is_counted_and_no_longer_in_flight() {
        let metrics = Metrics::new();
        drop(begin(&metrics));
        assert_eq!(metrics.requests_in_flight.get(), 0);
        assert_eq!(counted(&metrics, Outcome::ClientGone, "caller"), 1);
    }

    #[test]
    fn a_request_that_is_answered_is_counted_once() {
        let metrics = Metrics::new();
        let answer = || Response::new(());
        begin(&metrics).finish(answer(), Ok(Outcome::Forwarded));
        begin(&metrics).finish(answer(), Err(&Rejection::NoCredential));
        assert_eq!(metrics.requests_in_flight.get(), 0);
        assert_eq!(counted(&metrics, Outcome::Forwarded, "none"), 1);
        assert_eq!(counted(&metrics, Outcome::Refused("no_credential"), "caller"), 1);
        assert_eq!(counted(&metrics, Outcome::ClientGone, "caller"), 0);
    }

    #[test]
    fn every_answer_has_the_name_of_its_request_and_ours_are_kept_by_nobody() {
        let metrics = Metrics::new();
        for (came_to, kept_by_nobody) in [
            (Ok(Outcome::Forwarded), false),
            (Ok(Outcome::Stored), true),
            (Err(&Rejection::Shed), true),
        ] {
            let exchange = begin(&metrics);
            let id = exchange.arrival().id().value();
            let answer = exchange.finish(Response::new(()), came_to);
            assert_eq!(answer.headers()[X_REQUEST_ID], id);
            let says = answer.headers().get(CACHE_CONTROL);
            assert_eq!(says.is_some_and(|says| says == "no-store"), kept_by_nobody, "{came_to:?}");
        }
        let mut page = Response::new(());
        page.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        let answer = begin(&metrics).finish(page, Ok(Outcome::Page));
        assert_eq!(answer.headers()[CACHE_CONTROL], "max-age=300", "it says something else");
    }

    #[test]
    fn a_made_up_method_does_not_fill_the_log() {
        let long = "X".repeat(60_000);
        assert_eq!(known(&Method::from_bytes(long.as_bytes()).unwrap()), "other");
        assert_eq!(known(&Method::PATCH), "PATCH");
    }
}
