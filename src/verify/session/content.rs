//! What is sealed inside the tokens of a session.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    super::{
        claim_names,
        email::Email,
        identity::{ClientId, Identity, Rarely, RealUserStatus, Subject},
        jwks::{Issuer, KeyId, SignedBy},
        secret::AppleRefreshToken,
        texts::Texts,
    },
    AppleGrant, SessionId, SessionSpan,
};
use crate::clock::UnixTime;

/// The content of a token. Times are in seconds since 1970.
#[derive(Serialize, Deserialize)]
pub(super) struct Content {
    /// The session.
    pub(super) sid: String,
    pub(super) who: Who,
    /// When it was sealed.
    pub(super) at: u64,
    /// When it ends.
    pub(super) exp: u64,
    /// How often the session was renewed before; in refresh tokens alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u64>,
    /// Never in access tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) grant: Option<Grant>,
}

/// Somebody whom Apple's signature proved when the session began. The names are those of the claims.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Who {
    iss: String,
    sub: String,
    aud: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<Address>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    real_user_status: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transfer_sub: Option<String>,
    /// The names of the claims that said something.
    told: Vec<String>,
    kid: String,
    /// When Apple issued the token.
    pub(super) iat: u64,
    /// When the session is over at the latest, as was said when it began.
    pub(super) end: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Address {
    at: String,
    verified: bool,
    private: bool,
}

/// [`AppleGrant`] as text.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Grant {
    refresh_token: AppleRefreshToken,
    client_id: String,
    checked_at: u64,
}

impl Who {
    /// `identity`, in a session that is over at `end`.
    pub(super) fn of(identity: &Identity, end: UnixTime) -> Self {
        let text = str::to_owned;
        let address = |email: Email<'_>| Address {
            at: text(email.address()),
            verified: email.is_verified(),
            private: email.is_private(),
        };
        Self {
            iss: text(identity.issuer().as_str()),
            sub: text(identity.subject.as_str()),
            aud: identity.audience().map(|client_id| text(client_id.as_str())).collect(),
            email: identity.email().map(address),
            real_user_status: identity.real_user_status.map(RealUserStatus::as_wire),
            transfer_sub: identity.transfer_subject().map(|subject| text(subject.as_str())),
            told: identity.told().map(text).collect(),
            kid: text(identity.key_id().as_str()),
            iat: identity.issued_at.as_secs(),
            end: end.as_secs(),
        }
    }

    /// The identity of then, in the session `id`, by a token made `sealed_at` one moment and good until another; none if it is
    /// not what another version of ours could have sealed.
    pub(super) fn identity(
        self,
        id: SessionId,
        sealed_at: UnixTime,
        expires_at: UnixTime,
    ) -> Option<Identity> {
        let mut audience = self.aud.iter().map(|text| ClientId::new(text).ok());
        let status = self.real_user_status.map(u64::from);
        let (told, told_rarely) = claim_names::sort(self.told.iter().map(String::as_str));
        let address = self.email.as_ref().map(|email| &*email.at);
        Some(Identity {
            signed_by: Arc::new(SignedBy {
                key_id: KeyId::new(&self.kid)?,
                issuer: Issuer::new(&self.iss),
            }),
            subject: Subject::new(&self.sub)?,
            client_id: audience.next()??,
            email_verified: self.email.as_ref().is_some_and(|email| email.verified),
            email_private: self.email.as_ref().is_some_and(|email| email.private),
            // The others tie Apple's token to the sign-in, which is over.
            texts: Texts::new([address, None, None, None])?,
            real_user_status: status.and_then(RealUserStatus::from_wire),
            nonce_supported: None,
            told,
            issued_at: UnixTime::from_secs(self.iat),
            expires_at,
            rarely: Rarely {
                other_client_ids: audience.collect::<Option<_>>()?,
                transfer_subject: self.transfer_sub.as_deref().and_then(Subject::new),
                told: told_rarely,
                not_before: None,
                session: Some(SessionSpan::new(id, UnixTime::from_secs(self.end))),
                sealed_at: Some(sealed_at),
            }
            .boxed(),
        })
    }
}

impl From<&AppleGrant> for Grant {
    fn from(grant: &AppleGrant) -> Self {
        Self {
            refresh_token: grant.refresh_token.clone(),
            client_id: grant.client_id.as_str().to_owned(),
            checked_at: grant.checked_at.as_secs(),
        }
    }
}

impl Grant {
    pub(super) fn into_grant(self) -> Option<AppleGrant> {
        Some(AppleGrant {
            refresh_token: self.refresh_token,
            client_id: ClientId::new(&self.client_id).ok()?,
            checked_at: UnixTime::from_secs(self.checked_at),
        })
    }
}
