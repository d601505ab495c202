//! What `/readyz` waits for, and what it tells.

use std::time::Duration;

use tokio::sync::watch;
use tracing::info;

use super::{reload::LastReload, surroundings::Surroundings};
use crate::{
    clock::UnixTime,
    endpoints::Recorder,
    server::{Latch, Listener, Told},
    telemetry::Metrics,
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
    readiness.describe("keys", move || tell_keys(&metrics, clock.now()));
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

/// `keys: 3, fetched 5m ago`. Who was ready stays so without keys: sessions and public routes need none.
fn tell_keys(metrics: &Metrics, now: UnixTime) -> Told {
    let Some(age) = metrics.jwks_age(now) else { return "none yet".to_owned().into() };
    let age = humantime::format_duration(age);
    match metrics.jwks_keys.get() {
        0 => Told::alarming(format!(
            "none usable (the last were fetched {age} ago; until there are new ones every token of Apple's is answered 503)"
        )),
        keys => format!("keys: {keys}, fetched {age} ago").into(),
    }
}

/// `12 subjects, as the store held them 3s ago`.
fn tell_list(revocations: &Revocations) -> String {
    let subjects = match revocations.len() {
        1 => "1 subject".to_owned(),
        count => format!("{count} subjects"),
    };
    match revocations.age() {
        None => "not read yet".to_owned(),
        Some(Duration::ZERO) => format!("{subjects}, as the store holds them"),
        Some(age) => {
            let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
            format!("{subjects}, as the store held them {age} ago")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Revocation;

    #[test]
    fn keys_that_are_gone_are_alarming_and_those_that_never_came_are_awaited() {
        let (metrics, now) = (Metrics::new(), UnixTime::from_secs(160));
        assert_eq!(tell_keys(&metrics, now), "none yet".to_owned().into());
        metrics.jwks_fetched(UnixTime::from_secs(100));
        metrics.jwks_keys.set(3);
        assert_eq!(tell_keys(&metrics, now), "keys: 3, fetched 1m ago".to_owned().into());
        metrics.jwks_keys.set(0);
        let told = tell_keys(&metrics, now);
        assert!(
            told.is_alarming && told.words.starts_with("none usable (the last were fetched 1m")
        );
    }

    #[test]
    fn one_subject_is_one_and_two_are_several() {
        let revocations = Revocations::new();
        for (subject, told) in [("001", "1 subject,"), ("002", "2 subjects,")] {
            let at = UnixTime::from_secs(u64::from(u32::MAX));
            revocations.add(Revocation::new(subject.parse().unwrap(), at));
            assert!(tell_list(&revocations).starts_with(told), "{}", tell_list(&revocations));
        }
    }
}
