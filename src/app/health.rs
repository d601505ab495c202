//! What `/readyz` waits for, and what it tells.

use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use super::{reload::LastReload, surroundings::Surroundings};
use crate::{
    endpoints::Recorder,
    server::{Latch, Listener},
    verify::{Revocations, Verifier},
};

/// Opens `latch` at the first keys of the verifier that judges then.
pub(super) async fn await_keys(mut verifiers: watch::Receiver<Verifier>, latch: Latch) {
    loop {
        let verifier = verifiers.borrow_and_update().clone();
        tokio::select! {
            () = verifier.ready() => break,
            Ok(()) = verifiers.changed() => {}
        }
    }
    latch.open();
    info!("ready");
}

/// Tells `/readyz?verbose` what there is to tell.
pub(super) fn describe(surroundings: &Surroundings, public: &[Listener], last: &LastReload) {
    let Surroundings { readiness, clock, metrics, recorder, .. } = surroundings.clone();
    readiness.describe("keys", move || match metrics.jwks_age(clock.now()) {
        None => "none yet".to_owned(),
        Some(age) => {
            let age = humantime::format_duration(age);
            format!("keys: {}, fetched {age} ago", metrics.jwks_keys.get())
        }
    });
    let places: Vec<String> = public.iter().map(Listener::describe).collect();
    let places = places.join(", ");
    readiness.describe("listeners", move || places.clone());
    if let Some(Recorder { revocations, health, .. }) = recorder {
        readiness.describe("store", move || health.tell());
        readiness.describe("revocations", move || tell_list(&revocations));
    }
    let last = last.clone();
    readiness.describe("config", move || last.to_string());
}

/// `12 subjects, as the store held them 3s ago`.
fn tell_list(revocations: &Revocations) -> String {
    let subjects = revocations.len();
    match revocations.age() {
        None => "not read yet".to_owned(),
        Some(Duration::ZERO) => format!("{subjects} subjects, as the store holds them"),
        Some(age) => {
            let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
            format!("{subjects} subjects, as the store held them {age} ago")
        }
    }
}
