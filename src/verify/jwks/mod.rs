//! The keys: source → fetch → parse → cache → refresh.
//!
//! | state | readers | refresher |
//! |---|---|---|
//! | empty (start) | wait for the fetch that runs, else [`KeysFault::NoSet`] | fetches now, backs off with jitter |
//! | fresh | use it | sleeps until shortly before [`JwksSettings::refresh_every`] is over |
//! | stale, still kept | use it | backs off; warns once per change of state |
//! | beyond [`JwksSettings::keep_while_failing`] | [`KeysFault::NoSet`] | has withdrawn every key; backs off |
//! | `kid` not in the set | share one fetch if the cooldown allows | the fetch *is* the refresh |
//!
//! Nobody waits while the key is in memory, and nobody's hang-up cancels a fetch: fetching is the refresher's alone.

mod key;
mod refresher;
mod set;
mod source;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::refresher::{Progress, Refresher};
pub use self::{
    key::{Issuer, KeyId, VerifyingKey},
    set::JwkSet,
    source::{Fetch, FileJwks, FixedJwks, HttpsJwks, JwksSource, TrustedUrl},
};
use super::error::{KeysFault, TokenFault, VerifyError};
use crate::{clock::Clock, telemetry::Metrics};

/// How keys are kept fresh. Apple sends `Cache-Control: no-store`, so that freshness is ours to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksSettings {
    /// Time between fetches, ± 10 % so that a fleet spreads out. Shorter notices a withdrawn key sooner.
    pub refresh_every: Duration,
    /// How long the last good set is used while fetching fails. Longer rides out an outage of Apple's; shorter drops a
    /// withdrawn key sooner.
    pub keep_while_failing: Duration,
    /// The least time between two fetches that unknown `kid`s cause, so that made-up tokens cannot make us hammer Apple.
    pub unknown_key_cooldown: Duration,
}

impl Default for JwksSettings {
    fn default() -> Self {
        Self {
            refresh_every: Duration::from_mins(15),
            keep_while_failing: Duration::from_hours(24),
            unknown_key_cooldown: Duration::from_secs(30),
        }
    }
}

/// The current key set of one source, kept fresh by a task of its own. Clones share it; the task ends with the last.
#[derive(Clone, Debug)]
pub struct JwksCache {
    current: CurrentSet,
    progress: watch::Receiver<Progress>,
    wake: Arc<Notify>,
    on_demand: Arc<Mutex<Option<Instant>>>,
    cooldown: Duration,
    metrics: Metrics,
    _refresher: Arc<DropGuard>,
}

/// The one set that readers see: swapped whole, never changed, gone when it is too old to be believed.
type CurrentSet = Cache<(), JwkSet>;

impl JwksCache {
    /// Starts fetching from `source` on `tasks`. Must be called on a tokio runtime.
    pub(super) fn start(
        source: Arc<dyn JwksSource>,
        issuer: Issuer,
        settings: JwksSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
        tasks: &TaskTracker,
    ) -> Self {
        let current =
            Cache::builder().max_capacity(1).time_to_live(settings.keep_while_failing).build();
        let wake = Arc::new(Notify::new());
        let stop = CancellationToken::new();
        let cooldown = settings.unknown_key_cooldown;
        let (refresher, progress) = Refresher::new(
            source,
            issuer,
            settings,
            current.clone(),
            Arc::clone(&wake),
            clock,
            metrics.clone(),
        );
        tasks.spawn(stop.clone().run_until_cancelled_owned(refresher.run()));

        let on_demand = Arc::new(Mutex::new(None));
        Self {
            current,
            progress,
            wake,
            on_demand,
            cooldown,
            metrics,
            _refresher: Arc::new(stop.drop_guard()),
        }
    }

    /// The key of that name.
    ///
    /// # Errors
    ///
    /// [`TokenFault::UnknownKey`] when a set fetched within the cooldown does not hold it, [`VerifyError::KeysUnavailable`]
    /// when that cannot be said.
    pub async fn find(&self, key_id: &KeyId) -> Result<Arc<VerifyingKey>, VerifyError> {
        if let Some(key) = self.get(key_id) {
            return Ok(key);
        }
        let asked_at = Instant::now();
        self.share_a_fetch().await;
        self.get(key_id).ok_or_else(|| self.absence_of(key_id, asked_at))
    }

    /// Waits until there is a first usable set.
    pub async fn ready(&self) {
        let mut progress = self.progress.clone();
        // An error means that the refresher was stopped: then nothing will ever be ready.
        if progress.wait_for(|progress| progress.succeeded_at.is_some()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn get(&self, key_id: &KeyId) -> Option<Arc<VerifyingKey>> {
        self.current.get(&())?.find(key_id).cloned()
    }

    /// Waits for the fetch that runs, or for one of our own if the cooldown allows; returns at once if it does not.
    async fn share_a_fetch(&self) {
        let mut progress = self.progress.clone();
        let Progress { fetching, attempts, .. } = *progress.borrow_and_update();
        if !fetching {
            if !self.take_turn() {
                self.metrics.jwks_refetches_suppressed.inc();
                return;
            }
            self.wake.notify_one();
        }
        // An error means that the refresher was stopped: what is in memory is all there is.
        drop(progress.wait_for(|progress| progress.attempts > attempts).await);
    }

    /// Whether an unknown key may cause a fetch now. Time alone decides, whatever the set holds and however fetches end.
    fn take_turn(&self) -> bool {
        let now = Instant::now();
        let mut last = self.on_demand.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = last.is_none_or(|last| now.duration_since(last) >= self.cooldown);
        if allowed {
            *last = Some(now);
        }
        allowed
    }

    /// *No such key* needs a set that we just saw; anything less is *could not judge*.
    fn absence_of(&self, key_id: &KeyId, asked_at: Instant) -> VerifyError {
        let progress = self.progress.borrow();
        let confirmed =
            progress.succeeded_at.is_some_and(|at| at >= asked_at || at.elapsed() <= self.cooldown);
        if confirmed {
            return TokenFault::UnknownKey { key_id: key_id.clone() }.into();
        }
        let fault = progress.fault.clone();
        if self.current.contains_key(&()) {
            KeysFault::Unconfirmed(fault).into()
        } else {
            KeysFault::NoSet(fault).into()
        }
    }
}

#[cfg(test)]
mod tests;
