//! Once a day Apple is asked whether a session's consent still stands
//! (<https://developer.apple.com/documentation/signinwithapple/verifying-a-user>): what it withdrew without a word to us ends.

use std::{fmt, sync::Arc};

use moka::sync::Cache;
use tracing::{info, warn};

use crate::{
    apple::TokenEndpoint,
    authn::Rejection,
    clock::{Clock, UnixTime},
    telemetry::causes,
    verify::{AppleGrant, Fault, RefreshToken, SessionFault, SessionId, Sessions},
};

/// Asks Apple. Clones share what was asked of late.
#[derive(Clone)]
pub(crate) struct AppleCheck {
    endpoint: Option<TokenEndpoint>,
    clock: Arc<dyn Clock>,
    /// When Apple was last asked about a session here: a page loads in many requests, and all of them bring the old cookie.
    asked: Cache<SessionId, UnixTime>,
}

impl fmt::Debug for AppleCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppleCheck").finish_non_exhaustive()
    }
}

impl AppleCheck {
    /// Sessions about which it is remembered that Apple was asked.
    const REMEMBERED: u64 = 100_000;

    /// Asks at `endpoint`; nobody, if there is none.
    pub(crate) fn new(endpoint: Option<TokenEndpoint>, clock: Arc<dyn Clock>) -> Self {
        Self { endpoint, clock, asked: Cache::new(Self::REMEMBERED) }
    }

    /// `session` as Apple sees it.
    ///
    /// # Errors
    ///
    /// [`SessionFault::Ended`] when Apple says that the grant is none any more, and [`Rejection::Undecided`] when it has not
    /// been to be asked for longer than it may.
    pub(super) async fn check(
        &self,
        session: RefreshToken,
        sessions: &Sessions,
    ) -> Result<RefreshToken, Rejection> {
        let Some((endpoint, grant)) = self.endpoint.as_ref().zip(session.grant().cloned()) else {
            return Ok(session);
        };
        let id = *session.session_id();
        if !self.is_due(&id, grant.checked_at, sessions) {
            return Ok(session);
        }
        match endpoint.validate(&grant.client_id, &grant.refresh_token).await {
            Ok(_still_stands) => {
                let checked_at = self.clock.now();
                Ok(session.with_grant(Some(AppleGrant { checked_at, ..grant })))
            }
            Err(fault) if fault.fault() == Fault::Caller => {
                info!(code = fault.code(), "Apple has ended a consent: its session ends");
                end(&id, sessions).await;
                Err(Rejection::Token(SessionFault::Ended.into()))
            }
            Err(fault) => {
                warn!(code = fault.code(), "Apple cannot be asked whether a consent stands");
                self.asked.invalidate(&id);
                self.check_grace(grant.checked_at, sessions)?;
                Ok(session)
            }
        }
    }

    /// Whether it is time to ask about the session `id`, whose answer is of `checked_at`; then nobody else asks meanwhile.
    fn is_due(&self, id: &SessionId, checked_at: UnixTime, sessions: &Sessions) -> bool {
        let (now, every) = (self.clock.now(), sessions.settings().apple_check_every);
        let is_recent = |at: UnixTime| now.saturating_since(at) < every;
        if is_recent(checked_at) || self.asked.get(id).is_some_and(is_recent) {
            return false;
        }
        self.asked.insert(*id, now);
        true
    }

    fn check_grace(&self, checked_at: UnixTime, sessions: &Sessions) -> Result<(), Rejection> {
        let settings = sessions.settings();
        let longest = settings.apple_check_every.saturating_add(settings.apple_grace);
        if self.clock.now().saturating_since(checked_at) < longest {
            return Ok(());
        }
        Err(Rejection::Undecided("Apple has been out of reach for too long"))
    }
}

/// In force here in any case.
async fn end(id: &SessionId, sessions: &Sessions) {
    if let Err(error) = sessions.end(id).await {
        warn!(cause = causes(&error), "the end of a session could not be stored");
    }
}
