//! The second listener's service: alive, ready, metrics. A listener of its own, so that none of it is ever published
//! with the application by accident.

use std::{
    convert::Infallible,
    fmt::Write,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;
use tower::Service;
use tracing::error;

use crate::{
    clock::Clock,
    telemetry::{Metrics, PageFormat},
};

use super::Readiness;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers `/livez`, `/readyz` and `/metrics`, and the pages that it is given.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pages: Vec<Page>,
    readiness: Readiness,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

/// A page that never changes.
#[derive(Clone, Debug)]
struct Page {
    path: &'static str,
    kind: HeaderValue,
    body: Bytes,
}

impl Admin {
    /// Speaks for `readiness` and `metrics`; `clock` dates the ages among them.
    pub(crate) fn new(readiness: Readiness, metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        Self { pages: Vec::new(), readiness, metrics, clock }
    }

    /// Answers `body` at `path` besides.
    pub(crate) fn with_page(mut self, path: &'static str, kind: HeaderValue, body: Bytes) -> Self {
        self.pages.push(Page { path, kind, body });
        self
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let page: &dyn Fn(&Self) -> Response<Full<Bytes>> = match path {
            // We answer, so we live. What we depend on is the business of `/readyz`: here its outage would get us
            // restarted, which helps nobody.
            "/livez" => &|_| text(StatusCode::OK, "ok\n"),
            "/readyz" => &Self::readyz,
            "/metrics" => &|it| it.metrics(headers),
            _ => match self.pages.iter().find(|page| page.path == path) {
                Some(page) => &|_| respond(StatusCode::OK, page.kind.clone(), page.body.clone()),
                None => return text(StatusCode::NOT_FOUND, "not found\n"),
            },
        };
        match *method {
            Method::GET => page(self),
            Method::HEAD => without_body(page(self)),
            _ => {
                let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        }
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        let reasons = self.readiness.reasons();
        if reasons.is_empty() {
            return text(StatusCode::OK, "ok\n");
        }
        let mut page = String::new();
        for reason in reasons {
            // Writing into a `String` cannot fail.
            writeln!(page, "not ready: {reason}").ok();
        }
        text(StatusCode::SERVICE_UNAVAILABLE, page)
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let format = PageFormat::accepted(accept);
        match self.metrics.render_as(format, self.clock.now()) {
            Ok(page) => {
                respond(StatusCode::OK, HeaderValue::from_static(format.content_type()), page)
            }
            Err(error) => {
                error!(%error, "the metrics cannot be rendered");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered\n")
            }
        }
    }
}

impl<B> Service<Request<B>> for Admin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request.method(), request.uri().path(), request.headers())))
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    respond(status, PLAIN, body)
}

fn respond(
    status: StatusCode,
    content_type: HeaderValue,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let body = body.into();
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same head, its `Content-Length` included, and nothing after it (RFC 9110 §9.3.2).
fn without_body(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    *response.body_mut() = Full::default();
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::clock::{ManualClock, UnixTime};

    struct Answer {
        status: u16,
        content_type: String,
        body: String,
    }

    async fn ask(admin: &Admin, method: Method, path: &str) -> Answer {
        ask_for(admin, method, path, "*/*").await
    }

    async fn ask_for(admin: &Admin, method: Method, path: &str, accept: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header(ACCEPT, accept);
        let request = request.body(()).unwrap();
        let (head, body) = admin.clone().oneshot(request).await.unwrap().into_parts();
        let content_type = head.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: head.status.as_u16(), content_type, body }
    }

    fn admin() -> Admin {
        let clock = ManualClock::at(UnixTime::from_secs(160));
        Admin::new(Readiness::default(), Metrics::new(), Arc::new(clock))
    }

    #[tokio::test]
    async fn alive_even_when_not_ready() {
        let admin = admin();
        admin.readiness.drain();
        let answer = ask(&admin, Method::GET, "/livez").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"));
    }

    #[tokio::test]
    async fn not_ready_says_why_until_it_is() {
        let admin = admin();
        let keys = admin.readiness.latch("keys");
        let answer = ask(&admin, Method::GET, "/readyz").await;
        assert_eq!((answer.status, answer.body.as_str()), (503, "not ready: keys\n"));
        keys.open();
        assert_eq!(ask(&admin, Method::GET, "/readyz").await.status, 200);
        admin.readiness.drain();
        let answer = ask(&admin, Method::GET, "/readyz").await;
        assert_eq!((answer.status, answer.body.as_str()), (503, "not ready: draining\n"));
    }

    #[tokio::test]
    async fn metrics_are_told_at_the_time_of_the_clock_in_the_format_that_is_asked_for() {
        let admin = admin();
        admin.metrics.jwks_fetched(UnixTime::from_secs(100));
        let answer = ask(&admin, Method::GET, "/metrics").await;
        assert_eq!(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
        assert!(answer.body.contains("siwa_jwks_age_seconds 60"), "{}", answer.body);
        let open_metrics = "application/openmetrics-text; version=1.0.0";
        let answer = ask_for(&admin, Method::GET, "/metrics", open_metrics).await;
        assert_eq!(
            answer.content_type,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert!(answer.body.contains("siwa_jwks_age_seconds 60"), "{}", answer.body);
        assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    }

    #[tokio::test]
    async fn head_has_the_length_and_not_the_body() {
        let request = Request::head("/livez").body(()).unwrap();
        let (head, body) = admin().oneshot(request).await.unwrap().into_parts();
        assert_eq!(head.headers[CONTENT_LENGTH], "3");
        assert!(body.collect().await.unwrap().to_bytes().is_empty());
    }

    #[tokio::test]
    async fn other_methods_and_paths_are_refused() {
        let request = Request::post("/readyz").body(()).unwrap();
        let response = admin().oneshot(request).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[ALLOW]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
        assert_eq!(ask(&admin(), Method::GET, "/").await.status, 404);
        assert_eq!(ask(&admin(), Method::GET, "/livez/").await.status, 404);
    }
}
