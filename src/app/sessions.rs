//! Our own sessions, and what keeps it known which were ended.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;

use super::background::Background;
use crate::{
    clock::Clock,
    config::Settings,
    endpoints::Recorder,
    server::Latch,
    telemetry::Metrics,
    verify::{SessionSurroundings, Sessions},
};

/// Time between two clearings of what has expired.
const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// The sessions that the settings ask for, remembered in the recorder's store.
pub(super) fn build_sessions(
    settings: &Settings,
    recorder: Option<&Recorder>,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
    tasks: &TaskTracker,
) -> Option<Sessions> {
    let (entry, recorder) = settings.sessions.clone().zip(recorder)?;
    let surroundings = SessionSurroundings {
        store: Arc::clone(&recorder.store),
        max_staleness: settings.revocations.settings.max_staleness,
        clock: Arc::clone(clock),
        metrics: metrics.clone(),
        tasks: tasks.clone(),
    };
    Some(Sessions::following(entry.keys, entry.settings, surroundings))
}

/// Starts what keeps it known which sessions were ended; `loaded` is opened once it is.
pub(super) fn start(sessions: &Sessions, loaded: Latch, background: &Background) {
    let list = sessions.clone();
    background.spawn(async move {
        list.loaded().await;
        loaded.open();
    });
    background.spawn(sessions.clone().follow());
    background.spawn(keep_small(sessions.clone()));
}

/// Forgets what has expired, for ever.
async fn keep_small(sessions: Sessions) {
    let mut sweep = interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        sweep.tick().await;
        sessions.sweep();
    }
}
