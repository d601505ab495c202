//! As often as `[sessions] apple_check_every` says Apple is asked whether a session's consent still stands
//! (<https://developer.apple.com/documentation/signinwithapple/verifying-a-user>): what it withdrew without a word to us ends.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use moka::{
    ops::compute::{CompResult, Op},
    sync::Cache,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info, warn};

use super::finished::ending_stored;
use crate::{
    apple::{AppleFault, TokenEndpoint},
    authn::Rejection,
    clock::{Clock, UnixTime},
    verify::{AppleGrant, OpenedSession, SessionFault, SessionId, SessionSpan, Sessions},
};

/// Asks Apple. Clones share what was asked of late.
#[derive(Clone)]
pub(crate) struct AppleCheck {
    endpoint: Option<TokenEndpoint>,
    clock: Arc<dyn Clock>,
    /// A question outlives the request that raised it: whoever hangs up, or is a gateway that waits for less long than Apple
    /// takes, has it asked for the next one.
    tasks: TaskTracker,
    /// For so many questions at once: as each outlives its request, nothing else limits how many an Apple that is slow has
    /// pending.
    room: Arc<Semaphore>,
    /// What came of asking about a session here: a page loads in many requests, and all of them bring the old cookie.
    asked: Cache<SessionId, Asked>,
    /// Until when nobody asks, as Apple had no answer for the last one: in seconds since 1970.
    rests_until: Arc<AtomicU64>,
}

/// What came of asking about a session.
#[derive(Clone, Copy)]
struct Asked {
    /// When the consent stood, as far as was known when it was asked or as Apple has answered since.
    stood_at: UnixTime,
    /// When it may be asked about again, if that was too long ago.
    again_at: UnixTime,
}

/// What Apple says.
enum Consent {
    /// It stood at this time.
    Stands(UnixTime),
    Withdrawn,
    /// Nothing that we understood, or not yet.
    Unknown,
}

impl fmt::Debug for AppleCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppleCheck").finish_non_exhaustive()
    }
}

impl AppleCheck {
    /// Sessions about which it is remembered that Apple was asked.
    const REMEMBERED: u64 = 100_000;
    /// Questions that may be pending at once. Whoever finds no room goes on as if Apple had not answered.
    const MOST_PENDING: usize = 64;
    /// Time until Apple is asked again about a session after it did not answer: else each request of everybody whose turn
    /// it is would wait for it.
    const RETRY_AFTER: Duration = Duration::from_mins(1);

    /// Time for which nobody asks after Apple had no answer: else each of many sessions would wait for it in its turn.
    const REST: Duration = Duration::from_secs(10);

    /// Asks at `endpoint`, by `tasks`; nobody, if there is none.
    pub(crate) fn new(
        endpoint: Option<TokenEndpoint>,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
    ) -> Self {
        let room = Arc::new(Semaphore::new(Self::MOST_PENDING));
        let (asked, rests_until) = (Cache::new(Self::REMEMBERED), Arc::default());
        Self { endpoint, clock, tasks, room, asked, rests_until }
    }

    /// The grant of `session` as Apple sees it, which is waited for until `deadline`, if there is one.
    ///
    /// # Errors
    ///
    /// [`SessionFault::Ended`] when Apple says that the grant is none any more, and [`Rejection::Undecided`] when Apple has
    /// been out of reach for longer than `apple_grace` allows.
    pub(super) async fn check(
        &self,
        session: &OpenedSession,
        sessions: &Sessions,
        deadline: Option<Instant>,
    ) -> Result<Option<AppleGrant>, Rejection> {
        let Some((endpoint, grant)) = self.endpoint.as_ref().zip(session.grant()) else {
            return Ok(session.grant().cloned());
        };
        let (id, now) = (*session.session_id(), self.clock.now());
        let asked = self.asked.get(&id);
        let stood_at = asked.map_or(grant.checked_at, |it| it.stood_at.max(grant.checked_at));
        let consent = if now.saturating_since(stood_at) < sessions.settings().apple_check_every {
            Consent::Stands(stood_at)
        } else if self.rests_at(now) || asked.is_some_and(|asked| now < asked.again_at) {
            Consent::Unknown
        } else if let Ok(room) = Arc::clone(&self.room).try_acquire_owned()
            && self.takes_turn(id, stood_at, now)
        {
            let asking = self.clone().ask(
                endpoint.clone(),
                id,
                session.span(),
                grant.clone(),
                sessions.clone(),
            );
            self.answer_by(deadline, room, asking).await
        } else {
            Consent::Unknown
        };
        match consent {
            Consent::Stands(checked_at) => Ok(Some(AppleGrant { checked_at, ..grant.clone() })),
            Consent::Withdrawn => Err(Rejection::Token(SessionFault::Ended.into())),
            Consent::Unknown => {
                self.check_grace(stood_at, sessions).map(|()| session.grant().cloned())
            }
        }
    }

    /// Whether it is this request that asks about the session `id`: of those that come at once, one does.
    fn takes_turn(&self, id: SessionId, stood_at: UnixTime, now: UnixTime) -> bool {
        let turn = Asked { stood_at, again_at: now.saturating_add(Self::RETRY_AFTER) };
        let taken = self.asked.entry(id).and_compute_with(|other| match other {
            Some(other) if other.value().again_at > now || other.value().stood_at > stood_at => {
                Op::Nop
            }
            Some(_) | None => Op::Put(turn),
        });
        matches!(taken, CompResult::Inserted(_) | CompResult::ReplacedWith(_))
    }

    /// What comes of `asking` by `deadline`. It goes on after that, and has the `room` until it is answered.
    async fn answer_by(
        &self,
        deadline: Option<Instant>,
        room: OwnedSemaphorePermit,
        asking: impl Future<Output = Consent> + Send + 'static,
    ) -> Consent {
        let asking = async move {
            let consent = asking.await;
            drop(room);
            consent
        };
        let asking = self.tasks.spawn(asking.in_current_span());
        let answered = match deadline {
            Some(deadline) => timeout_at(deadline, asking).await.ok(),
            None => Some(asking.await),
        };
        answered.and_then(Result::ok).unwrap_or(Consent::Unknown)
    }

    /// Asks, and has the answer known to whoever comes next.
    async fn ask(
        self,
        endpoint: TokenEndpoint,
        id: SessionId,
        span: SessionSpan,
        grant: AppleGrant,
        sessions: Sessions,
    ) -> Consent {
        match endpoint.validate(&grant.client_id, &grant.refresh_token).await {
            Ok(_still_stands) => {
                let stood_at = self.clock.now();
                self.asked.insert(id, Asked { stood_at, again_at: stood_at });
                Consent::Stands(stood_at)
            }
            Err(fault) if fault.is_invalid_grant() => {
                info!(code = fault.code(), "Apple has ended a consent: its session ends");
                // In force here in any case.
                let _told = ending_stored(sessions.end_span(span).await);
                Consent::Withdrawn
            }
            Err(fault) => {
                warn!(code = fault.code(), "Apple cannot be asked whether a consent stands");
                // Any other is about one app or one session.
                if let AppleFault::Unavailable(_) = fault {
                    self.rest();
                }
                Consent::Unknown
            }
        }
    }

    fn rest(&self) {
        let until = self.clock.now().saturating_add(Self::REST);
        self.rests_until.store(until.as_secs(), Relaxed);
    }

    fn rests_at(&self, now: UnixTime) -> bool {
        now.as_secs() < self.rests_until.load(Relaxed)
    }

    fn check_grace(&self, stood_at: UnixTime, sessions: &Sessions) -> Result<(), Rejection> {
        let settings = sessions.settings();
        let longest = settings.apple_check_every.saturating_add(settings.apple_grace);
        if self.clock.now().saturating_since(stood_at) < longest {
            return Ok(());
        }
        Err(Rejection::Undecided("Apple has been out of reach for too long"))
    }
}
