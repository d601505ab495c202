//! What lists have in common that are held in memory and fed by a store.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::{debug, warn};

use super::freshness::{Freshness, RefusalList};
use crate::{
    store::{Confirmed, Follower, Record, StoreError, Write},
    telemetry::causes,
};

/// A list that follows a space of a store: its [`Follower`] is the same for all.
pub(super) trait Followed: fmt::Debug + Send + Sync {
    /// How it stands with its store.
    fn link(&self) -> &StoreLink;

    /// Takes in a record; whether it said anything new.
    fn take(&self, record: &Record) -> bool;

    /// What is known here and is not in `records`.
    fn missing_from(&self, records: &[Record]) -> Vec<Write>;

    /// Something new was taken in.
    fn note_change(&self);

    /// The store was out of reach, and is followed again.
    fn found_again(&self);

    /// What is known is what the store holds.
    fn confirmed(&self) {}
}

/// How it stands with the store that a list follows.
#[derive(Debug)]
pub(super) struct StoreLink {
    /// When the list was last certain.
    pub(super) freshness: Freshness,
    /// Whether the store was last heard to be out of reach.
    is_lost: AtomicBool,
}

impl StoreLink {
    /// Nothing was heard of it yet.
    pub(super) fn new(list: RefusalList) -> Self {
        Self { freshness: Freshness::never(list), is_lost: AtomicBool::new(false) }
    }
}

impl<T: Followed> Follower for T {
    fn load(&self, records: Vec<Record>) -> Vec<Write> {
        let mut news = false;
        for record in &records {
            news |= self.take(record);
        }
        if news {
            self.note_change();
        }
        let missing = self.missing_from(&records);
        if !missing.is_empty() {
            let (missing, list) = (missing.len(), self.link().freshness.list());
            warn!(missing, "the store has lost {list}; they are written again");
        }
        missing
    }

    fn raised(&self, record: Record) {
        if self.take(&record) {
            self.note_change();
        }
    }

    fn confirm(&self, until: Confirmed) {
        let StoreLink { freshness, is_lost } = self.link();
        if is_lost.swap(false, Ordering::AcqRel) {
            self.found_again();
        }
        match until {
            Confirmed::Now => freshness.confirm(),
            Confirmed::ForGood => freshness.confirm_for_good(),
        }
        self.confirmed();
    }

    fn lost(&self, error: &StoreError) {
        let StoreLink { freshness, is_lost } = self.link();
        let (cause, list) = (causes(error), freshness.list());
        if is_lost.swap(true, Ordering::AcqRel) {
            return debug!(cause, "the store of {list} cannot be followed");
        }
        warn!(cause, "the store of {list} cannot be followed: the last known list is used");
    }
}
