//! The store and what lives by it: the list of revocations, and the events that wait to be delivered.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::{AppError, background::Background};
use crate::{
    clock::Clock,
    config::{Settings, StoreSettings},
    endpoints::Recorder,
    server::Latch,
    store::{FileStore, Health, MemoryStore, RedisStore, Space, Store, StoreError},
    telemetry::{Metrics, causes},
    verify::Revocations,
    webhooks::Webhooks,
};

/// Time between two clearings of what has expired.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Time between two looks at how old the list is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Opens the store, with an empty list that is to follow it; nothing where nobody could put anything there: not here, and not
/// elsewhere into a store that is shared.
pub(super) fn build_recorder(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
    tasks: &TaskTracker,
) -> Result<Option<Recorder>, StoreError> {
    let is_filled_here =
        settings.notifications.is_some() || settings.revocations.admin_token.is_some();
    let is_needed = is_filled_here || settings.sessions.is_some() || settings.sign_in.is_some();
    if !is_needed && matches!(settings.store, StoreSettings::Memory) {
        return Ok(None);
    }
    let health = Health::new(metrics.clone());
    let store = open(&settings.store, clock, tasks, &health)?;
    let revocations = Revocations::following(
        settings.revocations.settings.clone(),
        Arc::clone(clock),
        metrics.clone(),
    );
    let webhooks = Webhooks::new(
        settings.webhooks.clone(),
        Arc::clone(&store),
        Arc::clone(clock),
        metrics.clone(),
    );
    Ok(Some(Recorder { store, health, revocations, webhooks, tasks: tasks.clone() }))
}

fn open(
    settings: &StoreSettings,
    clock: &Arc<dyn Clock>,
    tasks: &TaskTracker,
    health: &Health,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match settings {
        StoreSettings::Memory => Arc::new(MemoryStore::new(Arc::clone(clock))),
        StoreSettings::File(path) => {
            Arc::new(FileStore::open(path, Arc::clone(clock), tasks.clone(), health.clone())?)
        }
        StoreSettings::Redis(settings) => {
            Arc::new(RedisStore::new(settings.clone(), health.clone())?)
        }
    })
}

/// Starts what keeps the list up to date and delivers events; `loaded` is opened once the list is read.
pub(super) fn start(
    recorder: &Recorder,
    loaded: Latch,
    background: &Background,
) -> Result<(), AppError> {
    let Recorder { store, revocations, webhooks, .. } = recorder.clone();
    for worker in webhooks.workers().map_err(AppError::Webhooks)? {
        background.spawn(worker);
    }
    let (followed, list) = (Arc::clone(&store), revocations.clone());
    background.spawn(async move { followed.follow(Space::Revocations, &list).await });
    let list = revocations.clone();
    background.spawn(async move {
        list.loaded().await;
        loaded.open();
    });
    background.spawn(keep_small(store, revocations));
    Ok(())
}

/// Forgets what has expired, and tells how old the list is, for ever.
async fn keep_small(store: Arc<dyn Store>, revocations: Revocations) {
    let mut sweep = interval(SWEEP_EVERY);
    let mut look = interval(LOOK_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => revocations.tell_age(),
            _ = sweep.tick() => {
                revocations.sweep();
                if let Err(error) = store.sweep().await {
                    warn!(cause = causes(&error), "the store could not be swept");
                }
            }
        }
    }
}
