//! For how long somebody who was let in may stay.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::verify::{Identity, Revocations, Sessions};

/// The standing of somebody who was let in: it ends when their sign-in is revoked, or their session ended. That the token
/// expires besides ends upgraded streams alone, and is known beforehand.
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
    pub(crate) fn ended(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            tokio::select! {
                () = self.revoked() => {}
                () = self.session_ended() => {}
            }
        })
    }

    async fn revoked(&self) {
        match &self.revocations {
            Some(revocations) => revocations.revoked(&self.identity).await,
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

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").finish_non_exhaustive()
    }
}
