//! Pages of our own, which are the same for everybody.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
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

/// All of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages(Arc<[Page]>);

impl Pages {
    pub(crate) fn new(pages: impl IntoIterator<Item = Page>) -> Self {
        Self(pages.into_iter().collect())
    }

    /// The answer, if `path` is one of ours.
    pub(super) fn answer(&self, method: &Method, path: &str) -> Option<Response<Bytes>> {
        let page = self.0.iter().find(|page| page.path == path)?;
        Some(match *method {
            Method::GET => page.response(page.body.clone()),
            Method::HEAD => page.response(Bytes::new()),
            _ => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        })
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
        let pages = Pages::new([Page { path: "/own", content_type, body: "page".into() }]);
        let answer = |method: Method, path: &str| {
            pages
                .answer(&method, path)
                .map(|response| (response.status().as_u16(), response.into_body()))
        };
        assert_eq!(answer(Method::GET, "/own"), Some((200, "page".into())));
        assert_eq!(answer(Method::HEAD, "/own"), Some((200, "".into())));
        assert_eq!(answer(Method::POST, "/own"), Some((405, "".into())));
        for path in ["/own/", "/Own", "/", "//own", "/%6Fwn"] {
            assert_eq!(answer(Method::GET, path), None, "{path}");
        }
    }
}
