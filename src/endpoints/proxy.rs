//! The main door: route → authenticate → [`UpstreamRequest`] → stream back.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ORIGIN},
};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::Service;
use tracing::info;

use super::{
    cors::{Cors, keep_to_the_method},
    routes::{Access, Route, Routes},
};
use crate::{
    authn::{Authenticator, Rejection, RejectionBody},
    peers::Peers,
    telemetry::{Metrics, RequestLabels, RouteLabel},
    upstream::{
        Arrival, BodyLimits, CredentialForwarding, ForwardingRules, StreamedBody, UpgradeWish,
        Upstream, UpstreamRequest, X_REQUEST_ID, host_of,
    },
    verify::Identity,
};

/// What the proxy answers with.
pub(crate) type ProxyBody = RejectionBody<StreamedBody>;

/// An application, and how requests are rebuilt for it.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// Where it is.
    pub(crate) upstream: Upstream,
    /// How it is told.
    pub(crate) rules: Arc<ForwardingRules>,
}

/// Lets requests through to the application that may pass on their route.
#[derive(Clone, Debug)]
pub(crate) struct Proxy(Arc<ProxyParts>);

/// What a [`Proxy`] is made of.
#[derive(Debug)]
pub(crate) struct ProxyParts {
    /// Decides who sends a request.
    pub(crate) authenticator: Authenticator,
    /// Which requests must prove that, and where they go.
    pub(crate) routes: Routes<Destination>,
    /// Which pages may read our refusals.
    pub(crate) cors: Cors,
    /// Whose word about a request is believed.
    pub(crate) trusted_peers: Peers,
    /// How much of a body is taken.
    pub(crate) limits: BodyLimits,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

/// How a request may go on.
enum Admitted {
    /// Somebody is proved.
    As(Arc<Identity>),
    /// Nobody is, and nobody need be.
    Anonymously(CredentialForwarding),
    /// It asks what pages may do, and nothing more.
    AsPreflight,
}

/// What is told of a request when it is answered.
struct Told {
    method: Method,
    route: RouteLabel,
    arrival: Arrival,
    since: Instant,
}

impl Proxy {
    pub(crate) fn new(parts: ProxyParts) -> Self {
        Self(Arc::new(parts))
    }

    async fn answer(self, request: Request<Incoming>) -> Response<ProxyBody> {
        let parts = &*self.0;
        let since = Instant::now();
        let arrival = Arrival::new(request.extensions(), request.headers(), &parts.trusted_peers);
        let method = request.method().clone();
        // Of the request's headers, the answer to a refused one depends on these alone.
        let asked_by = asked_by(request.headers());

        parts.metrics.requests_in_flight.inc();
        let (route, outcome) = match parts.route_of(&request) {
            Ok(route) => {
                (RouteLabel::new(&route.name), parts.forward(request, route, &arrival).await)
            }
            Err(rejection) => (RouteLabel::none(), Err(rejection)),
        };
        parts.metrics.requests_in_flight.dec();

        let told = Told { method, route, arrival, since };
        parts.note(&outcome, &told);
        let mut response = match outcome {
            Ok(response) => response.map(RejectionBody::inner),
            Err(rejection) => parts.refuse(&rejection, &asked_by),
        };
        response.headers_mut().insert(X_REQUEST_ID, told.arrival.id().value());
        response
    }
}

impl ProxyParts {
    fn route_of<B>(&self, request: &Request<B>) -> Result<&Route<Destination>, Rejection> {
        let host = host_of(request.uri(), request.headers())?;
        let host = host.to_str().unwrap_or_default();
        self.routes.find(request.method(), host, request.uri().path())
    }

    async fn forward(
        &self,
        mut request: Request<Incoming>,
        route: &Route<Destination>,
        arrival: &Arrival,
    ) -> Result<Response<StreamedBody>, Rejection> {
        let admitted = self.admit(&request, route).await?;
        self.check_announced_length(request.headers())?;
        if matches!(admitted, Admitted::AsPreflight) {
            keep_to_the_method(request.headers_mut());
        }
        let wish = UpgradeWish::of(&mut request);
        let token_ends = self.end_of(&admitted);
        let Destination { upstream, rules } = &route.destination;
        let headers = rules.identity_headers.clone();
        let request = request.map(|body| StreamedBody::of_request(body, self.limits, headers));
        let request = match admitted {
            Admitted::As(identity) => {
                UpstreamRequest::on_behalf_of(request, &identity, arrival, rules)
            }
            Admitted::Anonymously(credential) => {
                UpstreamRequest::anonymous(request, arrival, rules, credential)
            }
            Admitted::AsPreflight => {
                UpstreamRequest::anonymous(request, arrival, rules, CredentialForwarding::Remove)
            }
        }?;
        let response = match wish {
            None => upstream.send(request).await,
            Some(wish) => upstream.send_with_wish(request, wish, token_ends).await,
        };
        response.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "upstream failed");
            error.into_rejection()
        })
    }

    async fn admit<B: Sync>(
        &self,
        request: &Request<B>,
        route: &Route<Destination>,
    ) -> Result<Admitted, Rejection> {
        let headers = request.headers();
        match route.access {
            // Its credential is none of our business: it may be for the application.
            Access::Public => Ok(Admitted::Anonymously(CredentialForwarding::Keep)),
            Access::Required | Access::Optional if self.cors.lets_through(request) => {
                Ok(Admitted::AsPreflight)
            }
            Access::Required => {
                self.authenticator.require(headers, &route.policy).await.map(Admitted::As)
            }
            Access::Optional => {
                let anonymously = || Admitted::Anonymously(route.destination.rules.credential);
                let identity = self.authenticator.identify(headers, &route.policy).await?;
                Ok(identity.map_or_else(anonymously, Admitted::As))
            }
        }
    }

    /// When the token ends that opened the door, if one did.
    fn end_of(&self, admitted: &Admitted) -> Option<Instant> {
        let Admitted::As(identity) = admitted else { return None };
        Instant::now().checked_add(self.authenticator.remaining(identity))
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

    fn refuse(&self, rejection: &Rejection, asked_by: &HeaderMap) -> Response<ProxyBody> {
        let mut response = rejection.render(asked_by, self.authenticator.realm());
        self.cors.open(response.headers_mut(), asked_by.get(ORIGIN));
        response.map(RejectionBody::rejected)
    }

    fn note(&self, outcome: &Result<Response<StreamedBody>, Rejection>, told: &Told) {
        let elapsed = told.since.elapsed();
        let (code, fault) = match outcome {
            Ok(_) => ("forwarded", "none"),
            Err(rejection) => (rejection.code(), rejection.fault().as_str()),
        };
        let route = told.route.clone();
        self.metrics
            .requests
            .get_or_create(&RequestLabels { door: "proxy", route, outcome: code, fault })
            .inc();
        self.metrics.request_seconds.observe(elapsed.as_secs_f64());

        let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
        let (status, reason) = match outcome {
            Ok(response) => (response.status(), None),
            Err(rejection) => (rejection.status(), Some(rejection.to_string())),
        };
        let (method, status, route) = (told.method.as_str(), status.as_u16(), told.route.as_str());
        let (request_id, peer) = (told.arrival.id().as_str(), told.arrival.peer());
        info!(target: "access", request_id, method, route, status, outcome = code, fault, reason, %peer, elapsed_ms, "request");
    }
}

fn asked_by(headers: &HeaderMap) -> HeaderMap {
    let kept = |name: http::HeaderName| -> Option<(_, HeaderValue)> {
        let value = headers.get(&name)?.clone();
        Some((name, value))
    };
    [CONTENT_TYPE, ORIGIN].into_iter().filter_map(kept).collect()
}

impl Service<Request<Incoming>> for Proxy {
    type Response = Response<ProxyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let proxy = self.clone();
        Box::pin(async move { Ok(proxy.answer(request).await) })
    }
}
