//! A database that is opened anew after it failed.
//!
//! After an error of the disk redb does nothing more, so that a disk which was full once would be full until a restart.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use redb::Database;
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};
use tracing::{info, warn};

use super::{super::StoreError, opening::open};
use crate::telemetry::causes;

/// The database in a file, and what is done when it fails.
#[derive(Debug)]
pub(super) struct Reopening {
    path: PathBuf,
    state: RwLock<State>,
    failed: Notify,
}

#[derive(Debug)]
enum State {
    Open(Opened),
    Failed(Failed),
}

#[derive(Debug)]
struct Opened {
    database: Database,
    since: Instant,
    /// The pause before it was opened.
    pause: Duration,
}

#[derive(Debug)]
struct Failed {
    cause: Arc<dyn Error + Send + Sync>,
    pause: Duration,
    retry_at: Instant,
}

impl Reopening {
    /// The pause before the first attempt to open it anew.
    pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
    /// The longest pause between two attempts. What held for longer was good, and the next pause is a short one.
    const LONGEST_PAUSE: Duration = Duration::from_secs(30);

    /// Opens the file `path`, or makes it.
    ///
    /// # Errors
    ///
    /// Those of [`open`].
    pub(super) fn open(path: PathBuf) -> Result<Self, StoreError> {
        let opened = Opened::now(open(&path)?, Duration::ZERO);
        Ok(Self { path, state: RwLock::new(State::Open(opened)), failed: Notify::new() })
    }

    /// Does `work`, which may block, with the database; opens it anew before, if it failed a while ago.
    ///
    /// # Errors
    ///
    /// [`StoreError::File`]; at once, and for the same reason, between a failure and the next attempt to open it.
    pub(super) fn run<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.open_if_due();
        let state = self.read();
        let opened = match &*state {
            State::Open(opened) => opened,
            State::Failed(failed) => {
                return Err(StoreError::File(Arc::clone(&failed.cause).into()));
            }
        };
        let (since, done) = (opened.since, work(&opened.database));
        drop(state);
        done.map_err(|error| self.give_up(since, error))
    }

    /// Resolves when it fails.
    pub(super) fn failed(&self) -> Notified<'_> {
        self.failed.notified()
    }

    /// Closes the database that was opened at `since`, unless somebody did: it does not recover by itself.
    fn give_up(&self, since: Instant, error: redb::Error) -> StoreError {
        let cause: Arc<dyn Error + Send + Sync> = Arc::new(error);
        let mut state = self.write();
        if let State::Open(opened) = &*state
            && opened.since == since
        {
            *state = State::Failed(opened.failed(Arc::clone(&cause)));
            self.failed.notify_waiters();
        }
        StoreError::File(cause.into())
    }

    fn open_if_due(&self) {
        if !self.read().is_due() {
            return;
        }
        let mut state = self.write();
        if !state.is_due() {
            return;
        }
        if let State::Failed(failed) = &mut *state
            && let Some(opened) = failed.open(&self.path)
        {
            *state = State::Open(opened);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_due(&self) -> bool {
        match self {
            Self::Open(_) => false,
            Self::Failed(failed) => failed.retry_at <= Instant::now(),
        }
    }
}

impl Opened {
    fn now(database: Database, pause: Duration) -> Self {
        Self { database, since: Instant::now(), pause }
    }

    fn failed(&self, cause: Arc<dyn Error + Send + Sync>) -> Failed {
        let was_good = self.since.elapsed() > Reopening::LONGEST_PAUSE;
        let pause = longer(if was_good { Duration::ZERO } else { self.pause });
        Failed { cause, pause, retry_at: Instant::now() + pause }
    }
}

impl Failed {
    fn open(&mut self, path: &Path) -> Option<Opened> {
        let pause = self.pause;
        // Before the attempt: it counts if it panics, too.
        self.pause = longer(pause);
        self.retry_at = Instant::now() + self.pause;
        match open(path) {
            Ok(database) => {
                info!("the store was opened anew");
                Some(Opened::now(database, pause))
            }
            Err(error) => {
                warn!(cause = causes(&error), "the store cannot be opened anew");
                self.cause = Arc::new(error);
                None
            }
        }
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(Reopening::SHORTEST_PAUSE, Reopening::LONGEST_PAUSE)
}
