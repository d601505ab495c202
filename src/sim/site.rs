//! A few files, served as they are: the page of the demonstration, and of anybody's test in a browser.

use std::{borrow::Cow, sync::Arc};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL},
};
use hyper::body::Incoming;

use super::{
    ANY_LOOPBACK_PORT,
    answer::{Body, respond},
    host::{Application, Host, StartError},
};

/// One file and where it is.
#[derive(Clone, Debug)]
pub struct Page {
    /// The path, exactly.
    pub path: &'static str,
    /// Its `Content-Type`.
    pub media_type: &'static str,
    /// What is in it.
    pub content: Cow<'static, str>,
}

/// A running site. Dropping it stops it.
#[derive(Debug)]
pub struct Site(Host);

impl Site {
    /// Starts on a free loopback port.
    ///
    /// # Errors
    ///
    /// [`StartError::Bind`] when there is no port to be had.
    pub async fn start(pages: Vec<Page>) -> Result<Self, StartError> {
        let pages: Arc<[Page]> = pages.into();
        let application: Application = Arc::new(move |request| {
            let pages = Arc::clone(&pages);
            Box::pin(async move { Ok(answer(&pages, &request)) })
        });
        Ok(Self(Host::start(ANY_LOOPBACK_PORT, application).await?))
    }

    /// Where it listens, as a URL without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address())
    }
}

fn answer(pages: &[Page], request: &Request<Incoming>) -> Response<Body> {
    let Some(page) = pages.iter().find(|page| page.path == request.uri().path()) else {
        return respond(StatusCode::NOT_FOUND, "text/plain", "nothing is here\n");
    };
    let (status, text) = match *request.method() {
        Method::GET | Method::HEAD => (StatusCode::OK, page.content.clone().into_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
    };
    let mut response = respond(status, page.media_type, text);
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    // Whoever changes the page wants to see the change.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::{super::tests::send, *};

    #[tokio::test]
    async fn what_is_there_is_served_and_nothing_else() {
        let page = Page { path: "/", media_type: "text/html", content: "<p>hello".into() };
        let site = Site::start(vec![page]).await.unwrap();
        for (method, path, status, text) in [
            ("GET", "/?a=b", 200, "<p>hello"),
            ("HEAD", "/", 200, ""),
            ("POST", "/", 405, ""),
            ("GET", "/hello", 404, "nothing is here\n"),
        ] {
            let request = Request::builder().method(method).uri(format!("{}{path}", site.url()));
            let (parts, body) = send(request.body(Full::default()).unwrap()).await.unwrap();
            assert_eq!(
                (parts.status.as_u16(), body),
                (status, Bytes::from(text)),
                "{method} {path}"
            );
        }
    }
}
