//! The door at which apps sign in.

use std::sync::Arc;

use super::surroundings::Surroundings;
use crate::{
    config::Settings,
    endpoints::{AppDoor, BodyReaders, SignInParts},
    verify::Verifier,
};

/// The door at which apps sign in, if there is to be one.
pub(super) fn build_sign_in(
    settings: &Settings,
    verifier: &Verifier,
    surroundings: &Surroundings,
) -> Option<AppDoor> {
    let house = SignInParts {
        verifier: verifier.clone(),
        sessions: surroundings.sessions.clone(),
        token_endpoint: surroundings.token_endpoint.clone(),
        recorder: surroundings.recorder.clone()?,
        apple_check: surroundings.apple_check.clone(),
        clock: Arc::clone(&surroundings.clock),
        policy: settings.policy.clone(),
        trusted_peers: settings.server.trusted_peers.clone(),
        cors: settings.cors.clone(),
        realm: settings.identity.realm.clone(),
        metrics: surroundings.metrics.clone(),
        readers: BodyReaders::of_people(settings.limits.max_requests.get()),
    };
    Some(AppDoor::new(surroundings.sign_in.clone()?, house))
}
