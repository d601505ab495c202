//! A refresh token that was opened, and a browser's cookie that was.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    super::{
        identity::Identity,
        seal::{Purpose, SealError},
    },
    AppleGrant, Content, Grant, SessionCookie, SessionFault, SessionId, SessionSpan, Sessions, Who,
};
use crate::clock::UnixTime;

/// What a refresh token, or a browser's cookie, says of its session: whom it is of, and what Apple granted them. It was ours;
/// that it is still good is found out by whoever opened it, a [`Verifier`](super::super::Verifier).
pub struct OpenedSession {
    pub(super) span: SessionSpan,
    pub(super) identity: Arc<Identity>,
    pub(super) who: Who,
    pub(super) grant: Option<AppleGrant>,
}

/// A refresh token that was opened: good for the next pair of tokens, once.
pub struct RefreshToken {
    pub(super) session: OpenedSession,
    pub(super) generation: u64,
}

/// A browser's cookie that was opened: good for its own renewal, and for no tokens.
pub struct BrowserSession(pub(super) OpenedSession);

impl OpenedSession {
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

    fn read(content: Content, expires_at: UnixTime) -> Option<Self> {
        let Content { sid, who, at, grant, .. } = content;
        let (id, sealed_at) = (SessionId::parse(&sid)?, UnixTime::from_secs(at));
        Some(Self {
            span: SessionSpan::new(id, UnixTime::from_secs(who.end)),
            identity: Arc::new(who.clone().identity(id, sealed_at, expires_at)?),
            who,
            // One that cannot be read is none: the session is as good without it.
            grant: grant.and_then(Grant::into_grant),
        })
    }
}

impl RefreshToken {
    /// Its session.
    #[must_use]
    pub const fn session(&self) -> &OpenedSession {
        &self.session
    }

    /// The same with another grant, such as one that Apple has just confirmed.
    #[must_use]
    pub fn with_grant(self, grant: Option<AppleGrant>) -> Self {
        Self { session: OpenedSession { grant, ..self.session }, ..self }
    }
}

impl BrowserSession {
    /// Its session.
    #[must_use]
    pub const fn session(&self) -> &OpenedSession {
        &self.0
    }

    /// The same with another grant, such as one that Apple has just confirmed.
    #[must_use]
    pub fn with_grant(self, grant: Option<AppleGrant>) -> Self {
        Self(OpenedSession { grant, ..self.0 })
    }
}

impl fmt::Debug for OpenedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenedSession")
            .field("grant", &self.grant.is_some())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshToken").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl fmt::Debug for BrowserSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserSession").finish_non_exhaustive()
    }
}

impl Sessions {
    /// Opens an access token. Whether it is still good is another question.
    pub(super) fn open(&self, text: &str) -> Result<Identity, SessionFault> {
        let content: Content = self.0.keys.open(Purpose::Access, text)?;
        let expires_at = self.expiry_of(&content, self.0.settings.access_lifetime);
        let id = SessionId::parse(&content.sid).ok_or(SessionFault::Malformed)?;
        content
            .who
            .identity(id, UnixTime::from_secs(content.at), expires_at)
            .ok_or(SessionFault::Malformed)
    }

    /// Opens a refresh token.
    pub(super) fn open_refresh(&self, text: &str) -> Result<RefreshToken, SessionFault> {
        let content: Content = self.0.keys.open(Purpose::Refresh, text)?;
        let generation = content.generation.ok_or(SessionFault::Malformed)?;
        Ok(RefreshToken { session: self.read(content)?, generation })
    }

    /// Opens a browser's cookie.
    pub(super) fn open_cookie(&self, text: &str) -> Result<BrowserSession, SessionFault> {
        self.read(self.0.keys.open(Purpose::Cookie, text)?).map(BrowserSession)
    }

    fn read(&self, content: Content) -> Result<OpenedSession, SessionFault> {
        let expires_at = self.expiry_of(&content, self.0.settings.refresh_lifetime);
        OpenedSession::read(content, expires_at).ok_or(SessionFault::Malformed)
    }

    /// The session of a browser's cookie, by our seal alone, unless it was ended or is over for good. Whoever ends it need not
    /// know whether it is good: what is not good today may be tomorrow.
    pub(crate) fn find_unended(&self, text: &str) -> Option<OpenedSession> {
        let BrowserSession(session) = self.open_cookie(text).ok()?;
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
        cookie: BrowserSession,
        lifetime: Duration,
    ) -> Result<SessionCookie, SealError> {
        let OpenedSession { span, who, grant, .. } = cookie.0;
        let cookie = self.cookie(span.id, who, grant.as_ref().map(Grant::from), lifetime)?;
        self.count("renewed");
        Ok(cookie)
    }

    /// When the token ends: as was said when it was sealed, unless sessions, or tokens that live for `lifetime`, are over
    /// before that by now.
    fn expiry_of(&self, content: &Content, lifetime: Duration) -> UnixTime {
        let sealed_at = UnixTime::from_secs(content.at);
        let expires_at = UnixTime::from_secs(content.exp);
        expires_at.min(sealed_at.saturating_add(lifetime)).min(self.end_for(&content.who))
    }
}
