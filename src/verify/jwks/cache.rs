//! The current keys of one source, as readers see them.

use std::sync::{Arc, Mutex, PoisonError};

use moka::sync::Cache;
use tokio::{sync::Notify, time::Instant};

use super::{
    super::error::{KeysFault, TokenFault, VerifyError},
    JwksSettings, KeyId, VerifyingKey,
    absent::AbsentNames,
    kept::KeptSet,
    progress::Progress,
};
use crate::telemetry::Metrics;

/// The one set that readers see: swapped whole, never changed, gone when it is too old to be believed.
pub(super) type CurrentSet = Cache<(), Arc<KeptSet>>;

/// What readers and the refresher of one source share.
#[derive(Debug)]
pub(super) struct SourceCache {
    pub(super) current: CurrentSet,
    pub(super) wake: Notify,
    settings: JwksSettings,
    on_demand: Mutex<Option<OnDemand>>,
    /// Sets are numbered by the successful fetches.
    absent: AbsentNames,
    metrics: Metrics,
}

/// The last fetch that an unknown key caused.
#[derive(Clone, Copy, Debug)]
struct OnDemand {
    asked_at: Instant,
    /// How many fetches will have ended when it has, or one that began before it.
    number: u64,
}

impl SourceCache {
    pub(super) fn new(settings: JwksSettings, metrics: Metrics) -> Self {
        let current =
            Cache::builder().max_capacity(1).time_to_live(settings.keep_while_failing).build();
        let (wake, on_demand, absent) = (Notify::new(), Mutex::new(None), AbsentNames::default());
        Self { current, wake, settings, on_demand, absent, metrics }
    }

    /// The usable key of that name.
    pub(super) fn get(&self, key_id: &KeyId) -> Option<Arc<VerifyingKey>> {
        self.current.get(&())?.find(key_id).cloned()
    }

    /// How many fetches must have ended before the name can be said to be here or not: the one that runs, the one that
    /// somebody asked for, or one of our own if the cooldown allows. None if waiting is of no use.
    pub(super) fn ask_for(&self, key_id: &KeyId, progress: &Progress) -> Option<u64> {
        if self.is_known_to_be_absent(key_id, progress) {
            return None;
        }
        if progress.fetching {
            return Some(progress.attempts.saturating_add(1));
        }
        let awaited = self.take_turn(progress.attempts);
        if awaited.is_none() {
            self.metrics.jwks_refetches_suppressed.inc();
        }
        awaited
    }

    /// *No such key* needs a set that we just saw, which may be the one that we `awaited`; anything less is *could not
    /// judge*.
    pub(super) fn absence_of(
        &self,
        key_id: &KeyId,
        awaited: Option<u64>,
        progress: &Progress,
    ) -> VerifyError {
        if !self.current.contains_key(&()) {
            return KeysFault::NoSet(progress.fault.clone()).into();
        }
        let saw_it = awaited.is_some_and(|number| progress.attempts >= number);
        if self.is_confirmed(progress) || (saw_it && progress.fault.is_none()) {
            self.absent.note(key_id, progress.successes);
            return TokenFault::UnknownKey { key_id: key_id.clone() }.into();
        }
        KeysFault::Unconfirmed(progress.fault.clone()).into()
    }

    /// Whether the set in memory was seen so lately that what it does not hold does not exist.
    fn is_confirmed(&self, progress: &Progress) -> bool {
        let cooldown = self.settings.unknown_key_cooldown;
        progress.succeeded_at.is_some_and(|at| at.elapsed() <= cooldown)
    }

    /// Garbage that comes again is answered from here: nobody is asked, and nothing is waited for.
    pub(super) fn is_known_to_be_absent(&self, key_id: &KeyId, progress: &Progress) -> bool {
        self.is_confirmed(progress)
            && self.absent.hold(key_id, progress.successes)
            && self.current.contains_key(&())
    }

    /// The number of the fetch that an unknown key may cause now, or share: one that was asked for and has not begun is
    /// as good as one that runs. Else time alone decides, whatever the set holds and however the `ended` fetches did.
    fn take_turn(&self, ended: u64) -> Option<u64> {
        let asked_at = Instant::now();
        let cooldown = self.settings.unknown_key_cooldown;
        let mut last = self.on_demand.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some(last) if last.number > ended => return Some(last.number),
            Some(last) if asked_at.duration_since(last.asked_at) < cooldown => return None,
            Some(_) | None => {}
        }
        let number = ended.saturating_add(1);
        *last = Some(OnDemand { asked_at, number });
        self.wake.notify_one();
        Some(number)
    }
}
