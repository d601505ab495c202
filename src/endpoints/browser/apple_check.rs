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
        let (now, every) = (self.clock.now(), sessions.settings().apple_check_every);
        let id = *session.session_id();
        let is_recent = |at: UnixTime| now.saturating_since(at) < every;
        if is_recent(grant.checked_at) || self.asked.get(&id).is_some_and(is_recent) {
            return Ok(session);
        }
        self.asked.insert(id, now);
        match endpoint.validate(&grant.client_id, &grant.refresh_token).await {
            Ok(_still_stands) => {
                Ok(session.with_grant(Some(AppleGrant { checked_at: now, ..grant })))
            }
            Err(fault) if fault.fault() == Fault::Caller => {
                info!(code = fault.code(), "Apple has ended a consent: its session ends");
                if let Err(error) = sessions.end(&id).await {
                    warn!(cause = causes(&error), "the end of a session could not be stored");
                }
                Err(Rejection::Token(SessionFault::Ended.into()))
            }
            Err(fault) => {
                warn!(code = fault.code(), "Apple cannot be asked whether a consent stands");
                self.asked.invalidate(&id);
                let longest = every.saturating_add(sessions.settings().apple_grace);
                if now.saturating_since(grant.checked_at) < longest {
                    return Ok(session);
                }
                Err(Rejection::Undecided("Apple has been out of reach for too long"))
            }
        }
    }
}
