//! Our own sessions: an app signs in once with Apple's token, and carries ours from then on.
//!
//! A session is two sealed texts. The access token is presented with each request, lives for minutes and opens by itself: no
//! store is asked. The refresh token is presented seldom, for the next pair, and once: using one a second time ends the
//! session, as somebody else may have it. A browser has one text instead, in a cookie.
//!
//! What must be remembered of a session is that it was ended, which every replica holds in memory, and how often it was
//! renewed, which is asked of the store when it is renewed. Everything else is in the tokens. None outlives
//! [`SessionSettings::absolute_lifetime`], which begins when Apple issued the token of the sign-in and is sealed inside, so that
//! a longer one of later lengthens no session.

mod content;
mod ended;
mod ending;
mod fault;
mod grant;
mod id;
mod refresh;
mod reopen;
mod rotation;
mod settings;
mod span;
mod tokens;

use std::{fmt, sync::Arc, time::Duration};

use tokio_util::task::TaskTracker;

use self::{
    content::{Content, Grant, Who},
    ended::EndedSessions,
};
pub(crate) use self::{ending::Ending, span::SessionSpan};
pub use self::{
    fault::{RenewError, SessionFault},
    grant::AppleGrant,
    id::SessionId,
    refresh::{BrowserSession, OpenedSession, RefreshToken},
    settings::SessionSettings,
    tokens::{SessionCookie, SessionTokens},
};
use super::{
    identity::Identity,
    seal::{Purpose, SealError, SealKeys},
};
use crate::{
    clock::{Clock, SystemClock, UnixTime},
    store::{MemoryStore, Space, Store, StoreError},
    telemetry::{Metrics, SessionLabels},
};

/// Makes sessions, opens them and ends them. Clones share what is remembered.
#[derive(Clone)]
pub struct Sessions(Arc<Parts>);

struct Parts {
    keys: SealKeys,
    settings: SessionSettings,
    store: Arc<dyn Store>,
    ended: EndedSessions,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    tasks: TaskTracker,
}

/// What the sessions of a fleet share.
#[derive(Debug)]
pub(crate) struct SessionSurroundings {
    /// Where is remembered what must be.
    pub(crate) store: Arc<dyn Store>,
    /// How old the list of ended sessions may be while the store cannot be reached; any age unless set.
    pub(crate) max_staleness: Option<Duration>,
    /// Who says what time it is.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where to count.
    pub(crate) metrics: Metrics,
    /// Which tracker stores run on that nobody may wait for.
    pub(crate) tasks: TaskTracker,
}

impl Sessions {
    /// Sessions that this process alone remembers, and forgets when it ends: that one was ended, too. Several processes
    /// that share `keys` take each other's.
    #[must_use]
    pub fn new(keys: SealKeys, settings: SessionSettings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let surroundings = SessionSurroundings {
            store: Arc::new(MemoryStore::new(Arc::clone(&clock))),
            max_staleness: None,
            clock,
            metrics: Metrics::new(),
            tasks: TaskTracker::new(),
        };
        let sessions = Self::following(keys, settings, surroundings);
        sessions.0.ended.rely();
        sessions
    }

    /// Sessions that a store remembers. It has yet to tell which were ended: until then none opens.
    pub(crate) fn following(
        keys: SealKeys,
        settings: SessionSettings,
        surroundings: SessionSurroundings,
    ) -> Self {
        let SessionSurroundings { store, max_staleness, clock, metrics, tasks } = surroundings;
        let ended = EndedSessions::new(max_staleness, Arc::clone(&clock), metrics.clone());
        Self(Arc::new(Parts { keys, settings, store, ended, clock, metrics, tasks }))
    }

    /// Begins a session of `identity`, whom Apple's token has just proved.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub fn begin(
        &self,
        identity: &Identity,
        grant: Option<&AppleGrant>,
    ) -> Result<SessionTokens, SealError> {
        let (id, who) = (SessionId::generate()?, self.who(identity));
        let tokens = self.pair(id, &who, 0, grant.map(Grant::from))?;
        self.count("begun");
        Ok(tokens)
    }

    /// Begins a session of `identity` in a browser, which may lie idle for `lifetime`, or as long as any if that is less.
    ///
    /// # Errors
    ///
    /// [`SealError`].
    pub fn begin_in_browser(
        &self,
        identity: &Identity,
        grant: Option<&AppleGrant>,
        lifetime: Duration,
    ) -> Result<SessionCookie, SealError> {
        let (id, who) = (SessionId::generate()?, self.who(identity));
        let cookie = self.cookie(id, who, grant.map(Grant::from), lifetime)?;
        self.count("begun");
        Ok(cookie)
    }

    /// Ends the session `id`, here at once, and on every replica once it is stored: even if whoever asked hangs up meanwhile,
    /// and this future is dropped. Must be called on a tokio runtime. That it was ended is remembered for as long as these
    /// settings let any session live; [`end_of`](Self::end_of) knows for how long this one could.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: others may not hear of it, and a restart forgets it.
    pub async fn end(&self, id: &SessionId) -> Result<(), StoreError> {
        self.end_span(SessionSpan::new(*id, self.end_of_any())).await
    }

    /// Ends the session of `identity`, as [`end`](Self::end) does; nothing, if they presented Apple's token.
    ///
    /// # Errors
    ///
    /// Those of [`end`](Self::end).
    pub async fn end_of(&self, identity: &Identity) -> Result<(), StoreError> {
        match identity.session_span() {
            Some(span) => self.end_span(*span).await,
            None => Ok(()),
        }
    }

    /// Ends the session of `span`, as [`end`](Self::end) does.
    pub(crate) async fn end_span(&self, span: SessionSpan) -> Result<(), StoreError> {
        let ending = self.ending(span);
        ending.come_into_force();
        let raise = ending.write();
        let store = Arc::clone(&self.0.store);
        let storing = self.0.tasks.spawn(async move { store.apply(vec![raise]).await });
        let stored = storing.await.unwrap_or_else(|panic| Err(StoreError::Failed(panic.into())));
        // What is raised is never there already.
        stored.map(|_done| ())
    }

    /// The end of the session of `span`, which whoever asks for it brings about.
    pub(crate) fn ending(&self, span: SessionSpan) -> Ending {
        Ending { sessions: self.clone(), span }
    }

    /// How long sessions live, and how they are checked on.
    #[must_use]
    pub fn settings(&self) -> &SessionSettings {
        &self.0.settings
    }

    /// The keys that seal them.
    #[must_use]
    pub fn keys(&self) -> &SealKeys {
        &self.0.keys
    }

    /// Resolves when the session of `identity` is ended, which may be never.
    pub(crate) async fn ended(&self, identity: &Identity) {
        match identity.session_id() {
            Some(id) => self.0.ended.ended(id).await,
            None => std::future::pending().await,
        }
    }

    /// Hears from the store which sessions are ended, for ever.
    pub(crate) async fn follow(self) {
        self.0.store.follow(Space::EndedSessions, &self.0.ended).await;
    }

    /// Waits until it is known which sessions were ended.
    pub(crate) async fn loaded(&self) {
        self.0.ended.loaded().await;
    }

    /// Forgets sessions that have expired.
    pub(crate) fn sweep(&self) {
        self.0.ended.sweep();
    }

    fn now(&self) -> UnixTime {
        self.0.clock.now()
    }

    /// When all tokens will have expired that a session can have now, by these settings: none outlives its session, and
    /// refresh tokens that live for less today may live for longer tomorrow.
    fn end_of_any(&self) -> UnixTime {
        let SessionSettings { access_lifetime, refresh_lifetime, absolute_lifetime, .. } =
            self.0.settings;
        let lifetime = absolute_lifetime.max(refresh_lifetime).max(access_lifetime);
        self.now().saturating_add(lifetime)
    }

    /// `identity`, in a session that begins.
    fn who(&self, identity: &Identity) -> Who {
        Who::of(identity, identity.issued_at.saturating_add(self.0.settings.absolute_lifetime))
    }

    /// When the session of `who` is over: as was said when it began, unless sessions live for less by now.
    fn end_for(&self, who: &Who) -> UnixTime {
        let issued_at = UnixTime::from_secs(who.iat);
        let by_now = issued_at.saturating_add(self.0.settings.absolute_lifetime);
        by_now.min(UnixTime::from_secs(who.end))
    }

    fn pair(
        &self,
        id: SessionId,
        who: &Who,
        generation: u64,
        grant: Option<Grant>,
    ) -> Result<SessionTokens, SealError> {
        let SessionSettings { access_lifetime, refresh_lifetime, .. } = self.0.settings;
        let access = self.content(id, who.clone(), access_lifetime);
        let refresh = self.content(id, who.clone(), refresh_lifetime);
        let refresh = Content { generation: Some(generation), grant, ..refresh };
        Ok(SessionTokens {
            access_expires_in: access.lifetime(),
            refresh_expires_in: refresh.lifetime(),
            access: self.0.keys.seal(Purpose::Access, &access)?,
            refresh: self.0.keys.seal(Purpose::Refresh, &refresh)?,
            session_id: id,
        })
    }

    fn cookie(
        &self,
        id: SessionId,
        who: Who,
        grant: Option<Grant>,
        lifetime: Duration,
    ) -> Result<SessionCookie, SealError> {
        let lifetime = lifetime.min(self.0.settings.refresh_lifetime);
        let content = Content { grant, ..self.content(id, who, lifetime) };
        Ok(SessionCookie {
            session_ends_at: UnixTime::from_secs(content.who.end),
            expires_in: content.lifetime(),
            value: self.0.keys.seal(Purpose::Cookie, &content)?,
            session_id: id,
        })
    }

    /// What is sealed in any token that is made now and lives for `lifetime`, as long as the session does.
    fn content(&self, id: SessionId, who: Who, lifetime: Duration) -> Content {
        let now = self.now();
        let expires_at = now.saturating_add(lifetime).min(self.end_for(&who));
        Content {
            sid: id.to_text(),
            who,
            at: now.as_secs(),
            exp: expires_at.as_secs(),
            generation: None,
            grant: None,
        }
    }

    fn count(&self, event: &'static str) {
        self.0.metrics.sessions.get_or_create(&SessionLabels { event }).inc();
    }
}

impl Content {
    fn lifetime(&self) -> Duration {
        Duration::from_secs(self.exp.saturating_sub(self.at))
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { keys, settings, ended, .. } = &*self.0;
        f.debug_struct("Sessions")
            .field("keys", keys)
            .field("settings", settings)
            .field("ended", ended)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
