//! Limits on requests, in front of any service: how often, and how many at once.
//!
//! What is refused is told as a [`Limit`]; the answer to it is not ours to make, as it must look, and be told of, like every
//! other one.

use std::{
    convert::Infallible,
    fmt, future,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::body::Incoming;
use tower::Service;

use crate::{peers::NOWHERE, telemetry::Metrics};

use super::{
    connection::HttpService,
    kept_body::KeptBody,
    rate::{ClientRate, RateSettings},
};

/// How often, and how many at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    /// Requests in flight at once, on all connections; default 10 000. One more is refused: 503. A request is in flight
    /// until its response's body has been sent.
    pub(crate) max_requests: NonZeroUsize,

    /// How often one client may ask; as often as it likes by default. More is refused: 429.
    pub(crate) rate: Option<RateSettings>,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let max_requests = const { NonZeroUsize::MIN.saturating_add(9_999) };
        Self { max_requests, rate: None }
    }
}

/// The limit that a request has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Too many requests are in flight.
    Requests,
    /// This client asks too often; after this time it may again.
    Rate(Duration),
}

/// The state of the limits. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    places: Arc<Places>,
    rate: Option<ClientRate>,
    metrics: Metrics,
}

impl Limits {
    pub(crate) fn new(settings: LimitSettings, metrics: Metrics) -> Self {
        let LimitSettings { max_requests, rate } = settings;
        let places = Arc::new(Places { taken: AtomicUsize::new(0), most: max_requests.get() });
        Self { places, rate: rate.map(ClientRate::new), metrics }
    }

    /// `service`, behind these limits. `refuse` makes the answer to a request that met one.
    pub(crate) fn in_front_of<S, R>(self, service: S, refuse: R) -> Limited<S, R> {
        Limited { service, limits: self, refuse }
    }

    /// Lets a request in: how often is asked before how many, so that who asks too often takes no place.
    fn admit<B>(&self, request: &Request<B>) -> Result<Place, Limit> {
        if let Some(rate) = &self.rate {
            let peer = request.extensions().get::<SocketAddr>().copied().unwrap_or(NOWHERE);
            rate.take(peer.ip(), request.headers()).map_err(|wait| {
                self.metrics.requests_rate_limited.inc();
                Limit::Rate(wait)
            })?;
        }
        self.places.take().ok_or_else(|| {
            self.metrics.requests_shed.inc();
            Limit::Requests
        })
    }
}

/// Places for requests in flight. Nobody waits for one, so a counter will do where a semaphore would take a lock.
#[derive(Debug)]
struct Places {
    taken: AtomicUsize,
    most: usize,
}

/// The place of one request, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Places>);

impl Places {
    /// A place, if one is left.
    fn take(self: &Arc<Self>) -> Option<Place> {
        // First taken and then asked: where many cores compare and swap, all but one of them try again. One too many goes
        // back at once.
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A service behind [`Limits`].
pub(crate) struct Limited<S, R> {
    service: S,
    limits: Limits,
    refuse: R,
}

impl<S, R> fmt::Debug for Limited<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limited").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// For a reference, so that a request takes no copy of the limits.
impl<S, R, B> Service<Request<Incoming>> for &Limited<S, R>
where
    S: HttpService<B>,
    R: Fn(Limit, &Request<Incoming>) -> Response<B>,
    B: Send + 'static,
{
    type Response = Response<LimitedBody<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// The service is always ready.
    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        match self.limits.admit(&request) {
            Ok(place) => {
                let answering = self.service.clone().call(request);
                Box::pin(async { Ok(kept(answering.await?, Some(place))) })
            }
            Err(limit) => Box::pin(future::ready(Ok(kept((self.refuse)(limit, &request), None)))),
        }
    }
}

fn kept<B>(response: Response<B>, place: Option<Place>) -> Response<LimitedBody<B>> {
    response.map(|body| KeptBody::new(body, place))
}

/// A response's body that keeps its request's place until it has been sent.
pub(crate) type LimitedBody<B> = KeptBody<B, Option<Place>>;
