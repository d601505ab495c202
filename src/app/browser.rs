//! The door for browsers, and what the gate needs to know of them.

use std::sync::Arc;

use super::surroundings::Surroundings;
use crate::{
    config::Settings,
    endpoints::{BodyReaders, BrowserDoor, BrowserKeeper, BrowserParts, Gate},
    verify::Verifier,
};

/// What keeps the sessions of browsers, if there are to be any.
pub(super) fn build_keeper(
    settings: &Settings,
    verifier: &Verifier,
    surroundings: &Surroundings,
) -> Option<BrowserKeeper> {
    let clock = Arc::clone(&surroundings.clock);
    Some(BrowserKeeper {
        settings: settings.browser.clone()?,
        sessions: surroundings.sessions.clone()?,
        verifier: verifier.clone(),
        apple_check: surroundings.apple_check.clone(),
        clock,
    })
}

/// The door at which browsers sign in, if there is to be one.
pub(super) fn build_browser(
    settings: &Settings,
    gate: &Arc<Gate>,
    verifier: &Verifier,
    surroundings: &Surroundings,
) -> Option<BrowserDoor> {
    Some(BrowserDoor::new(BrowserParts {
        settings: settings.browser.clone()?,
        gate: Arc::clone(gate),
        verifier: verifier.clone(),
        policy: settings.policy.clone(),
        sessions: surroundings.sessions.clone()?,
        recorder: surroundings.recorder.clone()?,
        token_endpoint: surroundings.token_endpoint.clone(),
        clock: Arc::clone(&surroundings.clock),
        trusted_peers: settings.server.trusted_peers.clone(),
        metrics: surroundings.metrics.clone(),
        readers: BodyReaders::of_people(settings.limits.max_requests.get()),
    }))
}
