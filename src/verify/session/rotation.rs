//! Each refresh token is good once. Whoever uses one again has it from somebody else, or has lost the answer.
//!
//! Of each session the store holds how often it was renewed (the generation of the last refresh token that was used) and
//! when. While one is being used, a mark of its own keeps a second replica from using it at the same moment.

use std::time::Duration;

use super::{
    Grant, OpenedSession, RefreshToken, RenewError, SessionFault, SessionTokens, Sessions,
};
use crate::{
    clock::UnixTime,
    store::{Applied, Pair, Record, Space, StoreError, Write},
};

/// For how long the use of a refresh token keeps others from using it at the same moment: longer than any answer takes.
const MARKED_FOR: Duration = Duration::from_mins(5);

/// The last use of a refresh token of a session.
#[derive(Clone, Copy)]
struct LastUse {
    generation: u64,
    at: UnixTime,
}

impl Sessions {
    /// The next pair of tokens for the session of `refresh`, which is then used up.
    ///
    /// A client that lost the answer may use it again for as long as
    /// [`refresh_reuse_grace`](super::SessionSettings::refresh_reuse_grace) says, if nobody has used the answer. Every other
    /// second use ends the session.
    ///
    /// # Errors
    ///
    /// [`RenewError`].
    pub async fn renew(&self, refresh: RefreshToken) -> Result<SessionTokens, RenewError> {
        self.use_up(&refresh).await?;
        let RefreshToken { session: OpenedSession { span, who, grant, .. }, generation } = refresh;
        let grant = grant.as_ref().map(Grant::from);
        let tokens = self.pair(span.id, &who, generation.saturating_add(1), grant)?;
        self.count("renewed");
        Ok(tokens)
    }

    /// Checks that `refresh` is the newest of its session, without using it up: for whoever acts on it once. Of one that was
    /// used before becomes what would if it were used again.
    ///
    /// # Errors
    ///
    /// [`RenewError`].
    pub async fn check_unused(&self, refresh: &RefreshToken) -> Result<(), RenewError> {
        self.check_not_ended(refresh).await?;
        match self.last_use(refresh).await? {
            Some(last) if last.generation >= refresh.generation => {
                self.use_again(refresh, last).await
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn use_up(&self, refresh: &RefreshToken) -> Result<(), RenewError> {
        self.check_not_ended(refresh).await?;
        if let Some(last) = self.last_use(refresh).await?
            && last.generation >= refresh.generation
        {
            return self.use_again(refresh, last).await;
        }
        match self.0.store.apply(self.uses(refresh)).await? {
            Applied::Done => Ok(()),
            // Somebody else was faster, a moment ago.
            Applied::AlreadyThere => {
                let last = self.last_use(refresh).await?;
                let last = last.ok_or(SessionFault::Reused)?;
                self.use_again(refresh, last).await
            }
        }
    }

    /// Asked of the store, and not only of memory: a logout at another replica may be news that is on its way.
    async fn check_not_ended(&self, refresh: &RefreshToken) -> Result<(), RenewError> {
        let key = refresh.session.span.id.to_text();
        if let Some(record) = self.0.store.get(Space::EndedSessions, key).await? {
            self.0.ended.add(refresh.session.span.id, record.expires_at);
            return Err(SessionFault::Ended.into());
        }
        Ok(())
    }

    async fn last_use(&self, refresh: &RefreshToken) -> Result<Option<LastUse>, StoreError> {
        let record =
            self.0.store.get(Space::SpentRefreshes, refresh.session.span.id.to_text()).await?;
        let last = record.and_then(|record| Pair::parse(&record.value));
        Ok(last.map(|Pair(generation, at)| LastUse { generation, at: UnixTime::from_secs(at) }))
    }

    /// That `refresh` is used: for good, and for whoever is about to use it, too.
    fn uses(&self, refresh: &RefreshToken) -> Vec<Write> {
        let (now, key) = (self.now(), refresh.session.span.id.to_text());
        let value = Pair(refresh.generation, now.as_secs()).to_string();
        let mark = Record {
            key: format!("{key}.{}", refresh.generation),
            value: value.clone(),
            expires_at: now.saturating_add(MARKED_FOR),
        };
        let last = Record { key, value, expires_at: refresh.session.span.forgotten_at() };
        vec![Write::Insert(Space::SpentRefreshes, mark), Write::Put(Space::SpentRefreshes, last)]
    }

    async fn use_again(&self, refresh: &RefreshToken, last: LastUse) -> Result<(), RenewError> {
        let since = self.now().saturating_since(last.at);
        let is_answer_unused = last.generation == refresh.generation;
        if is_answer_unused && since < self.0.settings.refresh_reuse_grace {
            return Ok(());
        }
        self.count("reused");
        tracing::info!("a refresh token was used a second time: its session is ended");
        // In force here in any case. Where it cannot be stored, the next use of a token of this session will be told.
        self.end_span(refresh.session.span).await?;
        Err(SessionFault::Reused.into())
    }
}
