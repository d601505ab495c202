//! A body, and what must live as long as it does.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A response's body that keeps something until it has been sent, or nobody wants it any more.
    #[derive(Debug)]
    pub(crate) struct KeptBody<B, K> {
        #[pin]
        body: B,
        _kept: K,
    }
}

impl<B, K> KeptBody<B, K> {
    /// `body`, which keeps `kept`.
    pub(crate) const fn new(body: B, kept: K) -> Self {
        Self { body, _kept: kept }
    }
}

impl<B: Body, K> Body for KeptBody<B, K> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
