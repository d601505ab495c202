//! Once a day Apple is asked whether a session's consent still stands
//! (<https://developer.apple.com/documentation/signinwithapple/verifying-a-user>): what it withdrew without a word to us ends.

use std::{fmt, sync::Arc, time::Duration};

use moka::sync::Cache;
use tracing::{info, warn};

use crate::{
    apple::TokenEndpoint,
    authn::Rejection,
    clock::{Clock, UnixTime},
    telemetry::causes,
    verify::{AppleGrant, RefreshToken, SessionFault, SessionId, SessionSpan, Sessions},
};

/// Asks Apple. Clones share what was asked of late.
#[derive(Clone)]
pub(crate) struct AppleCheck {
    endpoint: Option<TokenEndpoint>,
    clock: Arc<dyn Clock>,
    /// What came of asking about a session here: a page loads in many requests, and all of them bring the old cookie.
    asked: Cache<SessionId, Asked>,
}

/// What came of asking about a session.
#[derive(Clone, Copy)]
struct Asked {
    /// When it may be asked about again.
    again_at: UnixTime,
    /// Whether Apple has answered; not while an answer is waited for.
    is_answered: bool,
}

impl fmt::Debug for AppleCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppleCheck").finish_non_exhaustive()
    }
}

impl AppleCheck {
    /// Sessions about which it is remembered that Apple was asked.
    const REMEMBERED: u64 = 100_000;
    /// Time until Apple is asked again about a session after it did not answer: else each request of everybody whose turn
    /// it is would wait for it.
    const RETRY_AFTER: Duration = Duration::from_mins(1);

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
        let (span, settings) = (session.span(), sessions.settings());
        let id = *session.session_id();
        let now = self.clock.now();
        if now.saturating_since(grant.checked_at) < settings.apple_check_every {
            return Ok(session);
        }
        if let Some(asked) = self.asked.get(&id).filter(|asked| now < asked.again_at) {
            if !asked.is_answered {
                self.check_grace(grant.checked_at, sessions)?;
            }
            return Ok(session);
        }
        // Nobody else asks meanwhile.
        let again_at = now.saturating_add(Self::RETRY_AFTER);
        self.asked.insert(id, Asked { again_at, is_answered: false });
        match endpoint.validate(&grant.client_id, &grant.refresh_token).await {
            Ok(_still_stands) => {
                let checked_at = self.clock.now();
                let again_at = checked_at.saturating_add(settings.apple_check_every);
                self.asked.insert(id, Asked { again_at, is_answered: true });
                Ok(session.with_grant(Some(AppleGrant { checked_at, ..grant })))
            }
            Err(fault) if fault.is_invalid_grant() => {
                info!(code = fault.code(), "Apple has ended a consent: its session ends");
                end(span, sessions).await;
                Err(Rejection::Token(SessionFault::Ended.into()))
            }
            Err(fault) => {
                warn!(code = fault.code(), "Apple cannot be asked whether a consent stands");
                self.check_grace(grant.checked_at, sessions).map(|()| session)
            }
        }
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
async fn end(span: SessionSpan, sessions: &Sessions) {
    if let Err(error) = sessions.end_span(span).await {
        warn!(cause = causes(&error), "the end of a session could not be stored");
    }
}
