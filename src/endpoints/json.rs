//! Our answers in JSON, one line each.

use bytes::Bytes;
use http::{HeaderValue, Response, header::CONTENT_TYPE};
use serde::Serialize;

/// 200 with `content`, of strings, flags and numbers: serialising those cannot fail.
pub(super) fn json(content: &impl Serialize) -> Response<Bytes> {
    let mut text = serde_json::to_vec(content).unwrap_or_default();
    text.push(b'\n');
    let mut response = Response::new(text.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
