//! The main door: authenticate → [`UpstreamRequest`] → stream back.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Method, Request, Response, header::CONTENT_LENGTH};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::Service;
use tracing::info;

use crate::{
    authn::{Authenticator, Policy, Rejection, RejectionBody},
    telemetry::{Metrics, RequestLabels},
    upstream::{BodyLimits, ForwardingRules, StreamedBody, Upstream, UpstreamRequest},
};

/// What the proxy answers with.
pub(crate) type ProxyBody = RejectionBody<StreamedBody>;

/// Lets requests with an identity through to the application.
#[derive(Clone, Debug)]
pub(crate) struct Proxy(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    authenticator: Authenticator,
    rules: ForwardingRules,
    limits: BodyLimits,
    upstream: Upstream,
    metrics: Metrics,
}

impl Proxy {
    pub(crate) fn new(
        authenticator: Authenticator,
        rules: ForwardingRules,
        limits: BodyLimits,
        upstream: Upstream,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Parts { authenticator, rules, limits, upstream, metrics }))
    }

    async fn answer(self, request: Request<Incoming>) -> Response<ProxyBody> {
        let parts = &*self.0;
        let started = Instant::now();
        let peer = peer_of(&request);
        let method = request.method().clone();
        // Of the request's headers, the answer to a refused one depends on its content type alone.
        let asked_by = content_type_of(request.headers());

        parts.metrics.requests_in_flight.inc();
        let outcome = parts.forward(request, peer).await;
        parts.metrics.requests_in_flight.dec();

        parts.note(&outcome, &method, peer, started);
        match outcome {
            Ok(response) => response.map(RejectionBody::inner),
            Err(rejection) => rejection
                .render(&asked_by, parts.authenticator.realm())
                .map(RejectionBody::rejected),
        }
    }
}

impl Parts {
    async fn forward(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<StreamedBody>, Rejection> {
        let identity = self.authenticator.require(request.headers(), &Policy::permissive()).await?;
        self.check_announced_length(request.headers())?;
        let headers = self.rules.identity_headers.clone();
        let request = request.map(|body| StreamedBody::of_request(body, self.limits, headers));
        let request = UpstreamRequest::on_behalf_of(request, &identity, peer, &self.rules)?;
        self.upstream.send(request).await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "upstream failed");
            error.into_rejection()
        })
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

    fn note(
        &self,
        outcome: &Result<Response<StreamedBody>, Rejection>,
        method: &Method,
        peer: SocketAddr,
        started: Instant,
    ) {
        let elapsed = started.elapsed();
        let (code, fault) = match outcome {
            Ok(_) => ("forwarded", "none"),
            Err(rejection) => (rejection.code(), rejection.fault().as_str()),
        };
        self.metrics
            .requests
            .get_or_create(&RequestLabels { door: "proxy", outcome: code, fault })
            .inc();
        self.metrics.request_seconds.observe(elapsed.as_secs_f64());

        // Whole microseconds: more digits are noise.
        let elapsed_ms = (elapsed.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let (status, reason) = match outcome {
            Ok(response) => (response.status(), None),
            Err(rejection) => (rejection.status(), Some(rejection.to_string())),
        };
        let (method, status, peer) = (method.as_str(), status.as_u16(), peer.ip());
        info!(target: "access", method, status, outcome = code, fault, reason, %peer, elapsed_ms, "request");
    }
}

/// The server puts it there; a request without is one of a test's making.
fn peer_of<B>(request: &Request<B>) -> SocketAddr {
    request.extensions().get().copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
}

fn content_type_of(headers: &HeaderMap) -> HeaderMap {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    content_type.map(|value| (http::header::CONTENT_TYPE, value.clone())).into_iter().collect()
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
