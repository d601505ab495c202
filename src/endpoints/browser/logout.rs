//! The way out.

use http::{HeaderMap, Response, StatusCode, request::Parts as Head};

use super::{
    super::{exchange::Exchange, finished::ending_stored},
    Answer, BrowserParts,
    keeper::expired_session,
    navigation,
    origin::Origins,
    redirect,
};
use crate::{authn::Rejection, telemetry::Outcome, verify::OpenedSession};

impl BrowserParts {
    /// Ends the session, on every replica, and takes the cookie away. It is asked for by a form of ours or by a script of the
    /// application's: another site's page must not sign people out, whatever is said of its requests elsewhere.
    pub(super) async fn log_out(
        &self,
        head: &Head,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let (own, nobody) = (&self.settings.origins, Origins::new([]));
        if navigation::may_be_forged(&head.method, &head.headers, own, &nobody) {
            return Err(Rejection::CrossOrigin);
        }
        let mut answer = match self.end_sessions_of(&head.headers, exchange).await {
            Ok(()) => Answer::new(self.farewell(head), Outcome::SignedOut),
            Err(rejection) => self.refused(rejection, None),
        };
        // Whether or not it could be stored: nobody stays signed in here who signs out.
        answer.response.headers_mut().extend(expired_session());
        Ok(answer)
    }

    /// Ends every session that a cookie is of: somebody may have set a second one, and who signs out must not stay signed in
    /// by either. Whose they are may go, whether or not they may do anything else here.
    async fn end_sessions_of(
        &self,
        headers: &HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<(), Rejection> {
        let mut ended = Ok(());
        for session in self.sessions_of(headers) {
            let one = self.end_session(&session, exchange).await;
            ended = ended.and(one);
        }
        ended
    }

    async fn end_session(
        &self,
        session: &OpenedSession,
        exchange: &mut Exchange,
    ) -> Result<(), Rejection> {
        exchange.note_identity(session.identity());
        ending_stored(self.sessions.end_span(session.span()).await)
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
