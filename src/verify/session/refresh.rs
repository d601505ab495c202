//! A refresh token that was opened, and a browser's session that was.

use std::{fmt, sync::Arc};

use super::{
    super::{
        identity::Identity,
        seal::{Purpose, SealError},
    },
    AppleGrant, Content, Grant, SessionCookie, SessionFault, SessionId, SessionSpan, Sessions, Who,
};
use crate::clock::UnixTime;

/// A session by its refresh token, or by a browser's cookie: whom it is of, and what Apple granted them. It was ours; that
/// it is still good is found out by whoever opened it, a [`Verifier`](super::super::Verifier).
pub struct RefreshToken {
    pub(super) span: SessionSpan,
    pub(super) identity: Arc<Identity>,
    pub(super) who: Who,
    pub(super) generation: u64,
    pub(super) grant: Option<AppleGrant>,
}

impl RefreshToken {
    /// The session.
    #[must_use]
    pub const fn session_id(&self) -> &SessionId {
        &self.span.id
    }

    /// The same, and when it is over at the latest.
    pub(crate) const fn span(&self) -> SessionSpan {
        self.span
    }

    /// Whom Apple's token proved when it began. It expires when this token does.
    #[must_use]
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// What Apple granted at the sign-in, if that is known.
    #[must_use]
    pub const fn grant(&self) -> Option<&AppleGrant> {
        self.grant.as_ref()
    }

    /// The same with another grant, such as one that Apple has just confirmed.
    #[must_use]
    pub fn with_grant(self, grant: Option<AppleGrant>) -> Self {
        Self { grant, ..self }
    }

    fn read(content: Content, expires_at: UnixTime) -> Option<Self> {
        let Content { sid, who, at, generation, grant, .. } = content;
        let (id, sealed_at) = (SessionId::parse(&sid)?, UnixTime::from_secs(at));
        Some(Self {
            span: SessionSpan::new(id, UnixTime::from_secs(who.end)),
            identity: Arc::new(who.clone().identity(id, sealed_at, expires_at)?),
            who,
            generation: generation.unwrap_or_default(),
            // One that cannot be read is none: the session is as good without it.
            grant: grant.and_then(Grant::into_grant),
        })
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken")
            .field("generation", &self.generation)
            .field("grant", &self.grant.is_some())
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Opens an access token. Whether it is still good is another question.
    pub(super) fn open(&self, text: &str) -> Result<Identity, SessionFault> {
        let content: Content = self.0.keys.open(Purpose::Access, text)?;
        let expires_at = self.expiry_of(&content, Purpose::Access);
        let id = SessionId::parse(&content.sid).ok_or(SessionFault::Malformed)?;
        content
            .who
            .identity(id, UnixTime::from_secs(content.at), expires_at)
            .ok_or(SessionFault::Malformed)
    }

    /// Opens a refresh token, or a browser's session, with the grant that it holds.
    pub(super) fn open_whole(
        &self,
        purpose: Purpose,
        text: &str,
    ) -> Result<RefreshToken, SessionFault> {
        let content: Content = self.0.keys.open(purpose, text)?;
        let expires_at = self.expiry_of(&content, purpose);
        RefreshToken::read(content, expires_at).ok_or(SessionFault::Malformed)
    }

    /// The session of a browser's cookie, by our seal alone, unless it was ended or is over for good. Whoever ends it need not
    /// know whether it is good: what is not good today may be tomorrow.
    pub(crate) fn find_unended(&self, text: &str) -> Option<RefreshToken> {
        let session = self.open_whole(Purpose::Cookie, text).ok()?;
        let span = session.span;
        let is_over = self.0.ended.contains(&span.id) || span.forgotten_at() <= self.now();
        (!is_over).then_some(session)
    }

    /// A new cookie for the session of an old one, so that it does not expire while it is used.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub fn renew_in_browser(
        &self,
        cookie: RefreshToken,
        lifetime: std::time::Duration,
    ) -> Result<SessionCookie, SealError> {
        let RefreshToken { span, who, grant, .. } = cookie;
        let cookie = self.cookie(span.id, who, grant.as_ref().map(Grant::from), lifetime)?;
        self.count("renewed");
        Ok(cookie)
    }

    /// When the token ends: as was said when it was sealed, unless tokens and sessions live for less by now.
    fn expiry_of(&self, content: &Content, purpose: Purpose) -> UnixTime {
        let settings = &self.0.settings;
        let lifetime = match purpose {
            Purpose::Access => settings.access_lifetime,
            Purpose::Refresh | Purpose::Nonce | Purpose::Cookie | Purpose::State => {
                settings.refresh_lifetime
            }
        };
        let sealed_at = UnixTime::from_secs(content.at);
        let expires_at = UnixTime::from_secs(content.exp);
        expires_at.min(sealed_at.saturating_add(lifetime)).min(self.end_for(&content.who))
    }
}
