//! The door at which apps sign in, and what people can do there besides.

use std::sync::Arc;

use super::build::Surroundings;
use crate::{
    config::Settings,
    endpoints::{Accounts, SignIn, SignInParts},
    verify::Verifier,
};

/// The door at which apps sign in, if there is to be one.
pub(super) fn build_sign_in(
    settings: &Settings,
    verifier: &Verifier,
    surroundings: &Surroundings,
) -> Option<SignIn> {
    let house = SignInParts {
        verifier: verifier.clone(),
        policy: settings.policy.clone(),
        trusted_peers: settings.trusted_peers.clone(),
        cors: settings.cors.clone(),
        realm: settings.realm.clone(),
        accounts: build_accounts(surroundings),
        metrics: surroundings.metrics.clone(),
    };
    Some(SignIn::new(surroundings.sign_in.clone()?, house))
}

/// What ends accounts, where there are sessions.
fn build_accounts(surroundings: &Surroundings) -> Option<Accounts> {
    let Surroundings { sessions, recorder, token_endpoint, clock, .. } = surroundings;
    let (sessions, recorder) = sessions.clone().zip(recorder.clone())?;
    Some(Accounts {
        sessions,
        endpoint: token_endpoint.clone(),
        recorder,
        clock: Arc::clone(clock),
    })
}
