//! A service that can be replaced while it serves: each request is answered whole by the one that was there when it came.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::Service;

use crate::server::KeptBody;

/// How a service of ours answers.
type Answering<B> = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

/// A service whose type is forgotten, so that one of another type could take its place.
pub(super) trait Serve<B>: Send + Sync {
    fn answer(&self, request: Request<Incoming>) -> Answering<B>;
}

/// It is always ready, as ours are.
impl<S, B> Serve<B> for S
where
    S: Send + Sync,
    for<'a> &'a S: Service<
            Request<Incoming>,
            Response = Response<B>,
            Error = Infallible,
            Future = Answering<B>,
        >,
{
    fn answer(&self, request: Request<Incoming>) -> Answering<B> {
        let mut service = self;
        service.call(request)
    }
}

type BoxedService<B> = Box<dyn Serve<B>>;

/// A body that keeps its service alive until it is sent: with the service ends its connection to the application.
type ServedBody<B> = KeptBody<B, Option<Arc<BoxedService<B>>>>;

/// The service that serves now. Clones share it.
pub(super) struct Swappable<B>(Arc<ArcSwap<BoxedService<B>>>);

impl<B> Swappable<B> {
    pub(super) fn new(service: impl Serve<B> + 'static) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Box::new(service))))
    }

    /// Gives all requests from here on to `next`. Those that are being answered are answered by their own.
    pub(super) fn swap(&self, next: &Self) {
        self.0.store(next.0.load_full());
    }
}

impl<B> Clone for Swappable<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B> fmt::Debug for Swappable<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swappable").finish_non_exhaustive()
    }
}

impl<B: 'static> Service<Request<Incoming>> for Swappable<B> {
    type Response = Response<ServedBody<B>>;
    type Error = Infallible;
    type Future = Answer<B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answer<B> {
        let serving = self.0.load_full();
        Answer { answering: serving.answer(request), serving: Some(serving) }
    }
}

/// The answer of the service that was there when the request came.
pub(super) struct Answer<B> {
    answering: Answering<B>,
    serving: Option<Arc<BoxedService<B>>>,
}

impl<B> Future for Answer<B> {
    type Output = Result<Response<ServedBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::task::ready!(self.answering.as_mut().poll(cx));
        let serving = self.serving.take();
        Poll::Ready(answer.map(|response| response.map(|body| KeptBody::new(body, serving))))
    }
}
