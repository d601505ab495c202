//! How old what we know is, and whether that is too old.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// A list that says whom to refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalList {
    /// Of subjects whose sign-ins were revoked.
    Revocations,
    /// Of sessions that were ended.
    EndedSessions,
}

impl fmt::Display for RefusalList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Revocations => "revocations",
            Self::EndedSessions => "ended sessions",
        })
    }
}

/// Why it could not be told whether somebody is to be refused.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListFault {
    /// The list has not been read since the start.
    #[error("the list of {list} has not been read yet")]
    NotLoaded {
        /// Which.
        list: RefusalList,
    },
    /// The list is older than it may be.
    #[error("the list of {list} is {} old", humantime::format_duration(*.age))]
    Stale {
        /// Which.
        list: RefusalList,
        /// How old, in whole seconds.
        age: Duration,
    },
}

/// When it was last certain that a list is what the store holds.
#[derive(Debug)]
pub(super) struct Freshness {
    list: RefusalList,
    since: Instant,
    /// Milliseconds after `since`, and one more, so that zero is never.
    confirmed: AtomicU64,
    first: Notify,
}

const NEVER: u64 = 0;
const FOR_GOOD: u64 = u64::MAX;

impl Freshness {
    /// It was never certain.
    pub(super) fn never(list: RefusalList) -> Self {
        let (confirmed, first) = (AtomicU64::new(NEVER), Notify::new());
        Self { list, since: Instant::now(), confirmed, first }
    }

    /// Whose this is.
    pub(super) const fn list(&self) -> RefusalList {
        self.list
    }

    /// It is certain at this moment.
    pub(super) fn confirm(&self) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(FOR_GOOD);
        self.set(millis.saturating_add(1));
    }

    /// It is certain from here on.
    pub(super) fn confirm_for_good(&self) {
        self.set(FOR_GOOD);
    }

    fn set(&self, confirmed: u64) {
        self.confirmed.store(confirmed, Ordering::Release);
        self.first.notify_waiters();
    }

    /// Waits until it has been certain once.
    pub(super) async fn confirmed(&self) {
        let first = self.first.notified();
        if self.confirmed.load(Ordering::Acquire) == NEVER {
            first.await;
        }
    }

    /// How long ago that was.
    pub(super) fn age(&self) -> Option<Duration> {
        match self.confirmed.load(Ordering::Acquire) {
            NEVER => None,
            FOR_GOOD => Some(Duration::ZERO),
            at => {
                let at = Duration::from_millis(at.saturating_sub(1));
                Some(self.since.elapsed().saturating_sub(at))
            }
        }
    }

    /// Waits for as long as the list can be relied on at least, if it may have an age of `limit`.
    pub(super) async fn may_be_over(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        let left = limit.saturating_sub(self.age().unwrap_or_default());
        sleep(left.saturating_add(Duration::from_millis(1))).await;
    }

    /// Whether the list can be relied on, if it may have an age of `limit`.
    pub(super) fn check(&self, limit: Option<Duration>) -> Result<(), ListFault> {
        let list = self.list;
        let Some(limit) = limit else {
            // No clock is asked where none matters.
            let is_known = self.confirmed.load(Ordering::Acquire) != NEVER;
            return if is_known { Ok(()) } else { Err(ListFault::NotLoaded { list }) };
        };
        match self.age() {
            None => Err(ListFault::NotLoaded { list }),
            Some(age) if age <= limit => Ok(()),
            Some(age) => Err(ListFault::Stale { list, age: Duration::from_secs(age.as_secs()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_mins(1));

    fn told(freshness: &Freshness) -> Option<String> {
        freshness.check(LIMIT).err().map(|fault| fault.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_cannot_be_relied_on_is_named() {
        let revocations = Freshness::never(RefusalList::Revocations);
        let ended = Freshness::never(RefusalList::EndedSessions);
        assert_eq!(
            told(&revocations).as_deref(),
            Some("the list of revocations has not been read yet")
        );
        ended.confirm();
        assert_eq!(told(&ended), None);
        advance(Duration::from_secs(61)).await;
        assert_eq!(told(&ended).as_deref(), Some("the list of ended sessions is 1m 1s old"));
    }
}
