//! The main door: decide → [`UpstreamRequest`] → stream back.

use std::{
    pin::{Pin, pin},
    sync::{Arc, Once},
};

use http::{
    HeaderMap, HeaderValue, Request, Response, Version,
    header::{CONNECTION, CONTENT_LENGTH, ORIGIN},
};
use hyper::body::Incoming;
use tracing::{Instrument, debug, warn};

use super::{
    Answering,
    cors::keep_to_the_method,
    exchange::Exchange,
    gate::{Admitted, Gate, Passage},
    original::OriginalRequest,
};
use crate::{
    authn::{Dialect, Rejection, RejectionBody},
    peers::Peers,
    telemetry::{Metrics, Outcome, RouteLabel, causes, traces::spans},
    upstream::{
        BodyLimits, CredentialForwarding, ForwardingRules, StreamedBody, UpgradeWish, Upstream,
        UpstreamError, UpstreamRequest, WellFormed, remove_set_in_our_name,
    },
    verify::Fault,
};

/// What the proxy answers with.
pub(crate) type ProxyBody = RejectionBody<StreamedBody>;

/// An application, and how requests are rebuilt for it.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// Where it is; none where another gateway forwards.
    pub(crate) upstream: Option<Upstream>,
    /// How it is told.
    pub(crate) rules: Arc<ForwardingRules>,
    /// What the log and the metrics call the route that leads there.
    pub(crate) label: RouteLabel,
}

/// Lets requests through to the application that may pass on their route.
#[derive(Clone, Debug)]
pub(crate) struct Proxy(Arc<ProxyParts>);

/// What a [`Proxy`] is made of.
#[derive(Debug)]
pub(crate) struct ProxyParts {
    /// Decides who may pass, and to where.
    pub(crate) gate: Arc<Gate>,
    /// Whose word about a request is believed.
    pub(crate) trusted_peers: Peers,
    /// How much of a body is taken.
    pub(crate) limits: BodyLimits,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// That the application sets cookies in our name is told once: it may do so with every answer.
    pub(crate) told_of_cookies: Once,
}

impl Proxy {
    pub(crate) fn new(parts: ProxyParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The answer to `request`, which is refused before it is looked at. On the way out it is a refusal like all others.
    pub(crate) fn refuse<B>(
        &self,
        request: &Request<B>,
        rejection: &Rejection,
    ) -> Response<ProxyBody> {
        self.0.refuse(rejection, &Asker::of(request), self.0.begin(request))
    }

    /// The answer to `request`.
    pub(super) fn answer(&self, request: Request<Incoming>) -> Answering {
        let proxy = self.clone();
        // A future has room for what it is given at each depth: for this a pointer will do.
        let request = Box::new(request);
        in_its_place(|| async move { Ok(proxy.answered(request).await) })
    }

    async fn answered(self, request: Box<Request<Incoming>>) -> Response<ProxyBody> {
        let parts = &*self.0;
        let asker = Asker::of(&request);
        let mut exchange = parts.begin(&request);
        let span = exchange.span();
        // In its place, as it is large: what is handed on is a pointer to it.
        let forwarded = pin!(parts.forward(request, &mut exchange)).instrument(span).await;
        match forwarded {
            Ok(response) => {
                exchange.finish(response.map(RejectionBody::inner), Ok(Outcome::Forwarded))
            }
            Err(rejection) => parts.refuse(&rejection, &asker, exchange),
        }
    }
}

/// What `make` makes, in a box: made where it stays. `Box::pin` would have it made on the stack and copied, with all the room
/// that it has for what is to come.
fn in_its_place<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::into_pin(Box::write(Box::new_uninit(), make()))
}

/// What the answer to a refused request depends on.
struct Asker {
    version: Version,
    dialect: Dialect,
    origin: Option<HeaderValue>,
}

impl Asker {
    fn of<B>(request: &Request<B>) -> Self {
        Self {
            version: request.version(),
            dialect: Dialect::of(request.method(), request.version(), request.headers()),
            origin: request.headers().get(ORIGIN).cloned(),
        }
    }
}

impl ProxyParts {
    fn begin<B>(&self, request: &Request<B>) -> Exchange {
        Exchange::of(request, "proxy", &self.trusted_peers, &self.metrics)
    }

    async fn forward(
        &self,
        mut request: Box<Request<Incoming>>,
        exchange: &mut Exchange,
    ) -> Result<Response<StreamedBody>, Rejection> {
        let checked = WellFormed::check(&request)?;
        let passage = {
            let original = OriginalRequest::at_hand(&request, checked.host());
            self.gate.decide(&original, request.headers(), exchange).await?
        };
        let Passage { admitted, destination: Destination { upstream, rules, .. } } = passage;
        let upstream = upstream.as_ref().ok_or(Rejection::NotFound)?;
        self.check_announced_length(request.headers())?;
        if matches!(admitted, Admitted::AsPreflight) {
            keep_to_the_method(request.headers_mut());
        }
        let wish = UpgradeWish::of(&mut request);
        let standing = self.gate.standing_of(&admitted);
        let token_ends = wish.as_ref().and_then(|_| self.gate.end_of(&admitted));
        let (head, body) = request.into_parts();
        let body = StreamedBody::of_request(body, self.limits, rules);
        let body = body.map_err(|fault| fault.rejection())?;
        let mut request = Box::new(Request::from_parts(head, body));
        request.body_mut().settle().await.map_err(|fault| fault.rejection())?;
        let span = exchange.goes_on();
        let arrival = exchange.arrival();
        let request = match admitted {
            Admitted::As(identity) => {
                UpstreamRequest::on_behalf_of(request, checked, &identity, arrival, rules)
            }
            Admitted::Anonymously(credential) => {
                UpstreamRequest::anonymous(request, checked, arrival, rules, credential)
            }
            Admitted::AsPreflight => {
                let credential = CredentialForwarding::Remove;
                UpstreamRequest::anonymous(request, checked, arrival, rules, credential)
            }
        }?;
        let response = match wish {
            None => pin!(upstream.send(request)).instrument(span.clone()).await,
            // Rare, and as large as everything else together.
            Some(wish) => {
                let standing = standing.clone();
                let joined = Box::pin(upstream.send_with_wish(request, wish, token_ends, standing));
                joined.instrument(span.clone()).await
            }
        };
        let mut response = response.map_err(|error| blame(error, exchange, upstream))?;
        self.keep_our_cookies(response.headers_mut());
        spans::answered(&span, response.status().as_u16());
        exchange.note_response(&response);
        Ok(response.map(|body| body.only_while(standing)))
    }

    fn keep_our_cookies(&self, answered: &mut HeaderMap) {
        if remove_set_in_our_name(answered) {
            self.told_of_cookies.call_once(|| {
                warn!("the application sets cookies with names of ours, which are taken out");
            });
        }
    }

    fn check_announced_length(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match (announced, self.limits.max_bytes) {
            (Some(length), Some(limit)) if length > limit => Err(Rejection::BodyTooLarge { limit }),
            _ => Ok(()),
        }
    }

    fn refuse(
        &self,
        rejection: &Rejection,
        asker: &Asker,
        mut exchange: Exchange,
    ) -> Response<ProxyBody> {
        let render = || rejection.render(asker.dialect, self.gate.realm());
        let mut response = exchange.for_browser().or(render);
        self.gate.allow_origin(response.headers_mut(), asker.origin.as_ref());
        if asker.version < Version::HTTP_2 && is_no_request(rejection) {
            // What follows such bytes may not be what it seems to be (RFC 9112 §11.2).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        exchange.finish(response, Err(rejection)).map(RejectionBody::rejected)
    }
}

/// Whether programs may differ about what was refused, and about where it ended.
const fn is_no_request(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::BadRequest(_) | Rejection::Unsupported(_))
}

/// The answer to the caller; what it does not tell is told in the log, aloud only if it is the application's fault.
fn blame(error: UpstreamError, exchange: &Exchange, upstream: &Upstream) -> Rejection {
    let cause = causes(&error);
    let rejection = error.into_rejection();
    let (request_id, upstream) = (exchange.arrival().id().as_str(), upstream.origin());
    match rejection.fault() {
        Fault::Upstream => {
            warn!(request_id, upstream, cause, "the exchange with the application failed");
        }
        Fault::Caller | Fault::Apple | Fault::Us => {
            debug!(request_id, upstream, cause, "the exchange was broken off");
        }
    }
    rejection
}
