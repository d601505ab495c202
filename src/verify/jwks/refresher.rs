//! The one task of a source that fetches.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};
use url::{Position, Url};

use super::{
    super::error::FetchFault,
    Issuer, JwkSet, JwksSettings, JwksSource, KeySource,
    cache::SourceCache,
    disk::{Moment, Restored, SetFile, Snapshot},
    fetched::Fetched,
    kept::KeptSet,
    pace,
    progress::BoardPlace,
    writer::Writer,
};
use crate::{
    clock::Clock,
    telemetry::{FetchLabels, Metrics, causes},
};

/// Where a refresher puts what it fetches.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) caches: Arc<[SourceCache]>,
    pub(super) index: usize,
    pub(super) place: BoardPlace,
}

pub(super) struct Refresher {
    source: Arc<dyn JwksSource>,
    issuer: Issuer,
    file: Option<SetFile>,
    to_disk: watch::Sender<Option<Snapshot>>,
    settings: JwksSettings,
    seat: Seat,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    failures: u32,
    skipped: usize,
    /// Of which trouble the log was last told, and when.
    warned: Option<(&'static str, Instant)>,
    /// How often the keys have changed.
    generation: u64,
    /// When the set in memory is too old to be used; none if there is none.
    end: Option<Instant>,
}

impl Refresher {
    /// The longest that reading the last good set from disk may take.
    const LONGEST_LOAD: Duration = Duration::from_secs(2);

    pub(super) fn new(
        source: KeySource,
        settings: JwksSettings,
        seat: Seat,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let KeySource { issuer, source, cache_file } = source;
        let file = cache_file.map(|path| SetFile::new(path, issuer.clone(), &source.place()));
        Self {
            source,
            file,
            issuer,
            to_disk: watch::Sender::new(None),
            settings,
            seat,
            clock,
            metrics,
            failures: 0,
            skipped: 0,
            warned: None,
            generation: 0,
            end: None,
        }
    }

    /// Runs on `tasks` until `stop`, beside the task that writes to disk, if there is a file.
    pub(super) fn spawn(self, tasks: &TaskTracker, stop: &CancellationToken) {
        if let Some(file) = self.file.clone() {
            let writer = Writer::new(file, self.to_disk.subscribe(), self.metrics.clone());
            tasks.spawn(stop.clone().run_until_cancelled_owned(writer.run()));
        }
        tasks.spawn(stop.clone().run_until_cancelled_owned(self.run()));
    }

    /// Fetches, pauses, and fetches again, until it is dropped.
    ///
    /// Fetches on demand come in between and move no schedule: however many made-up names there are, the next scheduled
    /// fetch starts when it was due, or when the one that runs then has ended.
    async fn run(mut self) {
        self.start().await;
        let mut due = self.next_fetch();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(due) => {
                    self.fetch().await;
                    due = self.next_fetch();
                }
                () = wait_for(self.end) => {}
                () = self.wake() => self.fetch().await,
            }
            self.discard_what_is_too_old();
        }
    }

    /// The first fetch, with the last good set from disk to bridge the time until it ends.
    async fn start(&mut self) {
        let fetch = Fetched::ask(Arc::clone(&self.source), self.issuer.clone());
        let Some(file) = self.file.clone() else {
            let outcome = fetch.await;
            return self.settle(outcome);
        };
        let (now, metrics) = (Moment::of(&*self.clock), self.metrics.clone());
        // A disk that hangs must not keep the keys from being fetched again.
        let keep_while_failing = self.settings.keep_while_failing;
        let load = async {
            let read = file.load(now, keep_while_failing, &metrics);
            timeout(Self::LONGEST_LOAD, read).await.ok().flatten()
        };
        tokio::pin!(fetch, load);
        let outcome = tokio::select! {
            biased;
            restored = &mut load => {
                self.restore(restored);
                fetch.await
            }
            outcome = &mut fetch => {
                if outcome.is_err() {
                    // Before those who wait are told of the failure: it need not be theirs.
                    let restored = load.await;
                    self.restore(restored);
                }
                outcome
            }
        };
        self.settle(outcome);
    }

    async fn fetch(&mut self) {
        self.seat.place.note(|progress| progress.fetching = true);
        let outcome = Fetched::ask(Arc::clone(&self.source), self.issuer.clone()).await;
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Result<Fetched, FetchFault>) {
        let result = outcome.as_ref().map_or_else(FetchFault::code, |_| "ok");
        self.metrics.jwks_fetches.get_or_create(&FetchLabels { result }).inc();
        match outcome {
            Ok(fetched) => self.succeed(fetched),
            Err(fault) => self.fail(fault),
        }
    }

    fn succeed(&mut self, Fetched { text, set }: Fetched) {
        let (now, fetched_at, keys) = (Instant::now(), self.clock.now(), set.len());
        self.log_success(&set);
        self.failures = 0;
        self.swap(set, now.checked_add(self.settings.keep_while_failing));
        self.to_disk.send_replace(Some(Snapshot { text, fetched_at, generation: self.generation }));
        self.seat.place.note(|progress| {
            progress.fetching = false;
            progress.attempts = progress.attempts.saturating_add(1);
            progress.successes = progress.successes.saturating_add(1);
            progress.succeeded_at = Some(now);
            progress.fault = None;
            progress.fetched_at = Some(fetched_at);
            progress.keys = keys;
        });
    }

    fn fail(&mut self, fault: FetchFault) {
        self.failures = self.failures.saturating_add(1);
        self.warn_of(&fault);
        self.seat.place.note(|progress| {
            progress.fetching = false;
            progress.attempts = progress.attempts.saturating_add(1);
            progress.fault = Some(fault);
        });
    }

    /// Once for each kind of trouble, and again now and then while it lasts.
    fn warn_of(&mut self, fault: &FetchFault) {
        const AGAIN_AFTER: Duration = Duration::from_mins(10);
        let code = fault.code();
        let known =
            self.warned.is_some_and(|(last, at)| last == code && at.elapsed() < AGAIN_AFTER);
        if known {
            return;
        }
        self.warned = Some((code, Instant::now()));
        let (issuer, failures) = (self.issuer.as_str(), self.failures);
        let from = without_path(self.source.place());
        warn!(issuer, from, code, failures, error = causes(fault), "key set cannot be fetched");
    }

    /// A set from disk serves until a fetch succeeds, and is as old as it says. It confirms nobody's absence.
    fn restore(&mut self, restored: Option<Restored>) {
        let Some(restored) = restored else { return };
        let end = restored.end(self.settings.keep_while_failing);
        let Restored { set, fetched_at, .. } = restored;
        info!(issuer = self.issuer.as_str(), keys = set.len(), %fetched_at, "key set read from disk");
        let keys = set.len();
        self.swap(set, end);
        self.seat.place.note(|progress| {
            progress.fetched_at = Some(fetched_at);
            progress.keys = keys;
        });
    }

    fn swap(&mut self, set: JwkSet, end: Option<Instant>) {
        let Some(cache) = self.cache() else { return };
        // A century or so: the settings allow what an instant does not.
        let end = end.unwrap_or_else(Self::far_future);
        let (set, changed) = match cache.current.get(&()) {
            Some(old) => {
                let changed = !set.is_same_as(old.listed());
                if changed {
                    let kids: Vec<_> = set.keys().map(|key| key.key_id().as_str()).collect();
                    info!(issuer = self.issuer.as_str(), kids = kids.join(" "), "key set changed");
                }
                (old.succeed(set, end, self.settings.removed_key_grace), changed)
            }
            None => (KeptSet::new(set, end), true),
        };
        cache.current.insert((), Arc::new(set));
        self.end = Some(end);
        self.generation = self.generation.saturating_add(u64::from(changed));
    }

    fn far_future() -> Instant {
        let now = Instant::now();
        now.checked_add(Duration::from_hours(24 * 36_500)).unwrap_or(now)
    }

    fn log_success(&mut self, set: &JwkSet) {
        self.metrics.jwks_keys_skipped.inc_by(u64::try_from(set.skipped()).unwrap_or(u64::MAX));
        let (issuer, keys, skipped) = (self.issuer.as_str(), set.len(), set.skipped());
        if self.end.is_none() || self.failures > 0 {
            info!(issuer, keys, skipped, "key set fetched");
        }
        self.warned = None;
        if skipped != self.skipped && skipped > 0 {
            warn!(issuer, keys, skipped, "keys that cannot be used are skipped");
        }
        self.skipped = skipped;
    }

    fn next_fetch(&self) -> Instant {
        Instant::now().checked_add(self.pause()).unwrap_or_else(Self::far_future)
    }

    /// A regular one when all is well; one that doubles when not; never past the moment at which the set is too old.
    fn pause(&self) -> Duration {
        let (period, chance) = (self.settings.refresh_every, fastrand::f64());
        let pause = match self.failures {
            0 => pace::regular(period, chance),
            failures => pace::after_failures(failures, period, chance),
        };
        match self.end.map(|end| end.saturating_duration_since(Instant::now())) {
            Some(left) if !left.is_zero() => pause.min(left),
            _ => pause,
        }
    }

    /// A set that Apple has not confirmed for so long is believed no more. Its keys, and the verdicts that lean on them,
    /// have ended by themselves.
    fn discard_what_is_too_old(&mut self) {
        if self.end.is_none_or(|end| Instant::now() < end) {
            return;
        }
        self.end = None;
        if let Some(set) = self.cache().and_then(|cache| cache.current.remove(&())) {
            set.withdraw();
        }
        self.seat.place.note(|progress| progress.keys = 0);
        warn!(issuer = self.issuer.as_str(), "key set is too old to be used");
    }

    fn cache(&self) -> Option<&SourceCache> {
        self.seat.caches.get(self.seat.index)
    }

    async fn wake(&self) {
        match self.cache() {
            Some(cache) => cache.wake.notified().await,
            None => std::future::pending().await,
        }
    }
}

/// `place`, of an address no more than the host: the rest may be a secret.
fn without_path(place: String) -> String {
    match Url::parse(&place) {
        Ok(url) => url[Position::BeforeHost..Position::AfterPort].to_owned(),
        Err(_no_url) => place,
    }
}

async fn wait_for(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_address_the_log_is_told_the_host_alone() {
        for (place, told) in [
            ("https://appleid.apple.com/auth/keys", "appleid.apple.com"),
            ("https://user:secret@keys.example:8443?token=secret", "keys.example:8443"),
            ("http://[::1]:9/keys", "[::1]:9"),
            ("/etc/keys.json", "/etc/keys.json"),
            ("", ""),
        ] {
            assert_eq!(without_path(place.to_owned()), told, "{place}");
        }
    }
}
