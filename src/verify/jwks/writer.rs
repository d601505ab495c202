//! The task that keeps the set on disk as new as the one in memory.

use std::{io, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{info, warn};

use super::disk::{SetFile, Snapshot, count};
use crate::telemetry::Metrics;

/// The task that writes the file, so that a slow disk holds up no fetch and no request.
#[derive(Debug)]
pub(super) struct Writer {
    file: SetFile,
    snapshots: watch::Receiver<Option<Snapshot>>,
    metrics: Metrics,
    written: Option<(u64, Instant)>,
    failing: bool,
}

impl Writer {
    /// A set that has not changed is written again this often, so that the file tells its age.
    const AGAIN_AFTER: Duration = Duration::from_mins(1);
    /// A set that could not be written is tried again so soon.
    const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);

    pub(super) const fn new(
        file: SetFile,
        snapshots: watch::Receiver<Option<Snapshot>>,
        metrics: Metrics,
    ) -> Self {
        Self { file, snapshots, metrics, written: None, failing: false }
    }

    /// Writes what is fetched, until nobody fetches any more. What could not be written is tried again.
    pub(super) async fn run(mut self) {
        loop {
            let changed = if self.failing {
                timeout(Self::TRY_AGAIN_AFTER, self.snapshots.changed()).await.unwrap_or(Ok(()))
            } else {
                self.snapshots.changed().await
            };
            if changed.is_err() {
                return;
            }
            let snapshot = self.snapshots.borrow_and_update().clone();
            if let Some(snapshot) = snapshot.filter(|snapshot| self.is_due(snapshot)) {
                self.write(&snapshot).await;
            }
        }
    }

    async fn write(&mut self, snapshot: &Snapshot) {
        let outcome = self.file.store(snapshot).await;
        match &outcome {
            Ok(()) => self.written = Some((snapshot.generation, Instant::now())),
            Err(_) => self.remove_outdated(snapshot).await,
        }
        self.note(outcome);
    }

    async fn remove_outdated(&self, snapshot: &Snapshot) {
        let Err(error) = self.file.remove_if_outdated_by(snapshot).await else { return };
        count(&self.metrics, "remove", "failed");
        if !self.failing {
            let path = self.file.path().display();
            warn!(%path, %error, "an outdated key set cannot be removed from disk");
        }
    }

    fn is_due(&self, snapshot: &Snapshot) -> bool {
        self.written.is_none_or(|(generation, at)| {
            generation != snapshot.generation || at.elapsed() >= Self::AGAIN_AFTER
        })
    }

    fn note(&mut self, outcome: io::Result<()>) {
        let path = self.file.path().display();
        count(&self.metrics, "store", if outcome.is_ok() { "ok" } else { "failed" });
        match outcome {
            Err(error) if !self.failing => {
                warn!(%path, %error, "the key set cannot be written to disk");
                self.failing = true;
            }
            Ok(()) if self.failing => {
                info!(%path, "the key set is written to disk again");
                self.failing = false;
            }
            Ok(()) | Err(_) => {}
        }
    }
}
