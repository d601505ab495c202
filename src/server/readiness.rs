//! Ready when the last latch is open, until the drain begins.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether requests should be sent here. Clones share one state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    closed: Vec<&'static str>,
    draining: bool,
}

impl Readiness {
    /// Holds readiness back until the latch is opened. `name` says what is awaited, e.g. `keys`.
    pub(crate) fn latch(&self, name: &'static str) -> Latch {
        self.state().closed.push(name);
        Latch { name, readiness: self.clone() }
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
        state
            .draining
            .then_some("draining")
            .into_iter()
            .chain(state.closed.iter().copied())
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        if let Some(at) = state.closed.iter().position(|name| *name == self.name) {
            state.closed.remove(at);
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
}
