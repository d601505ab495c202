//! The one task that fetches.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::super::error::FetchFault;
use super::{CurrentSet, Issuer, JwkSet, JwksSettings, JwksSource};
use crate::{
    clock::Clock,
    telemetry::{FetchLabels, Metrics},
};

/// What the refresher tells those who wait.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// Whether a fetch is on its way.
    pub(super) fetching: bool,
    /// How many fetches have ended.
    pub(super) attempts: u64,
    /// When the last one that succeeded ended.
    pub(super) succeeded_at: Option<Instant>,
    /// How the last one failed; none if it did not.
    pub(super) fault: Option<FetchFault>,
}

pub(super) struct Refresher {
    source: Arc<dyn JwksSource>,
    issuer: Issuer,
    settings: JwksSettings,
    current: CurrentSet,
    progress: watch::Sender<Progress>,
    wake: Arc<Notify>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    failures: u32,
}

impl Refresher {
    /// The longest that a source may take, whatever it promises: callers with an unknown key wait for it.
    const LONGEST_FETCH: Duration = Duration::from_secs(10);
    /// The first pause after a failure, doubled with each further one.
    const FIRST_PAUSE: Duration = Duration::from_secs(1);
    /// The longest pause after a failure.
    const LONGEST_PAUSE: Duration = Duration::from_mins(1);

    pub(super) fn new(
        source: Arc<dyn JwksSource>,
        issuer: Issuer,
        settings: JwksSettings,
        current: CurrentSet,
        wake: Arc<Notify>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<Progress>) {
        // The first fetch is as good as on its way: whoever comes before it starts waits for it.
        let (progress, watched) = watch::channel(Progress {
            fetching: true,
            attempts: 0,
            succeeded_at: None,
            fault: None,
        });
        (
            Self { source, issuer, settings, current, progress, wake, clock, metrics, failures: 0 },
            watched,
        )
    }

    /// Fetches, pauses, and fetches again, until it is dropped.
    pub(super) async fn run(mut self) {
        loop {
            self.fetch().await;
            let pause = self.pause();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.wake.notified() => {}
            }
            self.discard_what_is_too_old();
        }
    }

    async fn fetch(&mut self) {
        self.progress.send_modify(|progress| progress.fetching = true);
        let outcome = match timeout(Self::LONGEST_FETCH, self.source.fetch()).await {
            Ok(Ok(text)) => JwkSet::parse(&text, &self.issuer),
            Ok(Err(fault)) => Err(fault),
            Err(elapsed) => Err(FetchFault::transport(elapsed)),
        };
        let result = outcome.as_ref().map_or_else(FetchFault::code, |_| "ok");
        self.metrics.jwks_fetches.get_or_create(&FetchLabels { result }).inc();
        let fault = match outcome {
            Ok(set) => {
                self.swap(set);
                None
            }
            Err(fault) => Some(self.note_failure(fault)),
        };
        self.progress.send_modify(|progress| {
            progress.fetching = false;
            progress.attempts = progress.attempts.saturating_add(1);
            progress.succeeded_at =
                if fault.is_none() { Some(Instant::now()) } else { progress.succeeded_at };
            progress.fault = fault;
        });
    }

    fn swap(&mut self, set: JwkSet) {
        self.metrics.jwks_fetched(self.clock.now());
        self.metrics.jwks_keys.set(i64::try_from(set.len()).unwrap_or(i64::MAX));
        self.metrics.jwks_keys_skipped.inc_by(u64::try_from(set.skipped()).unwrap_or(u64::MAX));
        let first = self.progress.borrow().succeeded_at.is_none();
        if first || self.failures > 0 {
            info!(
                issuer = self.issuer.as_str(),
                keys = set.len(),
                skipped = set.skipped(),
                "key set fetched"
            );
        }
        self.failures = 0;
        let set = match self.current.get(&()) {
            Some(old) => set.succeeding(&old),
            None => set,
        };
        self.current.insert((), set);
    }

    fn note_failure(&mut self, fault: FetchFault) -> FetchFault {
        if self.failures == 0 {
            let cause: &dyn std::error::Error = &fault;
            let source = cause.source().map(ToString::to_string);
            warn!(issuer = self.issuer.as_str(), code = fault.code(), %fault, source, "key set cannot be fetched");
        }
        self.failures = self.failures.saturating_add(1);
        fault
    }

    /// ± 10 % of the period when all is well; a doubling pause when not, half of it by chance; never past the moment at
    /// which the set is too old.
    fn pause(&self) -> Duration {
        let period = self.settings.refresh_every;
        let pause = match self.failures.checked_sub(1) {
            None => period.mul_f64(0.9 + 0.2 * fastrand::f64()),
            Some(earlier) => {
                let longest = Self::LONGEST_PAUSE.min(period);
                let doubled = Self::FIRST_PAUSE
                    .min(period)
                    .saturating_mul(1_u32.checked_shl(earlier).unwrap_or(u32::MAX));
                doubled.min(longest).mul_f64(0.5 + 0.5 * fastrand::f64())
            }
        };
        match self.age() {
            Some(age) if age < self.settings.keep_while_failing => {
                pause.min(self.settings.keep_while_failing.saturating_sub(age))
            }
            _ => pause,
        }
    }

    fn age(&self) -> Option<Duration> {
        self.progress.borrow().succeeded_at.map(|at| at.elapsed())
    }

    /// A set that Apple has not confirmed for so long is believed no more, nor are the verdicts that lean on it.
    fn discard_what_is_too_old(&self) {
        if self.age().is_none_or(|age| age < self.settings.keep_while_failing) {
            return;
        }
        if let Some(set) = self.current.remove(&()) {
            set.withdraw();
            self.metrics.jwks_keys.set(0);
            warn!(issuer = self.issuer.as_str(), "key set is too old to be used");
        }
    }
}
