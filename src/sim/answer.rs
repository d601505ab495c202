//! What the toy servers answer with: small concrete types, since boxed errors do not go through a spawned connection.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;

/// The most that a control request may hold, and the most text that the echo repeats: 64 KiB.
pub(super) const BODY_LIMIT: usize = 64 * 1024;

/// An answer, or none at all.
pub(super) type Answer = Result<Response<Body>, Dropped>;

/// The connection is closed without an answer.
#[derive(Debug, Error)]
#[error("the request is dropped without an answer")]
pub(super) struct Dropped;

/// One piece of bytes, sent a number of times: mostly once.
#[derive(Debug)]
pub(super) struct Body {
    piece: Bytes,
    left: usize,
}

impl Body {
    /// `piece`, `times` times over, with no length announced.
    pub(super) fn repeated(piece: Bytes, times: usize) -> Self {
        Self { piece, left: times }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            0 => SizeHint::with_exact(0),
            1 => SizeHint::with_exact(u64::try_from(self.piece.len()).unwrap_or(u64::MAX)),
            _ => SizeHint::default(),
        }
    }
}

/// `body` with its media type.
pub(super) fn respond(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body { piece: body.into(), left: 1 });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// 200 with `value` as JSON.
pub(super) fn json_of(value: &Value) -> Response<Body> {
    respond(StatusCode::OK, "application/json", value.to_string())
}

/// A request that cannot be served, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    reason: String,
}

impl Refusal {
    /// 400, for this reason.
    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// Any status, for this reason.
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }

    /// `{"error": "…"}`
    pub(super) fn render(self) -> Response<Body> {
        respond(self.status, "application/json", json!({ "error": self.reason }).to_string())
    }
}

/// A JSON request body; an empty one counts as `{}`.
pub(super) async fn parse_json<T: DeserializeOwned>(body: Incoming) -> Result<T, Refusal> {
    let body = read_body(body).await?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    serde_json::from_slice(text).map_err(|error| Refusal::bad_request(error.to_string()))
}

/// A request body, whole, unless it is too long.
pub(super) async fn read_body(body: Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 64 KiB"))
        }
        Err(error) => Err(Refusal::bad_request(error.to_string())),
    }
}
