//! For how long somebody who was let in may stay.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use crate::verify::{Identity, Revocations};

/// The standing of somebody who was let in: it ends when their sign-in is revoked. That the token expires besides ends
/// upgraded streams alone, and is known beforehand.
#[derive(Clone)]
pub(crate) struct Standing {
    identity: Arc<Identity>,
    revocations: Revocations,
}

impl Standing {
    pub(super) const fn new(identity: Arc<Identity>, revocations: Revocations) -> Self {
        Self { identity, revocations }
    }

    /// Resolves when it ends, which may be never.
    pub(crate) fn ended(self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move { self.revocations.revoked(&self.identity).await })
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").finish_non_exhaustive()
    }
}
