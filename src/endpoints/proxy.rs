//! The main door: route → authenticate → [`UpstreamRequest`] → stream back.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONTENT_LENGTH, ORIGIN},
};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::Service;
use tracing::{debug, warn};

use super::{
    cors::{Cors, keep_to_the_method},
    exchange::Exchange,
    routes::{Access, Route, Routes},
};
use crate::{
    authn::{Authenticator, Dialect, Rejection, RejectionBody, Standing},
    peers::Peers,
    telemetry::{Metrics, RouteLabel, causes},
    upstream::{
        Arrival, BodyLimits, CredentialForwarding, ForwardingRules, StreamedBody, UpgradeWish,
        Upstream, UpstreamError, UpstreamRequest, X_REQUEST_ID, host_of,
    },
    verify::{Fault, Identity},
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

impl Proxy {
    pub(crate) fn new(parts: ProxyParts) -> Self {
        Self(Arc::new(parts))
    }

    async fn answer(self, request: Request<Incoming>) -> Response<ProxyBody> {
        let parts = &*self.0;
        let arrival = Arrival::new(request.extensions(), request.headers(), &parts.trusted_peers);
        let id = arrival.id().value();
        // Of the request, the answer to a refused one depends on these alone.
        let dialect = Dialect::of(request.method(), request.version(), request.headers());
        let origin = request.headers().get(ORIGIN).cloned();

        let mut exchange =
            Exchange::begin(&parts.metrics, "proxy", request.method().clone(), arrival);
        let mut response = match parts.forward(request, &mut exchange).await {
            Ok(response) => {
                exchange.forwarded(response.status());
                response.map(RejectionBody::inner)
            }
            Err(rejection) => {
                let response = parts.refuse(&rejection, dialect, origin.as_ref());
                exchange.refused(&rejection, response.status());
                response
            }
        };
        response.headers_mut().insert(X_REQUEST_ID, id);
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
        exchange: &mut Exchange,
    ) -> Result<Response<StreamedBody>, Rejection> {
        let route = self.route_of(&request)?;
        exchange.takes(RouteLabel::new(&route.name));
        let arrival = exchange.arrival();
        let admitted = self.admit(&request, route).await?;
        self.check_announced_length(request.headers())?;
        if matches!(admitted, Admitted::AsPreflight) {
            keep_to_the_method(request.headers_mut());
        }
        let wish = UpgradeWish::of(&mut request);
        let (token_ends, standing) = (self.end_of(&admitted), self.standing_of(&admitted));
        let Destination { upstream, rules } = &route.destination;
        let request = request.map(|body| StreamedBody::of_request(body, self.limits, rules));
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
            // Rare, and as large as everything else together.
            Some(wish) => {
                let standing = standing.clone();
                Box::pin(upstream.send_with_wish(request, wish, token_ends, standing)).await
            }
        };
        let response = response.map_err(blame)?;
        Ok(response.map(|body| body.only_while(standing)))
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

    /// For how long whoever was let in may stay, if that can end before the token does.
    fn standing_of(&self, admitted: &Admitted) -> Option<Standing> {
        let Admitted::As(identity) = admitted else { return None };
        self.authenticator.standing(identity)
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
        dialect: Dialect,
        origin: Option<&HeaderValue>,
    ) -> Response<ProxyBody> {
        let mut response = rejection.render(dialect, self.authenticator.realm());
        self.cors.open(response.headers_mut(), origin);
        response.map(RejectionBody::rejected)
    }
}

/// The answer to the caller; what it does not tell is told in the log, aloud only if it is the application's fault.
fn blame(error: UpstreamError) -> Rejection {
    let cause = causes(&error);
    let rejection = error.into_rejection();
    match rejection.fault() {
        Fault::Upstream => warn!(cause, "the exchange with the application failed"),
        Fault::Caller | Fault::Apple | Fault::Us => debug!(cause, "the exchange was broken off"),
    }
    rejection
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
