//! The way out.

use http::{Response, StatusCode, request::Parts as Head};
use tracing::warn;

use super::{
    super::exchange::Exchange,
    Answer, BrowserParts, cookies,
    keeper::{SESSION_COOKIE, expired_session},
    navigation,
    origin::Origins,
    redirect,
};
use crate::{authn::Rejection, telemetry::causes, verify::VerifyError};

impl BrowserParts {
    /// Ends the session, on every replica, and takes the cookie away. It is asked for by a form of ours or by a script of the
    /// application's: another site's page must not sign people out, whatever is said of its requests elsewhere.
    pub(super) async fn log_out(
        &self,
        head: &Head,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let (own, nobody) = (&self.settings.origins, Origins::new([]));
        if navigation::is_forged(&head.method, &head.headers, own, &nobody) {
            return Err(Rejection::CrossOrigin);
        }
        if let Some(text) = cookies::only(&head.headers, SESSION_COOKIE) {
            self.end_session_of(text, exchange).await?;
        }
        let mut response = self.farewell(head);
        response.headers_mut().extend(expired_session());
        Ok(Answer::new(response, "signed_out"))
    }

    /// Whose it is may go, whether or not they may do anything else here.
    async fn end_session_of(&self, text: &str, exchange: &mut Exchange) -> Result<(), Rejection> {
        let session = match self.verifier.reopen_cookie(text) {
            Ok(session) => session,
            // It is over already.
            Err(VerifyError::Rejected(_)) => return Ok(()),
            Err(unjudged) => return Err(unjudged.into()),
        };
        exchange.proves(session.identity());
        self.sessions.end(session.session_id()).await.map_err(|error| {
            warn!(cause = causes(&error), "the end of a session could not be stored");
            Rejection::StoreUnavailable
        })
    }

    /// A page for a window, nothing for a script.
    fn farewell(&self, head: &Head) -> Response<bytes::Bytes> {
        if !navigation::is_navigation(&head.headers) {
            let mut response = Response::new(bytes::Bytes::new());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return response;
        }
        match &self.settings.after_logout {
            Some(to) => redirect(to),
            None => self.settings.say_goodbye(),
        }
    }
}
