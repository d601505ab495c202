//! Whether the store does what it is asked.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tracing::warn;

use super::StoreError;
use crate::telemetry::{Metrics, causes};

/// What is known of a store's health. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Health(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    metrics: Metrics,
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Debug)]
struct Trouble {
    cause: String,
    since: Instant,
}

impl Health {
    /// A store that was just opened.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Parts { metrics, trouble: Mutex::default() }))
    }

    /// Takes note of what became of a question.
    pub(super) fn noted<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match &done {
            Ok(_) => self.is_well(),
            Err(error) => self.has_failed(error),
        }
        done
    }

    pub(super) fn is_well(&self) {
        self.0.metrics.store_failing.set(0);
        drop(self.trouble().take());
    }

    pub(super) fn has_failed(&self, error: &StoreError) {
        self.0.metrics.store_failing.set(1);
        self.0.metrics.store_errors.inc();
        let mut trouble = self.trouble();
        let since = trouble.as_ref().map_or_else(Instant::now, |trouble| trouble.since);
        *trouble = Some(Trouble { cause: causes(error), since });
    }

    /// This many records that were found are none of ours.
    pub(super) fn skipped(&self, records: u64) {
        self.0.metrics.store_records_skipped.inc_by(records);
        warn!(records, "the store holds what is no record of ours; it was skipped");
    }

    /// `in use`, or for how long it has been failing, and why.
    pub(crate) fn tell(&self) -> String {
        match &*self.trouble() {
            None => "in use".to_owned(),
            Some(Trouble { cause, since }) => {
                let seconds = since.elapsed().as_secs();
                format!("failing for {seconds}s, and requests go on without it: {cause}")
            }
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
