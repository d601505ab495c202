//! How old what we know is.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::RevocationsFault;

/// When it was last certain that the list is what the store holds.
#[derive(Debug)]
pub(in super::super) struct Freshness {
    since: Instant,
    /// Milliseconds after `since`, and one more, so that zero is never.
    confirmed: AtomicU64,
    first: Notify,
}

const NEVER: u64 = 0;
const FOR_GOOD: u64 = u64::MAX;

impl Default for Freshness {
    fn default() -> Self {
        let (confirmed, first) = (AtomicU64::new(NEVER), Notify::new());
        Self { since: Instant::now(), confirmed, first }
    }
}

impl Freshness {
    /// It is certain at this moment.
    pub(in super::super) fn confirm(&self) {
        let millis = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(FOR_GOOD);
        self.set(millis.saturating_add(1));
    }

    /// It is certain from here on.
    pub(in super::super) fn confirm_for_good(&self) {
        self.set(FOR_GOOD);
    }

    fn set(&self, confirmed: u64) {
        self.confirmed.store(confirmed, Ordering::Release);
        self.first.notify_waiters();
    }

    /// Waits until it has been certain once.
    pub(in super::super) async fn confirmed(&self) {
        let first = self.first.notified();
        if self.confirmed.load(Ordering::Acquire) == NEVER {
            first.await;
        }
    }

    /// How long ago that was.
    pub(in super::super) fn age(&self) -> Option<Duration> {
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
    pub(in super::super) fn check(&self, limit: Option<Duration>) -> Result<(), RevocationsFault> {
        let Some(limit) = limit else {
            // No clock is asked where none matters.
            let is_known = self.confirmed.load(Ordering::Acquire) != NEVER;
            return if is_known { Ok(()) } else { Err(RevocationsFault::NotLoaded) };
        };
        match self.age() {
            None => Err(RevocationsFault::NotLoaded),
            Some(age) if age <= limit => Ok(()),
            Some(age) => Err(RevocationsFault::Stale { age: Duration::from_secs(age.as_secs()) }),
        }
    }
}
