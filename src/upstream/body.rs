//! A body on its way: streamed frame by frame, never collected, bounded in length and in silence.

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{
    account::Account,
    line::Lease,
    request::{ForwardingRules, clean_trailers},
};
use crate::authn::{Standing, StandingEnd};

/// What may come and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    /// The longest silence between two frames.
    pub(crate) idle_timeout: Duration,
    /// The most bytes; none for no limit.
    pub(crate) max_bytes: Option<u64>,
}

/// A body that is passed on as it comes; none if it is empty from the beginning, as most requests' are.
pub(crate) struct StreamedBody(Option<Box<Streaming>>);

/// In a box, as messages are handed on many times before their bodies are.
struct Streaming {
    inner: Incoming,
    limits: BodyLimits,
    passed: u64,
    silence: Option<Pin<Box<Sleep>>>,
    /// What it is about to break off for.
    fault: Option<BodyFault>,
    /// Its head tells the length of a body that does not come.
    head_only: bool,
    /// When it has to be over, come what may.
    deadline: Option<Pin<Box<Sleep>>>,
    /// For whom it is: it is broken off when they may not have it any more.
    standing: Option<Standing>,
    /// Watches for that, once the body makes somebody wait: most never do.
    ended: Option<Pin<Box<dyn Future<Output = StandingEnd> + Send>>>,
    /// Where it is waited for: a request's.
    activity: Option<Activity>,
    /// What is told of its end.
    account: Option<Account>,
    /// The connection that it comes from, which goes back when the body is dropped.
    lease: Option<Lease>,
    /// Trailers may carry identity headers like any header section.
    trailer_rules: Option<Arc<ForwardingRules>>,
}

impl StreamedBody {
    /// The body of a request: its trailers lose their identity headers.
    ///
    /// # Errors
    ///
    /// It broke off before it began: a stream of HTTP/2 that was ended by force is at its end, too.
    pub(crate) fn of_request(
        mut inner: Incoming,
        limits: BodyLimits,
        rules: &Arc<ForwardingRules>,
    ) -> Result<Self, BodyFault> {
        if inner.is_end_stream() {
            let mut nobody_waits = Context::from_waker(Waker::noop());
            return match Pin::new(&mut inner).poll_frame(&mut nobody_waits) {
                Poll::Ready(Some(Err(error))) => Err(BodyFault::Broken(error)),
                Poll::Ready(_) | Poll::Pending => Ok(Self(None)),
            };
        }
        let (activity, trailer_rules) = (Some(Activity::begun()), Some(Arc::clone(rules)));
        Ok(Self::new(Streaming { activity, trailer_rules, ..Streaming::of(inner, limits) }))
    }

    /// Waits until it is certain that the body is empty if its head says so: HTTP/2 tells the end of a body by itself, and
    /// what comes in spite of its head makes the whole request none (RFC 9113 §8.1.1).
    ///
    /// # Errors
    ///
    /// Those of any body.
    pub(crate) async fn settle(&mut self) -> Result<(), BodyFault> {
        if self.is_end_stream() || self.size_hint().exact() != Some(0) {
            return Ok(());
        }
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
            frame?;
        }
        self.0 = None;
        Ok(())
    }

    /// The body of a response.
    pub(crate) fn of_response(inner: Incoming, limits: BodyLimits) -> Self {
        Self::new(Streaming::of(inner, limits))
    }

    fn new(streaming: Streaming) -> Self {
        Self(Some(Box::new(streaming)))
    }

    /// The body that a 304 has not. hyper would remove the `Content-Length` from before an end that it sees coming, though
    /// there it tells what a 200 would have (RFC 9110 §15.4.5, §8.6).
    pub(super) fn head_only(self) -> Self {
        self.with(|body| body.head_only = true)
    }

    /// The body, broken off at `deadline`.
    pub(super) fn until(self, deadline: Option<Instant>) -> Self {
        self.with(|body| body.deadline = deadline.map(|at| Box::pin(sleep_until(at))))
    }

    /// The body, broken off when `standing` ends.
    pub(crate) fn only_while(self, standing: Option<Standing>) -> Self {
        self.with(|body| body.standing = standing)
    }

    /// The body, with an account of its end.
    pub(super) fn told_by(self, account: Account) -> Self {
        self.with(|body| body.account = Some(account))
    }

    /// The body, which ends `lease` with its own end.
    pub(super) fn over(self, lease: Option<Lease>) -> Self {
        self.with(|body| body.lease = lease)
    }

    fn with(mut self, change: impl FnOnce(&mut Streaming)) -> Self {
        if let Some(body) = &mut self.0 {
            change(body);
        }
        self
    }

    /// How long the application took to the head that came before this body, if it is a response's.
    pub(crate) fn first_byte(&self) -> Option<Duration> {
        self.0.as_ref()?.account.as_ref().map(Account::first_byte)
    }

    /// Tells when a frame of a request's body last passed; none if there is nothing to pass.
    pub(super) fn activity(&self) -> Option<Activity> {
        self.0.as_ref()?.activity.clone()
    }
}

impl Streaming {
    fn of(inner: Incoming, limits: BodyLimits) -> Self {
        Self {
            inner,
            limits,
            passed: 0,
            silence: None,
            fault: None,
            head_only: false,
            deadline: None,
            standing: None,
            ended: None,
            activity: None,
            account: None,
            lease: None,
            trailer_rules: None,
        }
    }

    fn pass(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyFault> {
        self.silence = None;
        if let Some(activity) = &self.activity {
            activity.note();
        }
        if let Some(data) = frame.data_ref() {
            self.passed = self.passed.saturating_add(data.len() as u64);
        }
        if let Some(limit) = self.limits.max_bytes.filter(|limit| self.passed > *limit) {
            return Err(BodyFault::TooLarge { limit });
        }
        if let (Some(rules), Some(trailers)) = (&self.trailer_rules, frame.trailers_mut()) {
            clean_trailers(trailers, &rules.identity_headers);
        }
        Ok(frame)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Some(Err(BodyFault::TookTooLong)));
        }
        if let Some(Poll::Ready(end)) = self.ended.as_mut().map(|ended| ended.as_mut().poll(cx)) {
            return Poll::Ready(Some(Err(BodyFault::StandingEnded(end))));
        }
        match self.poll_inner(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(self.pass(frame))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BodyFault::Broken(error)))),
            Poll::Pending => {
                if let Some(standing) = self.standing.take() {
                    let ended = self.ended.insert(standing.ended());
                    if let Poll::Ready(end) = ended.as_mut().poll(cx) {
                        return Poll::Ready(Some(Err(BodyFault::StandingEnded(end))));
                    }
                }
                ready!(self.poll_silence(cx));
                Poll::Ready(Some(Err(BodyFault::TimedOut)))
            }
        }
    }

    /// What has come; if nothing has, what the connection brings now.
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.lease {
            Some(lease) => lease.poll_frame(&mut self.inner, cx),
            None => Pin::new(&mut self.inner).poll_frame(cx),
        }
    }

    /// Ready when nothing came for too long. The clock runs only while somebody waits: a slow reader is no silence.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limits.idle_timeout;
        self.silence.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx)
    }
}

impl Body for StreamedBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        if let Some(fault) = body.fault.take() {
            if let Some(account) = &body.account {
                account.broke_off(&fault);
            }
            return Poll::Ready(Some(Err(fault)));
        }
        match ready!(body.poll_next(cx)) {
            Some(Err(fault)) => {
                // hyper drops what it has not written yet when it hears of a fault, but it writes when it has to wait.
                body.fault = Some(fault);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            next => Poll::Ready(next),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| !body.head_only && body.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let empty = || SizeHint::with_exact(0);
        self.0.as_ref().map_or_else(empty, |body| {
            if body.head_only { SizeHint::default() } else { body.inner.size_hint() }
        })
    }
}

impl fmt::Debug for StreamedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.0.as_ref().map(|body| body.passed);
        f.debug_struct("StreamedBody").field("passed", &passed).finish_non_exhaustive()
    }
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFault {
    /// Its sender broke off.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// Its sender fell silent.
    #[error("the body stopped coming")]
    TimedOut,
    /// The exchange that it is a part of took too long.
    #[error("the exchange took too long")]
    TookTooLong,
    /// Whom it is for may not have it any more.
    #[error(transparent)]
    StandingEnded(StandingEnd),
    /// It has more bytes than are taken.
    #[error("the body has more than {limit} bytes")]
    TooLarge {
        /// The most that is taken.
        limit: u64,
    },
}

impl BodyFault {
    /// The body's fault behind `error`, if that is what it comes from.
    pub(super) fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        causes(error).find_map(<dyn Error>::downcast_ref)
    }
}

/// `error`, what caused it, what caused that, and so on.
pub(super) fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// When a body last moved, shared between it and whoever waits for the answer to it.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    since: Instant,
    last_millis: Arc<AtomicU64>,
}

impl Activity {
    fn begun() -> Self {
        Self { since: Instant::now(), last_millis: Arc::default() }
    }

    /// Whether somebody else has a part in it: whoever passes the body on has not let go of it.
    pub(super) fn is_under_way(&self) -> bool {
        Arc::strong_count(&self.last_millis) > 1
    }

    fn note(&self) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_millis.store(millis, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        self.since + Duration::from_millis(self.last_millis.load(Ordering::Relaxed))
    }
}
