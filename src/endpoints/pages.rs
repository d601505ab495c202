//! Pages of our own, which are the same for everybody.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};

use super::exchange::Exchange;
use crate::{
    authn::{Dialect, Realm, Rejection},
    peers::Peers,
    telemetry::{Metrics, Outcome},
};

/// A page that never changes.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Where it is, exactly.
    pub(crate) path: &'static str,
    /// What it is.
    pub(crate) content_type: HeaderValue,
    /// What it says.
    pub(crate) body: Bytes,
}

/// All of them. Clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Pages(Arc<PagesParts>);

/// What [`Pages`] are made of.
#[derive(Debug)]
pub(crate) struct PagesParts {
    /// Each at a path of its own.
    pub(crate) pages: Vec<Page>,
    /// Whose word about a request is believed.
    pub(crate) trusted_peers: Peers,
    /// What rejections name.
    pub(crate) realm: Realm,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

impl Pages {
    /// What the log and the metrics call it.
    const NAME: &str = "pages";

    pub(crate) fn new(parts: PagesParts) -> Self {
        Self(Arc::new(parts))
    }

    /// The page at `path`.
    pub(super) fn find(&self, path: &str) -> Option<&Page> {
        self.0.pages.iter().find(|page| page.path == path)
    }

    /// The answer to a `request` for `page`.
    pub(super) fn answer<B>(&self, page: &Page, request: &Request<B>) -> Response<Bytes> {
        let body = match *request.method() {
            Method::GET => page.body.clone(),
            Method::HEAD => Bytes::new(),
            _ => return self.refuse(request, &Rejection::MethodNotAllowed { allow: "GET, HEAD" }),
        };
        self.begin(request).finish(page.response(body), Ok(Outcome::Page))
    }

    /// The answer to a request that is refused.
    pub(super) fn refuse<B>(&self, request: &Request<B>, rejection: &Rejection) -> Response<Bytes> {
        let refusal = rejection.render(Dialect::Http, &self.0.realm);
        self.begin(request).finish(refusal, Err(rejection))
    }

    fn begin<B>(&self, request: &Request<B>) -> Exchange {
        Exchange::of(request, Self::NAME, &self.0.trusted_peers, &self.0.metrics)
    }
}

impl Page {
    /// The head is the same with and without a body (RFC 9110 §9.3.2).
    fn response(&self, body: Bytes) -> Response<Bytes> {
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_at_its_path_for_those_who_read() {
        let content_type = HeaderValue::from_static("text/plain");
        let pages = Pages::new(PagesParts {
            pages: vec![Page { path: "/own", content_type, body: "page".into() }],
            trusted_peers: Peers::default(),
            realm: Realm::default(),
            metrics: Metrics::new(),
        });
        let page = pages.find("/own").unwrap();
        let answer = |method: Method| {
            let request = Request::builder().method(method).body(()).unwrap();
            pages.answer(page, &request)
        };
        for (method, body) in [(Method::GET, "page"), (Method::HEAD, "")] {
            let answer = answer(method);
            assert_eq!((answer.status().as_u16(), &**answer.body()), (200, body.as_bytes()));
            assert_eq!(answer.headers()[CONTENT_LENGTH], "4");
            assert_eq!(answer.headers()[CACHE_CONTROL], "max-age=300");
        }
        let refused = answer(Method::POST);
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["allow"]),
            (405, &"GET, HEAD".parse().unwrap())
        );
        for path in ["/own/", "/Own", "/", "//own", "/%6Fwn"] {
            assert!(pages.find(path).is_none(), "{path}");
        }
    }
}
