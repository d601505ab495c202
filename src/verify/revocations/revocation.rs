//! What is on the list.

use std::time::Duration;

use super::super::identity::{ClientId, Subject};
use crate::clock::UnixTime;

/// That the tokens of a subject are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    pub(super) subject: Subject,
    pub(super) client_id: Option<ClientId>,
    pub(super) revoked_at: UnixTime,
    pub(super) lifted_at: UnixTime,
}

impl Revocation {
    /// Revokes the tokens of `subject` that were issued at `revoked_at` or before: in all apps, unless
    /// [`for_app`](Self::for_app) says otherwise.
    #[must_use]
    pub const fn new(subject: Subject, revoked_at: UnixTime) -> Self {
        let lifted_at = UnixTime::from_secs(0);
        Self { subject, client_id: None, revoked_at, lifted_at }
    }

    /// The same, for the app `client_id` and those that share its group.
    #[must_use]
    pub fn for_app(self, client_id: ClientId) -> Self {
        Self { client_id: Some(client_id), ..self }
    }

    /// The same, lifted: the tokens are good again, and stay so if it is heard of once more.
    #[must_use]
    pub fn lifted(self) -> Self {
        Self { lifted_at: self.revoked_at, ..self }
    }

    /// Whose tokens.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// For which app and its group; for all if none is named.
    #[must_use]
    pub const fn client_id(&self) -> Option<&ClientId> {
        self.client_id.as_ref()
    }

    /// Tokens that were issued then or before are refused.
    #[must_use]
    pub const fn revoked_at(&self) -> UnixTime {
        self.revoked_at
    }

    /// The first moment at which the subject would be revoked anew, after this was lifted.
    pub(crate) const fn next_moment(&self) -> UnixTime {
        if self.lifted_at.as_secs() == 0 {
            return UnixTime::from_secs(0);
        }
        self.lifted_at.saturating_add(Duration::from_secs(1))
    }

    /// Whether it has been lifted.
    #[must_use]
    pub fn is_lifted(&self) -> bool {
        self.lifted_at >= self.revoked_at
    }
}
