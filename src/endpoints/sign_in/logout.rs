//! The end of a session, on every replica: by its access token, or by its refresh token, which lives longer.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use serde::Serialize;

use super::{
    super::{exchange::Exchange, finished::ending_stored},
    AppDoor, Parts,
    answer::Answer,
    posted::refresh_token_of,
};
use crate::{
    authn::{Authenticator, Rejection},
    telemetry::Outcome,
    verify::{Identity, Purpose, SessionFault, TokenFault},
};

/// The answer to whoever has signed out.
#[derive(Serialize)]
struct SignedOut {
    success: bool,
}

impl AppDoor {
    /// Reads the body of a `request` to sign out that brings a browser's session: with one of our refresh tokens besides, one
    /// of two sessions would go on, and nobody could say which.
    ///
    /// # Errors
    ///
    /// [`Rejection::SeveralCredentials`] if there is one, good or not, and why nobody can tell if nobody can.
    pub(in crate::endpoints) async fn check_no_token(
        &self,
        request: &mut Request<Incoming>,
    ) -> Result<(), Rejection> {
        let readers = &self.0.house.readers;
        let body = readers.read(request.body_mut(), Self::MAX_BYTES, Self::PATIENCE).await?;
        match refresh_token_of(request.headers(), &body) {
            Ok(_token) => Err(Rejection::SeveralCredentials),
            Err(Rejection::NoCredential) => Ok(()),
            Err(unclear) => Err(unclear),
        }
    }
}

impl Parts {
    /// Ends the session that the request presents a token of. One that has ended already has ended.
    pub(super) async fn log_out(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let sessions = self.sessions()?;
        match self.presented(headers, body, exchange) {
            Ok(identity) => ending_stored(sessions.end_of(&identity).await)?,
            Err(Rejection::Token(TokenFault::Session(SessionFault::Ended))) => {}
            Err(rejection) => return Err(rejection),
        }
        Ok(Answer::json(Outcome::SignedOut, &SignedOut { success: true }))
    }

    /// In whose session the request is: that of the bearer token, whose access token may have expired and whose refresh
    /// token may have not, or of the refresh token in its body.
    fn presented(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        exchange: &mut Exchange,
    ) -> Result<Arc<Identity>, Rejection> {
        let verifier = &self.house.verifier;
        let identity = match Authenticator::session_bearer(headers)? {
            Some(text) if Purpose::of(text) == Some(Purpose::Refresh) => {
                Arc::clone(verifier.reopen_refresh(text)?.session().identity())
            }
            Some(text) => verifier.reopen(text)?,
            None if body.is_empty() => return Err(Rejection::NoCredential),
            None => {
                let refresh = verifier.reopen_refresh(&refresh_token_of(headers, body)?)?;
                Arc::clone(refresh.session().identity())
            }
        };
        exchange.note_identity(&identity);
        Ok(identity)
    }
}
