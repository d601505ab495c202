//! Which sessions were ended before their time: held in memory, fed by a store, as the list of revocations is.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;
use tracing::info;

use super::{
    super::{
        error::VerifyError,
        followed::{Followed, StoreLink},
        freshness::{ListFault, RefusalList},
    },
    SessionFault, SessionId,
};
use crate::{
    clock::{Clock, UnixTime},
    store::{Pair, Record, Space, Write},
    telemetry::Metrics,
};

/// The sessions that were ended, each until the last of its tokens has expired.
pub(super) struct EndedSessions {
    until: RwLock<HashMap<SessionId, UnixTime>>,
    /// How many there are: no lock is taken for this.
    count: AtomicUsize,
    link: StoreLink,
    /// How old the list may be while its store cannot be reached; any age unless set.
    max_staleness: Option<Duration>,
    changes: watch::Sender<()>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl EndedSessions {
    /// An empty list, which a store has yet to fill.
    pub(super) fn new(
        max_staleness: Option<Duration>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self {
            until: RwLock::default(),
            count: AtomicUsize::new(0),
            link: StoreLink::new(RefusalList::EndedSessions),
            max_staleness,
            changes: watch::Sender::new(()),
            clock,
            metrics,
        }
    }

    /// Refuses the session `id` if it was ended.
    ///
    /// # Errors
    ///
    /// [`SessionFault::Ended`]; [`VerifyError::RevocationsUnavailable`] when it is not on the list, and the list cannot be
    /// relied on.
    pub(super) fn check(&self, id: &SessionId) -> Result<(), VerifyError> {
        if self.contains(id) {
            return Err(SessionFault::Ended.into());
        }
        Ok(self.reliable()?)
    }

    fn reliable(&self) -> Result<(), ListFault> {
        self.link.freshness.check(self.max_staleness)
    }

    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.read().contains_key(id)
    }

    /// Resolves when the session `id` is ended, which may be never.
    pub(super) async fn ended(&self, id: &SessionId) {
        let mut changes = self.changes.subscribe();
        while !self.contains(id) {
            // The sender is here, so that it cannot be closed.
            changes.changed().await.ok();
        }
    }

    /// Puts the session `id` on the list until `expires_at`.
    pub(super) fn add(&self, id: SessionId, expires_at: UnixTime) {
        if self.raise(id, expires_at) {
            self.note_change();
        }
    }

    /// The record that says so in a store.
    pub(super) fn record_of(&self, id: &SessionId, expires_at: UnixTime) -> Record {
        let value = Pair(self.clock.now().as_secs(), 0).to_string();
        Record { key: id.to_text(), value, expires_at }
    }

    /// Waits until the list has been read.
    pub(super) async fn loaded(&self) {
        self.link.freshness.confirmed().await;
    }

    /// Relies on the list as it is, for ever.
    pub(super) fn rely(&self) {
        self.link.freshness.confirm_for_good();
    }

    /// Forgets those whose tokens have all expired.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        self.write().retain(|_, expires_at| *expires_at > now);
        self.note_count();
    }

    /// Whether that was news.
    fn raise(&self, id: SessionId, expires_at: UnixTime) -> bool {
        let mut until = self.write();
        let known = until.entry(id).or_insert(UnixTime::from_secs(0));
        let is_news = known.as_secs() == 0;
        *known = expires_at.max(*known);
        self.count.store(until.len(), Ordering::Release);
        is_news
    }

    fn note_count(&self) {
        let count = self.read().len();
        self.count.store(count, Ordering::Release);
        self.metrics.ended_sessions.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<SessionId, UnixTime>> {
        self.until.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<SessionId, UnixTime>> {
        self.until.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for EndedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndedSessions").field("sessions", &self.count).finish_non_exhaustive()
    }
}

impl Followed for EndedSessions {
    fn link(&self) -> &StoreLink {
        &self.link
    }

    fn take(&self, record: &Record) -> bool {
        let id = SessionId::parse(&record.key);
        id.is_some_and(|id| self.raise(id, record.expires_at))
    }

    fn missing_from(&self, records: &[Record]) -> Vec<Write> {
        let there: Vec<SessionId> =
            records.iter().filter_map(|record| SessionId::parse(&record.key)).collect();
        let there: std::collections::HashSet<SessionId> = there.into_iter().collect();
        let now = self.clock.now();
        let until = self.read();
        let missing =
            until.iter().filter(|(id, expires_at)| !there.contains(id) && **expires_at > now);
        let raise = |(id, at): (&SessionId, &UnixTime)| {
            Write::Raise(Space::EndedSessions, self.record_of(id, *at))
        };
        missing.map(raise).collect()
    }

    fn note_change(&self) {
        self.note_count();
        self.changes.send_replace(());
    }

    fn found_again(&self) {
        info!("the list of ended sessions is what the store holds");
    }
}
