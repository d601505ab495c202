//! `DELETE {path}/account`: somebody deletes their account with the application. An app in which accounts can be made must offer
//! that, and then Apple's consent has to end, too (App Store Review Guideline 5.1.1(v),
//! <https://developer.apple.com/documentation/technotes/tn3194-handling-account-deletions-and-revoking-tokens-for-sign-in-with-apple>).
//!
//! Apple is asked first, and nothing is changed here before it has answered: whoever hears nothing asks again with the same
//! token.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use tracing::{info, warn};

use super::{
    super::{
        exchange::Exchange,
        finished::finished,
        recorder::{Extent, Told},
    },
    Parts, SignInParts,
    answer::Answer,
    posted::refresh_token_of,
    refresh::not_renewed,
};
use crate::{
    authn::Rejection,
    telemetry::{Outcome, causes},
    verify::{AppleGrant, OpenedSession},
};

/// What came of a deletion, side by side.
#[derive(Serialize)]
struct Deleted {
    success: bool,
    apple: &'static str,
    sessions: &'static str,
    application: &'static str,
}

/// What became of the consent at Apple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtApple {
    /// Apple says that it has ended. It says the same if there was none any more.
    Revoked,
    /// Nobody could be asked: at sign-in there was no code, or no team key to redeem it with. It goes on until the person
    /// ends it in the settings of their device.
    NotAsked,
}

impl AtApple {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::NotAsked => "not_asked",
        }
    }
}

impl Parts {
    /// Ends the account of whoever has the refresh token in `body`.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] for a token that is no good; [`Rejection::Apple`] and [`Rejection::StoreUnavailable`] when it is not
    /// done, and may be tried again.
    pub(super) async fn delete_account(
        self: &Arc<Self>,
        headers: &HeaderMap,
        body: &Bytes,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let verifier = &self.house.verifier;
        let sessions = self.sessions()?;
        let refresh = verifier.reopen_refresh(&refresh_token_of(headers, body)?)?;
        exchange.note_identity(refresh.session().identity());
        // One that was used before is somebody else's, or lost: it must not end what its owner goes on using.
        sessions.check_unused(&refresh).await.map_err(not_renewed)?;

        let parts = Arc::clone(self);
        let ending = async move { parts.end_account(refresh.session()).await };
        finished(&self.house.recorder.tasks, ending).await
    }

    /// Ends the consent at Apple and everything here: never the one without the other because somebody hung up.
    async fn end_account(&self, session: &OpenedSession) -> Result<Answer, Rejection> {
        let SignInParts { verifier, recorder, clock, .. } = &self.house;
        let (identity, sessions) = (session.identity(), self.sessions()?);
        let apple = self.revoke(session.grant()).await?;
        let extent = if verifier.is_of_first_issuer(identity) {
            Extent::EverySignIn
        } else {
            Extent::ThisSession
        };
        let ending = identity.session_span().map(|span| sessions.ending(*span));
        let ended = recorder.end_account(identity, ending, extent, clock.now()).await;
        let told = ended.map_err(|error| {
            warn!(cause = causes(&error), "the end of an account could not be stored");
            Rejection::StoreUnavailable
        })?;
        let apple = apple.as_str();
        let application = match told {
            Told::Soon => "told",
            Told::Nobody => "not_told",
        };
        let sessions = match extent {
            Extent::EverySignIn => "ended",
            Extent::ThisSession => "this_one_ended",
        };
        info!(apple, sessions, application, "somebody has deleted their account");
        let deleted = Deleted { success: true, apple, sessions, application };
        Ok(Answer::json(Outcome::AccountDeleted, &deleted))
    }

    async fn revoke(&self, grant: Option<&AppleGrant>) -> Result<AtApple, Rejection> {
        let Some((endpoint, grant)) = self.house.token_endpoint.as_ref().zip(grant) else {
            return Ok(AtApple::NotAsked);
        };
        match endpoint.revoke(&grant.client_id, &grant.refresh_token).await {
            Ok(()) => Ok(AtApple::Revoked),
            // What is no grant any more has ended already.
            Err(fault) if fault.is_invalid_grant() => Ok(AtApple::Revoked),
            Err(fault) => Err(fault.into()),
        }
    }
}
