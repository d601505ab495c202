//! For how long somebody who was let in may stay.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::verify::{Identity, Revocations, Sessions, VerifyError};

/// The standing of somebody who was let in: it ends when their sign-in is revoked, their session ended, or nobody can tell any
/// more. That the token expires besides ends upgraded streams alone, and is known beforehand.
#[derive(Clone)]
pub(crate) struct Standing {
    identity: Arc<Identity>,
    revocations: Option<Revocations>,
    sessions: Option<Sessions>,
}

impl Standing {
    pub(super) const fn new(
        identity: Arc<Identity>,
        revocations: Option<Revocations>,
        sessions: Option<Sessions>,
    ) -> Self {
        Self { identity, revocations, sessions }
    }

    /// Resolves when it ends, which may be never.
    pub(crate) fn ended(self) -> Pin<Box<dyn Future<Output = StandingEnd> + Send>> {
        Box::pin(async move {
            tokio::select! {
                end = self.refused() => end,
                () = self.session_ended() => StandingEnd::Refused,
            }
        })
    }

    async fn refused(&self) -> StandingEnd {
        match &self.revocations {
            Some(revocations) => revocations.refused(&self.identity).await.into(),
            None => std::future::pending().await,
        }
    }

    async fn session_ended(&self) {
        match &self.sessions {
            Some(sessions) => sessions.ended(&self.identity).await,
            None => std::future::pending().await,
        }
    }
}

/// Why somebody cannot stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StandingEnd {
    /// Their sign-in is no good any more.
    #[error("the sign-in was revoked, or the session ended")]
    Refused,
    /// Whether it is can not be told.
    #[error("it cannot be told any more whether the sign-in was revoked")]
    Unknown,
}

impl From<VerifyError> for StandingEnd {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Rejected(_) => Self::Refused,
            VerifyError::KeysUnavailable(_) | VerifyError::RevocationsUnavailable(_) => {
                Self::Unknown
            }
        }
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").finish_non_exhaustive()
    }
}
