//! The HTTP form: the request itself, behind a path prefix and without its body.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::SET_COOKIE};
use hyper::body::Incoming;

use super::{
    Allowed, Asked, Client, ExtAuthzParts, ForBrowser, Gate, ProxyBody, decide_by, verdict::denied,
};
use crate::{
    authn::{Rejection, RejectionBody},
    telemetry::Outcome,
};

impl ExtAuthzParts {
    pub(super) async fn answer_http(
        &self,
        prefix: usize,
        request: Request<Incoming>,
    ) -> Response<ProxyBody> {
        let deadline = self.deadline(patience_of(request.headers()));
        let (head, _unread) = request.into_parts();
        let mut exchange = self.begin(&head);
        exchange.set_deadline(deadline);
        let client = Client::of(&head.method, &head.headers);

        let prefix = self.settings.prefixes.get(prefix).map_or("", |prefix| &**prefix);
        let deciding = exchange.run(|exchange| async move {
            self.judge(&Asked::behind(prefix, head)?, exchange).await
        });
        match decide_by(deadline, deciding).await {
            Ok(mut allowed) => {
                // A script can ask as well, and is not to read the cookies that browsers keep from scripts.
                if exchange.arrival().listed().is_none() {
                    allowed.withhold_cookies();
                }
                exchange.finish(allow(allowed), Ok(Outcome::Allowed))
            }
            Err(rejection) => {
                let response = deny(&rejection, &client, exchange.for_browser(), &self.gate);
                exchange.finish(response, Err(&rejection))
            }
        }
    }

    pub(super) fn refuse_http<B>(
        &self,
        request: &Request<B>,
        rejection: &Rejection,
    ) -> Response<ProxyBody> {
        let mut exchange = self.begin(request);
        let client = Client::of(request.method(), request.headers());
        let response = deny(rejection, &client, exchange.for_browser(), &self.gate);
        exchange.finish(response, Err(rejection))
    }
}

/// How long Envoy waits for this request: it says so to whomever it sends one.
fn patience_of(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds = headers.get("x-envoy-expected-rq-timeout-ms")?.to_str().ok()?;
    milliseconds.parse().ok().map(Duration::from_millis)
}

/// In place of `Cache-Control`, which is there for whoever stands between us and the gateway: what the application's answer
/// is to say of itself, as the session's next cookie goes with it. The shipped configuration has it say so.
const CACHE_CONTROL_OF_THE_ANSWER: HeaderName = HeaderName::from_static("x-siwa-cache-control");

fn allow(allowed: Allowed) -> Response<ProxyBody> {
    let Allowed { set, remove, set_cookie, .. } = allowed;
    let mut response = Response::new(RejectionBody::rejected(Bytes::new()));
    let headers = response.headers_mut();
    *headers = set;
    if let Some(cookie) = set_cookie {
        headers.insert(SET_COOKIE, cookie);
        headers.insert(CACHE_CONTROL_OF_THE_ANSWER, HeaderValue::from_static("no-store"));
    }
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
fn deny(
    rejection: &Rejection,
    client: &Client,
    for_browser: &mut ForBrowser,
    gate: &Gate,
) -> Response<ProxyBody> {
    let mut response = denied(rejection, client, for_browser, gate);
    if response.status().is_server_error() {
        *response.status_mut() = StatusCode::FAILED_DEPENDENCY;
    }
    response.map(RejectionBody::rejected)
}
