//! A body on its way: streamed frame by frame, never collected, bounded in length and in silence.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::{
    account::Account,
    pool::Lease,
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

/// A body that is passed on as it comes.
pub(crate) struct StreamedBody {
    inner: Incoming,
    limits: BodyLimits,
    passed: u64,
    silence: Option<Pin<Box<Sleep>>>,
    /// Its head tells the length of a body that does not come.
    head_only: bool,
    /// When it has to be over, come what may.
    deadline: Option<Pin<Box<Sleep>>>,
    /// For whom it is: it is broken off when they may not have it any more.
    standing: Option<Standing>,
    /// Watches for that, once the body makes somebody wait: most never do.
    ended: Option<Pin<Box<dyn Future<Output = StandingEnd> + Send>>>,
    activity: Activity,
    /// What is told of its end.
    account: Option<Account>,
    /// Gives the connection back that it comes from, when the body is dropped.
    _lease: Option<Lease>,
    /// Trailers may carry identity headers like any header section.
    trailer_rules: Option<Arc<ForwardingRules>>,
}

impl StreamedBody {
    /// The body of a request: its trailers lose their identity headers.
    pub(crate) fn of_request(
        inner: Incoming,
        limits: BodyLimits,
        rules: &Arc<ForwardingRules>,
    ) -> Self {
        let activity = Activity::of(&inner);
        let trailer_rules = Some(Arc::clone(rules));
        Self { activity, trailer_rules, ..Self::of_response(inner, limits) }
    }

    /// The body of a response.
    pub(crate) fn of_response(inner: Incoming, limits: BodyLimits) -> Self {
        Self {
            inner,
            limits,
            passed: 0,
            silence: None,
            head_only: false,
            deadline: None,
            standing: None,
            ended: None,
            activity: Activity::none(),
            account: None,
            _lease: None,
            trailer_rules: None,
        }
    }

    /// The body that a 304 has not. hyper would remove the `Content-Length` from before an end that it sees coming, though
    /// there it tells what a 200 would have (RFC 9110 §15.4.5, §8.6).
    pub(super) fn head_only(self) -> Self {
        Self { head_only: true, ..self }
    }

    /// The body, broken off at `deadline`.
    pub(super) fn until(self, deadline: Option<Instant>) -> Self {
        Self { deadline: deadline.map(|at| Box::pin(sleep_until(at))), ..self }
    }

    /// The body, broken off when `standing` ends.
    pub(crate) fn only_while(self, standing: Option<Standing>) -> Self {
        Self { standing, ..self }
    }

    /// The body, with an account of its end.
    pub(super) fn told_by(self, account: Account) -> Self {
        Self { account: Some(account), ..self }
    }

    /// The body, which ends `lease` with its own end.
    pub(super) fn over(self, lease: Option<Lease>) -> Self {
        Self { _lease: lease, ..self }
    }

    /// Tells when a frame last passed.
    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    fn pass(&mut self, mut frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyFault> {
        self.silence = None;
        self.activity.note();
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
        match Pin::new(&mut self.inner).poll_frame(cx) {
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
        let next = ready!(self.poll_next(cx));
        if let (Some(Err(fault)), Some(account)) = (&next, &self.account) {
            account.broke_off(fault);
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        !self.head_only && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.head_only { SizeHint::default() } else { self.inner.size_hint() }
    }
}

impl fmt::Debug for StreamedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedBody").field("passed", &self.passed).finish_non_exhaustive()
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
    /// None for a body that nobody waits for, or that is at its end from the beginning.
    last_millis: Option<Arc<AtomicU64>>,
}

impl Activity {
    fn none() -> Self {
        Self { since: Instant::now(), last_millis: None }
    }

    fn of(body: &Incoming) -> Self {
        let moves = !body.is_end_stream();
        Self { last_millis: moves.then(Arc::default), ..Self::none() }
    }

    fn note(&self) {
        let Some(last) = &self.last_millis else { return };
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        last.store(millis, Ordering::Relaxed);
    }

    pub(super) fn last(&self) -> Instant {
        let millis = self.last_millis.as_ref().map_or(0, |last| last.load(Ordering::Relaxed));
        self.since + Duration::from_millis(millis)
    }
}
