//! The second listener's service: alive, ready, metrics, under the names that the field knows them by. A listener of its
//! own, so that none of it is ever published with the application by accident.

use std::{
    convert::Infallible,
    fmt::Write,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};
use http_body_util::Full;
use tower::Service;
use tracing::error;

use crate::{
    clock::Clock,
    telemetry::{Metrics, PageFormat},
};

use super::{
    Readiness,
    readiness::{ConditionReport, Told},
};

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// Answers `/livez` (`/healthz`, `/ping`), `/readyz` (`/ready`) and `/metrics`, and the pages that it is given.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pages: OwnPages,
    readiness: Readiness,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

/// A page that is the same for everybody.
#[derive(Clone, Debug)]
pub(crate) struct OwnPage {
    /// Where it is.
    pub(crate) path: &'static str,
    /// What it is.
    pub(crate) kind: HeaderValue,
    /// What it says.
    pub(crate) body: Bytes,
}

/// The pages of an [`Admin`]. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnPages(Arc<ArcSwap<Vec<OwnPage>>>);

impl OwnPages {
    /// These from here on, and no others.
    pub(crate) fn set(&self, pages: Vec<OwnPage>) {
        self.0.store(Arc::new(pages));
    }

    fn at(&self, path: &str) -> Option<OwnPage> {
        self.0.load().iter().find(|page| page.path == path).cloned()
    }
}

impl Admin {
    /// Speaks for `readiness` and `metrics`; `clock` dates the ages among them.
    pub(crate) fn new(readiness: Readiness, metrics: Metrics, clock: Arc<dyn Clock>) -> Self {
        Self { pages: OwnPages::default(), readiness, metrics, clock }
    }

    /// What it answers besides; empty, until they are set.
    pub(crate) fn pages(&self) -> OwnPages {
        self.pages.clone()
    }

    fn answer(&self, method: &Method, target: &Uri, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let is_verbose = target.query().is_some_and(|query| query.split('&').any(is_verbose));
        let page: &dyn Fn(&Self) -> Response<Full<Bytes>> = match target.path() {
            // We answer, so we live. What we depend on is the business of `/readyz`: here its outage would get us
            // restarted, which helps nobody.
            "/livez" | "/healthz" | "/ping" => &|_| text(StatusCode::OK, "ok\n"),
            "/readyz" | "/ready" if is_verbose => &Self::readyz_verbose,
            "/readyz" | "/ready" => &Self::readyz,
            "/metrics" => &|it| it.metrics(headers),
            path => match self.pages.at(path) {
                Some(page) => {
                    &move |_| respond(StatusCode::OK, page.kind.clone(), page.body.clone())
                }
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

    /// One line for each condition, in the manner of Kubernetes: `[+]keys ok: 3 keys`. What is marked by `[!]` changes no
    /// status, and should be looked at.
    fn readyz_verbose(&self) -> Response<Full<Bytes>> {
        let reports = self.readiness.reports();
        let mut page = String::new();
        for ConditionReport { name, is_met, told: Told { words, is_alarming } } in &reports {
            let (verdict, outcome) = match (is_met, is_alarming) {
                (false, _) => ("[-]", " not ready"),
                (true, true) => ("[!]", ""),
                (true, false) => ("[+]", " ok"),
            };
            let separator = if words.is_empty() { "" } else { ": " };
            writeln!(page, "{verdict}{name}{outcome}{separator}{words}").ok();
        }
        let is_ready = reports.iter().all(|standing| standing.is_met);
        page.push_str(if is_ready { "ready\n" } else { "not ready\n" });
        let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        text(status, page)
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
        ready(Ok(self.answer(request.method(), request.uri(), request.headers())))
    }
}

/// `?verbose`, `?verbose=1`.
fn is_verbose(parameter: &str) -> bool {
    matches!(parameter.split_once('='), Some(("verbose", value)) if !matches!(value, "0" | "false"))
        || parameter == "verbose"
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
    async fn verbose_tells_how_each_condition_stands() {
        let admin = admin();
        let keys = admin.readiness.latch("keys");
        admin.readiness.describe("config", || "taken up".to_owned());
        let answer = ask(&admin, Method::GET, "/readyz?verbose").await;
        let expected = "[-]keys not ready\n[+]config ok: taken up\n[+]drain ok\nnot ready\n";
        assert_eq!((answer.status, answer.body.as_str()), (503, expected));
        keys.open();
        let answer = ask(&admin, Method::GET, "/ready?verbose=1").await;
        assert_eq!((answer.status, answer.body.ends_with("\nready\n")), (200, true));
        assert_eq!(ask(&admin, Method::GET, "/readyz?verbose=0").await.body, "ok\n");
        admin.readiness.describe("keys", || Told::alarming("none usable".to_owned()));
        let answer = ask(&admin, Method::GET, "/readyz?verbose").await;
        let expected = "[!]keys: none usable\n[+]config ok: taken up\n[+]drain ok\nready\n";
        assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    }

    #[tokio::test]
    async fn the_names_of_other_proxies_are_understood() {
        let admin = admin();
        admin.readiness.drain();
        for (path, status) in [("/healthz", 200), ("/ping", 200), ("/ready", 503)] {
            assert_eq!(ask(&admin, Method::GET, path).await.status, status, "{path}");
        }
    }

    #[tokio::test]
    async fn pages_are_answered_as_they_were_set_last() {
        let admin = admin();
        let page = |body: &'static str| OwnPage { path: "/own", kind: PLAIN, body: body.into() };
        assert_eq!(ask(&admin, Method::GET, "/own").await.status, 404);
        admin.pages().set(vec![page("one")]);
        admin.pages().set(vec![page("two")]);
        assert_eq!(ask(&admin, Method::GET, "/own").await.body, "two");
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
