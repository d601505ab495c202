//! The HTTP form: the request itself, behind a path prefix and without its body.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::CACHE_CONTROL,
};
use hyper::body::Incoming;

use super::{Allowed, Asked, Client, ExtAuthzParts, Gate, ProxyBody, decide_by, verdict::denied};
use crate::authn::{Rejection, RejectionBody};

impl ExtAuthzParts {
    pub(super) async fn answer_http(
        &self,
        prefix: usize,
        request: Request<Incoming>,
    ) -> Response<ProxyBody> {
        let deadline = self.deadline(patience_of(request.headers()));
        let (head, _unread) = request.into_parts();
        let mut exchange = self.begin(&head.method, &head.extensions, &head.headers);
        let client = Client::of(exchange.arrival(), &head.method, &head.headers);

        let prefix = self.settings.prefixes.get(prefix).map_or("", |prefix| &**prefix);
        let deciding = async { self.judge(&Asked::behind(prefix, head)?, &mut exchange).await };
        match decide_by(deadline, deciding).await {
            Ok(allowed) => {
                exchange.allowed(StatusCode::OK);
                allow(allowed)
            }
            Err(rejection) => {
                let response = deny(&rejection, &client, &self.gate);
                exchange.refused(&rejection, response.status());
                response
            }
        }
    }

    pub(super) fn refuse_http<B>(
        &self,
        request: &Request<B>,
        rejection: &Rejection,
    ) -> Response<ProxyBody> {
        let (method, headers) = (request.method(), request.headers());
        let exchange = self.begin(method, request.extensions(), headers);
        let client = Client::of(exchange.arrival(), method, headers);
        let response = deny(rejection, &client, &self.gate);
        exchange.refused(rejection, response.status());
        response
    }
}

/// How long Envoy waits for this request: it says so to whomever it sends one.
fn patience_of(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds = headers.get("x-envoy-expected-rq-timeout-ms")?.to_str().ok()?;
    milliseconds.parse().ok().map(Duration::from_millis)
}

fn allow(allowed: Allowed) -> Response<ProxyBody> {
    let Allowed { set, remove, .. } = allowed;
    let mut response = Response::new(RejectionBody::rejected(Bytes::new()));
    let headers = response.headers_mut();
    *headers = set;
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let names: Vec<_> = remove.iter().map(HeaderName::as_str).collect();
    if let Ok(names) = HeaderValue::try_from(names.join(","))
        && !names.is_empty()
    {
        headers.insert("x-envoy-auth-headers-to-remove", names);
    }
    response
}

/// A status from 500 up would be our failure, and a yes where the gateway is told `failure_mode_allow`. The shipped
/// configuration turns 424 into the 503 that the body tells of.
fn deny(rejection: &Rejection, client: &Client, gate: &Gate) -> Response<ProxyBody> {
    let mut response = denied(rejection, client, gate);
    if response.status().is_server_error() {
        *response.status_mut() = StatusCode::FAILED_DEPENDENCY;
    }
    response.map(RejectionBody::rejected)
}
