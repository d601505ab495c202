//! What happened to an account, by Apple's word.

use crate::{
    clock::UnixTime,
    verify::{ClientId, Printable, Revocation, SignedNotification, Subject, TokenFault},
};

/// A notification that Apple signed, understood.
///
/// ```no_run
/// use siwa_proxy::{Revocations, UnverifiedToken, Verifier, apple::Notification};
///
/// # async fn doc(verifier: Verifier, list: Revocations, payload: &str) -> Result<(), Box<dyn std::error::Error>> {
/// // The list is the one that the verifier was built with; `payload` is what Apple posted.
/// let signed = verifier.receive(&UnverifiedToken::parse(payload)?).await?;
/// let notification = Notification::read(&signed)?;
/// for revocation in notification.revocations() {
///     list.add(revocation);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notification {
    /// What tells it from others. Apple may send one twice.
    pub id: Box<str>,
    /// The app that it was sent for; the first, if it names several.
    pub client_id: ClientId,
    /// The other apps that it names, of which Apple names none.
    pub other_client_ids: Box<[ClientId]>,
    /// When Apple wrote it.
    pub issued_at: UnixTime,
    /// Until when it could come again.
    pub refused_from: UnixTime,
    /// What happened.
    pub event: AccountEvent,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccountEvent {
    /// Something to somebody.
    Known {
        /// What.
        kind: EventKind,
        /// To whom.
        subject: Subject,
        /// When.
        at: UnixTime,
        /// The relay address, where it is about one.
        relay: Option<RelayAddress>,
    },
    /// Something that Apple did not do yet when this was written.
    Unknown {
        /// How Apple names it.
        kind: Printable,
    },
}

/// What can happen to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The relay forwards mail again.
    EmailEnabled,
    /// The relay does not forward mail any more.
    EmailDisabled,
    /// The person stopped using Sign in with Apple with a group of apps.
    ConsentRevoked,
    /// The Apple Account is gone.
    AccountDeleted,
}

/// An address of Apple's relay. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayAddress {
    address: Box<str>,
    is_private: Option<bool>,
}

impl EventKind {
    /// Today's documentation says `account-deleted`, older documentation and the libraries `account-delete`.
    fn from_wire(name: &str) -> Option<Self> {
        Some(match name {
            "email-enabled" => Self::EmailEnabled,
            "email-disabled" => Self::EmailDisabled,
            "consent-revoked" => Self::ConsentRevoked,
            "account-deleted" | "account-delete" => Self::AccountDeleted,
            _ => return None,
        })
    }

    /// The name, as today's documentation of Apple's has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmailEnabled => "email-enabled",
            Self::EmailDisabled => "email-disabled",
            Self::ConsentRevoked => "consent-revoked",
            Self::AccountDeleted => "account-deleted",
        }
    }

    /// The name in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::EmailEnabled => "email_enabled",
            Self::EmailDisabled => "email_disabled",
            Self::ConsentRevoked => "consent_revoked",
            Self::AccountDeleted => "account_deleted",
        }
    }
}

impl AccountEvent {
    /// The name in metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Known { kind, .. } => kind.label(),
            Self::Unknown { .. } => "unknown",
        }
    }
}

impl Notification {
    /// Understands what Apple signed.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Claim`] when a known event does not say whom it is about.
    pub fn read(signed: &SignedNotification) -> Result<Self, TokenFault> {
        let event = match EventKind::from_wire(signed.kind().as_str()) {
            None => AccountEvent::Unknown { kind: signed.kind().clone() },
            Some(kind) => AccountEvent::Known {
                kind,
                subject: signed.subject()?,
                at: signed.event_time(),
                relay: signed.email().map(|address| RelayAddress {
                    address: address.into(),
                    is_private: signed.is_private_email(),
                }),
            },
        };
        Ok(Self {
            id: signed.id().into(),
            client_id: signed.client_id().clone(),
            other_client_ids: signed.other_client_ids().into(),
            issued_at: signed.issued_at(),
            refused_from: signed.refused_from(),
            event,
        })
    }

    /// The apps that it was sent for.
    pub fn client_ids(&self) -> impl Iterator<Item = &ClientId> {
        std::iter::once(&self.client_id).chain(&self.other_client_ids)
    }

    /// Whose tokens it ends, if anybody's. A deleted account is gone for every app; consent is withdrawn from the group of
    /// each app that is named.
    #[must_use]
    pub fn revocations(&self) -> Vec<Revocation> {
        let AccountEvent::Known { kind, subject, at, .. } = &self.event else { return Vec::new() };
        let everywhere = Revocation::new(subject.clone(), *at);
        match kind {
            EventKind::AccountDeleted => vec![everywhere],
            EventKind::ConsentRevoked => {
                self.client_ids().map(|app| everywhere.clone().for_app(app.clone())).collect()
            }
            EventKind::EmailEnabled | EventKind::EmailDisabled => Vec::new(),
        }
    }

    /// What tells it from everything else: its id, and a digest of what it says. Something else under an id that is known is
    /// no repetition.
    pub(crate) fn fingerprint(&self) -> String {
        let AccountEvent::Known { kind, subject, at, relay } = &self.event else {
            return self.id.to_string();
        };
        let apps: Vec<_> = self.client_ids().map(ClientId::as_str).collect();
        let address = relay.as_ref().map_or("", RelayAddress::address);
        let said =
            format!("{} {} {at} {} {address}", kind.as_str(), subject.as_str(), apps.join(","));
        format!("{} {}", self.id, blake3::hash(said.as_bytes()).to_hex())
    }
}

#[cfg(test)]
impl Notification {
    /// One for the tests of those who are told.
    pub(crate) fn fixture(id: &str, client_id: ClientId, event: AccountEvent) -> Self {
        let issued_at = UnixTime::from_secs(1_700_000_000);
        let other_client_ids = Box::default();
        Self {
            id: id.into(),
            client_id,
            other_client_ids,
            issued_at,
            refused_from: issued_at,
            event,
        }
    }
}

impl RelayAddress {
    /// The address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether Apple says that it is one of its relay's.
    #[must_use]
    pub const fn is_private(&self) -> Option<bool> {
        self.is_private
    }
}

impl std::fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayAddress").field("is_private", &self.is_private).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_account_deletion_are_one_event_and_other_names_are_none() {
        for name in ["account-deleted", "account-delete"] {
            assert_eq!(EventKind::from_wire(name), Some(EventKind::AccountDeleted));
        }
        for kind in [
            EventKind::EmailEnabled,
            EventKind::EmailDisabled,
            EventKind::ConsentRevoked,
            EventKind::AccountDeleted,
        ] {
            assert_eq!(EventKind::from_wire(kind.as_str()), Some(kind));
        }
        for name in ["", "Consent-Revoked", "consent_revoked", "account-restored"] {
            assert_eq!(EventKind::from_wire(name), None, "{name}");
        }
    }
}
