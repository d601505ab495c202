//! What every room of one running proxy shares, for as long as the process runs.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{
    AppError,
    background::Background,
    revocation::{self, build_recorder},
    sessions::{self, build_sessions},
};
use crate::{
    apple::TokenEndpoint,
    clock::Clock,
    config::Settings,
    endpoints::{AppleCheck, NotificationSettings, Recorder, SignInSettings},
    server::Readiness,
    telemetry::Metrics,
    upstream::Streams,
    verify::{HttpsError, Sessions},
};

/// What every room of one running proxy shares.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    pub(super) streams: Streams,
    pub(super) readiness: Readiness,
    /// The store, and the list that every verifier asks; as the process was started with.
    pub(super) recorder: Option<Recorder>,
    /// Our own sessions, if there are any; as the process was started with.
    pub(super) sessions: Option<Sessions>,
    /// Where Apple's notifications are taken; as the process was started with.
    pub(super) notifications: Option<NotificationSettings>,
    /// Where apps sign in; as the process was started with.
    pub(super) sign_in: Option<SignInSettings>,
    /// Where Apple is asked in our apps' names, if we have a key to sign with; as the process was started with.
    pub(super) token_endpoint: Option<TokenEndpoint>,
    /// Asks there whether consents still stand.
    pub(super) apple_check: AppleCheck,
}

impl Surroundings {
    /// What `settings` ask for, with the lists still empty: see [`start_lists`](Self::start_lists).
    pub(super) fn new(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, AppError> {
        let tasks = TaskTracker::new();
        let recorder = build_recorder(settings, &clock, &metrics, &tasks)?;
        let sessions = build_sessions(settings, recorder.as_ref(), &clock, &metrics, &tasks);
        let token_endpoint = token_endpoint(settings, &clock, &metrics)?;
        Ok(Self {
            apple_check: AppleCheck::new(token_endpoint.clone(), Arc::clone(&clock), tasks.clone()),
            clock,
            metrics,
            tasks,
            streams: Streams::default(),
            readiness: Readiness::default(),
            recorder,
            sessions,
            notifications: settings.notifications.clone(),
            sign_in: settings.sign_in.clone(),
            token_endpoint,
        })
    }

    /// Has the lists of revocations and of ended sessions follow the store; it is ready once both are read.
    pub(super) fn start_lists(&self, background: &Background) -> Result<(), AppError> {
        if let Some(recorder) = &self.recorder {
            revocation::start(recorder, self.readiness.latch("revocations"), background)?;
        }
        if let Some(sessions) = &self.sessions {
            sessions::start(sessions, self.readiness.latch("sessions"), background);
        }
        Ok(())
    }
}

/// Where Apple is asked in our apps' names, if there is a key to sign with.
fn token_endpoint(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    metrics: &Metrics,
) -> Result<Option<TokenEndpoint>, HttpsError> {
    let new = |api| TokenEndpoint::new(api, Arc::clone(clock), metrics.clone());
    settings.apple.api.clone().map(new).transpose()
}
