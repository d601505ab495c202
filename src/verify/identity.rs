//! A person for whom Apple vouched. Everything here is made in this folder alone, from claims that were signed.

use std::{fmt, str::FromStr, sync::Arc};

use super::{
    claim_names::{KnownClaims, OtherClaims},
    email::Email,
    jwks::{Issuer, KeyId, SignedBy},
    session::{SessionId, SessionSpan},
    texts::Texts,
};
use crate::clock::UnixTime;

/// Somebody whom Apple's signature proves, as one of our apps knows them.
///
/// Who it is, is the pair of [`issuer`](Self::issuer) and [`subject`](Self::subject) (OpenID Connect Core §2). With one
/// key source the issuer is always the same; with several, each can name any subject, the others' too.
///
/// There is no public way to make one, and none to read one from text but what we sealed ourselves: whoever holds an
/// `Identity` got it from a [`super::Verifier`]. `Debug` shows neither subject nor email.
pub struct Identity {
    pub(super) signed_by: Arc<SignedBy>,
    pub(super) subject: Subject,
    pub(super) client_id: ClientId,
    pub(super) texts: Texts<4>,
    pub(super) email_verified: bool,
    pub(super) email_private: bool,
    pub(super) real_user_status: Option<RealUserStatus>,
    pub(super) nonce_supported: Option<bool>,
    pub(super) told: KnownClaims,
    pub(super) issued_at: UnixTime,
    pub(super) expires_at: UnixTime,
    pub(super) rarely: Option<Box<Rarely>>,
}

/// What few tokens say, and what sessions add. In a box: each verdict that is remembered would have room for it.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Rarely {
    pub(super) other_client_ids: Box<[ClientId]>,
    pub(super) transfer_subject: Option<Subject>,
    pub(super) told: OtherClaims,
    pub(super) not_before: Option<UnixTime>,
    pub(super) session: Option<SessionSpan>,
    pub(super) sealed_at: Option<UnixTime>,
}

impl Rarely {
    /// None if there is nothing in it.
    pub(super) fn boxed(self) -> Option<Box<Self>> {
        (self != Self::default()).then(|| Box::new(self))
    }
}

impl Identity {
    /// Where each is in the texts.
    pub(super) const EMAIL: usize = 0;
    pub(super) const NONCE: usize = 1;
    pub(super) const CODE_HASH: usize = 2;
    pub(super) const ACCESS_TOKEN_HASH: usize = 3;

    /// Who vouches for them: the issuer to whom the key belongs that verified the signature.
    #[must_use]
    pub fn issuer(&self) -> &Issuer {
        &self.signed_by.issuer
    }

    /// Who it is: stable for one developer team, across its apps and across sign-ins. Unique only for its
    /// [`issuer`](Self::issuer).
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Whether `other` is about the same person: by issuer and subject, and nothing else.
    pub(crate) fn is_of_same_person(&self, other: &Self) -> bool {
        self.issuer() == other.issuer() && self.subject == other.subject
    }

    /// The app that the token was issued to (the first, should Apple ever name several).
    #[must_use]
    pub const fn client_id(&self) -> &ClientId {
        &self.client_id
    }

    /// All apps that the token was issued to; each is one of ours.
    pub fn audience(&self) -> impl Iterator<Item = &ClientId> {
        let others = self.rarely().map(|rarely| &*rarely.other_client_ids).unwrap_or_default();
        std::iter::once(&self.client_id).chain(others)
    }

    /// The address that Apple told. It is no identity: it may be absent, relayed, unverified, and change.
    #[must_use]
    pub fn email(&self) -> Option<Email<'_>> {
        let address = self.texts.get(Self::EMAIL)?;
        Some(Email { address, verified: self.email_verified, private: self.email_private })
    }

    /// How likely a human is; Apple says so only at the first sign-in on its own systems.
    #[must_use]
    pub const fn real_user_status(&self) -> Option<RealUserStatus> {
        self.real_user_status
    }

    /// Who it was for the team that transferred the app, within 60 days of the transfer (Apple TN3159).
    #[must_use]
    pub fn transfer_subject(&self) -> Option<&Subject> {
        self.rarely()?.transfer_subject.as_ref()
    }

    /// Whether the token holds the claim `name`, and it is neither `null` nor empty.
    #[must_use]
    pub fn tells(&self, name: &str) -> bool {
        self.told.contains(name) || self.told_rarely().any(|other| *other == *name)
    }

    /// The names of all claims that the token holds, and that are neither `null` nor empty.
    pub(super) fn told(&self) -> impl Iterator<Item = &str> {
        self.told.iter().chain(self.told_rarely())
    }

    fn told_rarely(&self) -> impl Iterator<Item = &str> {
        self.rarely().into_iter().flat_map(|rarely| rarely.told.iter())
    }

    /// Which key verified the signature (`kid`).
    #[must_use]
    pub fn key_id(&self) -> &KeyId {
        &self.signed_by.key_id
    }

    /// When Apple issued the token (`iat`): for a session, the one that it began with.
    #[must_use]
    pub const fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// The session that they are in; none if they present Apple's token.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        self.session_span().map(|span| &span.id)
    }

    /// The same, and when it is over at the latest.
    pub(crate) fn session_span(&self) -> Option<&SessionSpan> {
        self.rarely()?.session.as_ref()
    }

    /// When the token of a session was made; none for Apple's.
    pub(crate) fn sealed_at(&self) -> Option<UnixTime> {
        self.rarely()?.sealed_at
    }

    /// Before when the token is not valid (`nbf`), should Apple ever say so.
    pub(super) fn not_before(&self) -> Option<UnixTime> {
        self.rarely()?.not_before
    }

    fn rarely(&self) -> Option<&Rarely> {
        self.rarely.as_deref()
    }

    /// When the token ends (`exp`), or that of a session, without leeway.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.expires_at
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("client_id", self.client_id())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Apple's user identifier (`sub`, RFC 7519 §4.1.2): 1 to 255 visible ASCII characters, compared exactly.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(Box<str>);

impl Subject {
    const LONGEST: usize = 255; // OpenID Connect Core §2

    /// Takes `text` as it is or not at all: a trimmed or re-encoded subject would be another person's.
    pub(super) fn new(text: &str) -> Option<Self> {
        let legal = (1..=Self::LONGEST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        legal.then(|| Self(text.into()))
    }

    /// The text. It is personal data: keep it out of logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// No subject.
#[derive(Debug, thiserror::Error)]
#[error("a subject is 1 to 255 visible ASCII characters")]
pub struct InvalidSubject;

impl FromStr for Subject {
    type Err = InvalidSubject;

    /// A subject that an operator names.
    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        Self::new(text).ok_or(InvalidSubject)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(..)")
    }
}

/// Apple's guess whether a human signed in (`real_user_status`). `Unknown` must not lock anybody out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RealUserStatus {
    /// 0: the system cannot tell.
    Unsupported,
    /// 1: not enough is known.
    Unknown,
    /// 2: a human, in all likelihood.
    LikelyReal,
}

impl RealUserStatus {
    pub(super) const fn from_wire(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Unsupported),
            1 => Some(Self::Unknown),
            2 => Some(Self::LikelyReal),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn as_wire(self) -> u8 {
        match self {
            Self::Unsupported => 0,
            Self::Unknown => 1,
            Self::LikelyReal => 2,
        }
    }
}

/// An app in Apple's eyes: an App ID (bundle id) or a Services ID. RFC 6749 §2.2.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The app in which all projects of Expo Go run: whoever accepts it, accepts everybody's.
    pub(crate) const EXPO_GO: &str = "host.exp.Exponent";

    /// Takes `text` for a client id: 1 to 255 visible ASCII characters without a comma.
    ///
    /// # Errors
    ///
    /// [`InvalidClientIds::Illegal`].
    pub fn new(text: &str) -> Result<Self, InvalidClientIds> {
        let legal = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if legal && (1..=255).contains(&text.len()) {
            return Ok(Self(text.into()));
        }
        Err(InvalidClientIds::Illegal(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientId({})", self.0)
    }
}

/// The apps whose tokens are accepted. Never empty: no list is no permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIds(Vec<ClientId>);

impl ClientIds {
    /// Collects client ids.
    ///
    /// # Errors
    ///
    /// [`InvalidClientIds`] when there is none, or one of them cannot be a client id.
    pub fn new<I: AsRef<str>>(ids: impl IntoIterator<Item = I>) -> Result<Self, InvalidClientIds> {
        let ids =
            ids.into_iter().map(|id| ClientId::new(id.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if ids.is_empty() { Err(InvalidClientIds::None) } else { Ok(Self(ids)) }
    }

    /// The one that reads exactly `text`. Client ids are few, so that a list beats a map.
    pub(super) fn find(&self, text: &str) -> Option<&ClientId> {
        self.0.iter().find(|id| id.as_str() == text)
    }

    /// Whether `id` is one of them.
    #[must_use]
    pub fn contains(&self, id: &ClientId) -> bool {
        self.0.contains(id)
    }

    /// All of them, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &ClientId> {
        self.0.iter()
    }
}

/// Why a list of client ids cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClientIds {
    /// An empty list would mean "any app of anybody", which is the most common hole in back ends for Apple's tokens.
    #[error("no client id is given: name your app's bundle id or Services ID")]
    None,
    /// Not a client id.
    #[error("`{0}` is not a client id: it needs 1 to 255 visible ASCII characters and no comma")]
    Illegal(String),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::claims::fixtures::identity_with, *};

    #[test]
    fn an_empty_list_of_client_ids_does_not_exist() {
        assert!(matches!(ClientIds::new::<&str>([]), Err(InvalidClientIds::None)));
        assert!(matches!(
            ClientIds::new(["com.example.app", ""]),
            Err(InvalidClientIds::Illegal(_))
        ));
        assert!(matches!(ClientIds::new(["a,b"]), Err(InvalidClientIds::Illegal(_))));
    }

    #[test]
    fn nothing_personal_is_printed() {
        let identity = identity_with(json!({
            "sub": "000001.secret.0001", "email": "secret@example.com", "nonce": "secret",
            "c_hash": "secret", "secret": "secret", "real_user_status": 2,
        }));
        let printed = format!("{identity:?} {:?} {:?}", identity.subject(), identity.email());
        assert!(!printed.contains("secret"), "{printed}");
    }
}
