//! What is handed out to whoever signed in.

use std::time::Duration;

use super::{super::seal::Sealed, SessionId, SessionSpan};
use crate::clock::UnixTime;

/// A pair of tokens, for whoever signed in. They do not print.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionTokens {
    /// To be presented with each request: `Authorization: Bearer siwa_a.…`.
    pub access: Sealed,
    /// To be presented for the next pair, once.
    pub refresh: Sealed,
    /// How long the access token lives, in whole seconds.
    pub access_expires_in: Duration,
    /// How long the refresh token lives, in whole seconds.
    pub refresh_expires_in: Duration,
    /// The session.
    pub session_id: SessionId,
}

/// A browser's session, for its cookie. It does not print.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionCookie {
    /// The value of the cookie.
    pub value: Sealed,
    /// How long it lives, in whole seconds.
    pub expires_in: Duration,
    /// The session.
    pub session_id: SessionId,
    /// When the session is over at the latest, however often it is renewed.
    pub session_ends_at: UnixTime,
}

impl SessionCookie {
    /// The session, and when it is over at the latest.
    pub(crate) const fn span(&self) -> SessionSpan {
        SessionSpan::new(self.session_id, self.session_ends_at)
    }
}
