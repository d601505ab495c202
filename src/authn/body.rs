//! The body of an answer that is either a rejection's or somebody else's.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project_lite::pin_project;

pin_project! {
    /// A rejection's own short text, or the body of the service that was let answer.
    ///
    /// Unlike `http_body_util::Either` it keeps the error type of `B`: a boxed one keeps connections from being spawned.
    #[derive(Debug)]
    pub struct RejectionBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    #[derive(Debug)]
    enum Kind<B> {
        Rejected { #[pin] text: Full<Bytes>, trailers: Option<Box<HeaderMap>> },
        Inner { #[pin] body: B },
    }
}

impl<B> RejectionBody<B> {
    /// A rejection's text.
    #[must_use]
    pub fn rejected(text: Bytes) -> Self {
        Self { kind: Kind::Rejected { text: Full::new(text), trailers: None } }
    }

    /// A text, and behind it `trailers`: an answer in gRPC.
    #[cfg_attr(not(feature = "ext-authz"), expect(dead_code, reason = "for the gRPC form alone"))]
    pub(crate) fn with_trailers(text: Bytes, trailers: HeaderMap) -> Self {
        Self { kind: Kind::Rejected { text: Full::new(text), trailers: Some(Box::new(trailers)) } }
    }

    /// The body of a service that was let answer.
    #[must_use]
    pub const fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }
}

impl<B: Body<Data = Bytes>> Body for RejectionBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Rejected { text, trailers } => text.poll_frame(cx).map(|frame| {
                let frame = frame.map(|frame| frame.map_err(|never| match never {}));
                frame.or_else(|| trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))))
            }),
            KindProjection::Inner { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Rejected { text, trailers } => text.is_end_stream() && trailers.is_none(),
            Kind::Inner { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Rejected { text, .. } => text.size_hint(),
            Kind::Inner { body } => body.size_hint(),
        }
    }
}
