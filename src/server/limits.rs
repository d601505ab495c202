//! Limits on requests, in front of any service: how often, how many at once, how long.
//!
//! What is refused is told as a [`Limit`]; the answer to it is not ours to make, as it must look like every other one.

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    num::NonZeroUsize,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version, header::CONTENT_TYPE};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until, timeout_at},
};
use tower::{Service, ServiceExt};

use crate::{peers::NOWHERE, telemetry::Metrics};

use super::{
    connection::HttpService,
    rate::{Rate, RateSettings},
};

/// How often, how many at once, how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LimitSettings {
    /// Requests in flight at once, on all connections; default 10 000. One more is refused: 503. A request is in flight
    /// until its response's body has been sent.
    pub(crate) max_requests: NonZeroUsize,

    /// Time from a request's head to the end of its response; none by default. If the response has not begun by then it is
    /// refused: 504. If it has, it breaks off.
    pub(crate) request_timeout: Option<Duration>,

    /// How often one client may ask; as often as it likes by default. More is refused: 429.
    pub(crate) rate: Option<RateSettings>,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let max_requests = const { NonZeroUsize::MIN.saturating_add(9_999) };
        Self { max_requests, request_timeout: None, rate: None }
    }
}

/// The limit that a request has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Too many requests are in flight.
    Requests,
    /// This client asks too often; after this time it may again.
    Rate(Duration),
    /// It took too long.
    Time(Duration),
}

/// What the answer to a refused request depends on: what the caller speaks, and whom it asks.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// The request's target.
    pub(crate) target: Uri,
    /// The request's method.
    pub(crate) method: Method,
    /// The request's version.
    pub(crate) version: Version,
    /// Of its headers, `Content-Type` alone.
    pub(crate) headers: HeaderMap,
}

impl Asker {
    fn of<B>(request: &Request<B>) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE).cloned();
        Self {
            target: request.uri().clone(),
            method: request.method().clone(),
            version: request.version(),
            headers: content_type.map(|value| (CONTENT_TYPE, value)).into_iter().collect(),
        }
    }
}

/// The state of the limits. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    requests: Arc<Semaphore>,
    request_timeout: Option<Duration>,
    rate: Option<Rate>,
    metrics: Metrics,
}

impl Limits {
    pub(crate) fn new(settings: LimitSettings, metrics: Metrics) -> Self {
        let LimitSettings { max_requests, request_timeout, rate } = settings;
        let requests = Arc::new(Semaphore::new(max_requests.get().min(Semaphore::MAX_PERMITS)));
        Self { requests, request_timeout, rate: rate.map(Rate::new), metrics }
    }

    /// Keeps what is remembered about clients small, for ever. To be run beside the server.
    pub(crate) async fn keep_small(self) {
        if let Some(rate) = self.rate {
            rate.keep_small().await;
        }
    }

    /// `service`, behind these limits. `refuse` makes the answer to a request that met one.
    pub(crate) fn in_front_of<S, R>(self, service: S, refuse: R) -> Limited<S, R> {
        Limited { service, limits: self, refuse }
    }

    /// Lets a request in: how often is asked before how many, so that who asks too often takes no place.
    fn admit<B>(&self, request: &Request<B>) -> Result<OwnedSemaphorePermit, Limit> {
        if let Some(rate) = &self.rate {
            let peer = request.extensions().get::<SocketAddr>().copied().unwrap_or(NOWHERE);
            rate.take(peer.ip(), request.headers()).map_err(|wait| {
                self.metrics.requests_rate_limited.inc();
                Limit::Rate(wait)
            })?;
        }
        Arc::clone(&self.requests).try_acquire_owned().map_err(|_none_left| {
            self.metrics.requests_shed.inc();
            Limit::Requests
        })
    }
}

/// A service behind [`Limits`].
#[derive(Clone)]
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

impl<S, R, B> Service<Request<Incoming>> for Limited<S, R>
where
    S: HttpService<B>,
    R: Fn(Limit, &Asker) -> Response<B> + Clone + Send + 'static,
    B: Send + 'static,
{
    type Response = Response<LimitedBody<B>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

impl<S, R> Limited<S, R> {
    async fn answer<B>(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<LimitedBody<B>>, Infallible>
    where
        S: HttpService<B>,
        R: Fn(Limit, &Asker) -> Response<B>,
    {
        let Self { service, limits, refuse } = self;
        let permit = match limits.admit(&request) {
            Ok(permit) => permit,
            Err(limit) => {
                return Ok(refuse(limit, &Asker::of(&request)).map(LimitedBody::free));
            }
        };
        let Some(most) = limits.request_timeout else {
            let response = service.oneshot(request).await?;
            return Ok(response.map(|body| LimitedBody::held(body, permit, None)));
        };

        let deadline = Instant::now() + most;
        let asker = Asker::of(&request);
        if let Ok(response) = timeout_at(deadline, service.oneshot(request)).await {
            let timed_out = limits.metrics.requests_timed_out.clone();
            let deadline = Some(Deadline { sleep: Box::pin(sleep_until(deadline)), timed_out });
            return Ok(response?.map(|body| LimitedBody::held(body, permit, deadline)));
        }
        limits.metrics.requests_timed_out.inc();
        Ok(refuse(Limit::Time(most), &asker).map(LimitedBody::free))
    }
}

pin_project! {
    /// A response's body that keeps its request's place until it has been sent, and breaks off at the deadline.
    #[derive(Debug)]
    pub(crate) struct LimitedBody<B> {
        #[pin]
        body: B,
        permit: Option<OwnedSemaphorePermit>,
        deadline: Option<Deadline>,
    }
}

#[derive(Debug)]
struct Deadline {
    sleep: Pin<Box<Sleep>>,
    timed_out: prometheus_client::metrics::counter::Counter,
}

/// Why a limited body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenOff<E> {
    /// The body itself did.
    #[error(transparent)]
    Body(E),
    /// The request took too long.
    #[error("the request took too long")]
    TimedOut,
}

impl<B> LimitedBody<B> {
    const fn free(body: B) -> Self {
        Self { body, permit: None, deadline: None }
    }

    const fn held(body: B, permit: OwnedSemaphorePermit, deadline: Option<Deadline>) -> Self {
        Self { body, permit: Some(permit), deadline }
    }
}

impl<B: Body<Data = Bytes>> Body for LimitedBody<B> {
    type Data = Bytes;
    type Error = BrokenOff<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        // The deadline first: a body that never runs dry would never come to it.
        if let Some(deadline) = this.deadline
            && deadline.sleep.as_mut().poll(cx).is_ready()
        {
            deadline.timed_out.inc();
            *this.deadline = None;
            return Poll::Ready(Some(Err(BrokenOff::TimedOut)));
        }
        this.body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BrokenOff::Body)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
