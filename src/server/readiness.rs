//! Ready when the last latch is open, until the drain begins; and what there is to tell about each condition.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Whether requests should be sent here. Clones share one state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    conditions: Vec<Condition>,
    draining: bool,
}

struct Condition {
    name: &'static str,
    is_met: bool,
    tell: Option<Tell>,
}

/// Finds out what there is to tell about a condition now.
type Tell = Arc<dyn Fn() -> Told + Send + Sync>;

/// What there is to tell about a condition, in a few words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The words.
    pub(crate) words: String,
    /// Whether somebody should look at it, though it keeps nobody away.
    pub(crate) is_alarming: bool,
}

impl Told {
    /// What somebody should look at.
    pub(crate) const fn alarming(words: String) -> Self {
        Self { words, is_alarming: true }
    }
}

impl From<String> for Told {
    fn from(words: String) -> Self {
        Self { words, is_alarming: false }
    }
}

/// How a condition stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConditionReport {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Whether it keeps nobody away.
    pub(crate) is_met: bool,
    /// What there is to tell about it; often nothing.
    pub(crate) told: Told,
}

impl Readiness {
    /// Holds readiness back until the latch is opened. `name` says what is awaited, e.g. `keys`.
    pub(crate) fn latch(&self, name: &'static str) -> Latch {
        self.state().conditions.push(Condition { name, is_met: false, tell: None });
        Latch { name, readiness: self.clone() }
    }

    /// Has `tell` asked whenever somebody wants to know about the condition `name`. If nothing waits for it, it is met.
    pub(crate) fn describe<T: Into<Told>>(
        &self,
        name: &'static str,
        tell: impl Fn() -> T + Send + Sync + 'static,
    ) {
        let tell: Option<Tell> = Some(Arc::new(move || tell().into()));
        let mut state = self.state();
        match state.conditions.iter_mut().find(|condition| condition.name == name) {
            Some(condition) => condition.tell = tell,
            None => state.conditions.push(Condition { name, is_met: true, tell }),
        }
    }

    /// Not ready from here on: the process is going away, and whoever balances load should look elsewhere.
    pub(crate) fn drain(&self) {
        self.state().draining = true;
    }

    /// Whether every latch is open and the drain has not begun.
    pub(crate) fn is_ready(&self) -> bool {
        self.reasons().is_empty()
    }

    /// Why not, one reason each: `draining`, and the names of closed latches in the order they were made.
    pub(crate) fn reasons(&self) -> Vec<&'static str> {
        let state = self.state();
        let unmet = state.conditions.iter().filter(|condition| !condition.is_met);
        let draining = state.draining.then_some("draining");
        draining.into_iter().chain(unmet.map(|condition| condition.name)).collect()
    }

    /// How every condition stands, in the order they were made.
    pub(crate) fn reports(&self) -> Vec<ConditionReport> {
        let (mut asked, draining) = {
            let state = self.state();
            let asked = state.conditions.iter();
            let asked: Vec<_> = asked.map(|it| (it.name, it.is_met, it.tell.clone())).collect();
            (asked, state.draining)
        };
        asked.push(("drain", !draining, None));
        // Not under the lock: what is told may take others.
        let standing = |(name, is_met, tell): (_, _, Option<Tell>)| {
            let told = tell.map_or_else(Told::default, |tell| tell());
            ConditionReport { name, is_met, told }
        };
        asked.into_iter().map(standing).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, is_met, .. } = self;
        f.debug_struct("Condition")
            .field("name", name)
            .field("is_met", is_met)
            .finish_non_exhaustive()
    }
}

/// One thing that must have happened before we are ready.
///
/// Not `Clone`, and dropping it leaves it closed: what was awaited has then failed, and will not happen.
#[derive(Debug)]
#[must_use = "readiness waits for it to be opened"]
pub(crate) struct Latch {
    name: &'static str,
    readiness: Readiness,
}

impl Latch {
    /// It has happened; what comes later does not close it again.
    pub(crate) fn open(self) {
        let mut state = self.readiness.state();
        let is_it = |condition: &&mut Condition| condition.name == self.name && !condition.is_met;
        if let Some(condition) = state.conditions.iter_mut().find(is_it) {
            condition.is_met = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_the_last_latch_is_open() {
        let readiness = Readiness::default();
        let keys = readiness.latch("keys");
        let store = readiness.latch("store");
        assert_eq!(readiness.reasons(), ["keys", "store"]);
        keys.open();
        assert!(!readiness.is_ready());
        store.open();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_latch_that_is_dropped_stays_closed() {
        let readiness = Readiness::default();
        drop(readiness.latch("keys"));
        assert_eq!(readiness.reasons(), ["keys"]);
    }

    #[test]
    fn two_latches_of_one_name_are_two() {
        let readiness = Readiness::default();
        let (first, second) = (readiness.latch("keys"), readiness.latch("keys"));
        first.open();
        assert_eq!(readiness.reasons(), ["keys"]);
        second.open();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_drain_is_not_ready_whatever_the_latches_say() {
        let readiness = Readiness::default();
        readiness.drain();
        assert_eq!(readiness.reasons(), ["draining"]);
        readiness.latch("keys").open();
        assert!(!readiness.is_ready());
    }

    #[test]
    fn a_description_is_of_its_condition_and_keeps_nobody_away() {
        let readiness = Readiness::default();
        let keys = readiness.latch("keys");
        readiness.describe("keys", || "none yet".to_owned());
        readiness.describe("config", || "as at the start".to_owned());
        assert_eq!(readiness.reasons(), ["keys"]);
        keys.open();
        let reports: Vec<_> = readiness.reports();
        let told = reports.iter().map(|it| (it.name, it.is_met, it.told.words.as_str()));
        assert!(told.eq([
            ("keys", true, "none yet"),
            ("config", true, "as at the start"),
            ("drain", true, ""),
        ]));
    }
}
