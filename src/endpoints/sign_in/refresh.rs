//! The next tokens of a session (RFC 6749 §6). Each refresh token is good once.

use bytes::Bytes;
use http::HeaderMap;
use tracing::warn;

use super::{
    super::exchange::Exchange,
    Parts, UNSEALED,
    answer::{Answer, Tokens},
    posted::refresh_token_of,
};
use crate::{
    authn::Rejection,
    telemetry::{Outcome, causes},
    verify::RenewError,
};

impl Parts {
    /// Renews the session whose refresh token is in `body`, if whom it is of may still pass.
    pub(super) async fn refresh(
        &self,
        headers: &HeaderMap,
        body: &Bytes,
        exchange: &mut Exchange,
    ) -> Result<Answer, Rejection> {
        let sessions = self.sessions()?;
        let refresh = self.house.verifier.reopen_refresh(&refresh_token_of(headers, body)?)?;
        let session = refresh.session();
        exchange.note_identity(session.identity());
        self.house.policy.check(session.identity())?;
        // One that was used before has Apple asked no more than us.
        sessions.check_unused(&refresh).await.map_err(not_renewed)?;
        let grant = self.house.apple_check.check(session, sessions, None).await?;
        let refresh = refresh.with_grant(grant);
        let tokens = sessions.renew(refresh).await.map_err(not_renewed)?;
        Ok(Answer::json(Outcome::Renewed, &Tokens::of(&tokens)))
    }
}

/// What the caller is told. Why the store cannot be asked is told in the log.
pub(super) fn not_renewed(error: RenewError) -> Rejection {
    match error {
        RenewError::Refused(fault) => Rejection::Token(fault.into()),
        RenewError::Unavailable(error) => {
            warn!(cause = causes(&error), "a session could not be renewed");
            Rejection::StoreUnavailable
        }
        RenewError::Seal(_) => UNSEALED,
    }
}
