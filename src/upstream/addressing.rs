//! How each version of HTTP wants a request's target, and what else it wants said. A request may have been made ready for
//! another version before.

use std::mem;

use http::{
    HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, HOST, TRAILER, TRANSFER_ENCODING},
    uri::{Authority, Scheme},
};
use http_body::Body;

use super::StreamedBody;

/// `Host` becomes `:authority` (RFC 9113 §8.3.1).
pub(super) fn for_http2(
    request: &mut Request<StreamedBody>,
    scheme: Scheme,
) -> Result<(), http::Error> {
    let mut uri = mem::take(request.uri_mut()).into_parts();
    if let Some(host) = request.headers_mut().remove(HOST) {
        uri.authority = Some(Authority::try_from(host.as_bytes())?);
    }
    uri.scheme = Some(scheme);
    *request.uri_mut() = Uri::from_parts(uri)?;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// `:authority` becomes `Host`, and the target is the path alone (RFC 9112 §3.2.1).
pub(super) fn for_http1(request: &mut Request<StreamedBody>) {
    // Mostly it is the path alone already.
    if let Some(authority) = request.uri().authority() {
        let (host, path) = (authority.as_str().parse(), request.uri().path_and_query().cloned());
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        if let Ok(host) = host {
            request.headers_mut().entry(HOST).or_insert(host);
        }
    }
    *request.version_mut() = Version::HTTP_11;
    if request.body().is_end_stream() {
        // Of an upload without a body hyper says nothing, to which some applications answer 411 (RFC 9110 §8.6).
        if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    } else if request.body().size_hint().exact().is_none()
        || request.headers().contains_key(TRAILER)
    {
        // For a method whose requests seldom have one, hyper leaves out a body whose length is not known, unless told. And
        // behind a body whose length is told no trailers can come (RFC 9112 §7.1.2), as they can in HTTP/2.
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}
