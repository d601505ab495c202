//! Names that no key has.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use super::KeyId;

/// Made-up names that the set in memory does not hold. A further set ends them all.
#[derive(Debug, Default)]
pub(super) struct AbsentNames(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// The number of the set that they are not in.
    set: u64,
    names: HashSet<KeyId>,
}

impl AbsentNames {
    /// The most that are remembered. Those that come again come soon, so that all are forgotten when there are more.
    const MOST: usize = 4096;

    /// Remembers that the set of this number does not hold the name.
    pub(super) fn note(&self, key_id: &KeyId, set: u64) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if set > noted.set || noted.names.len() >= Self::MOST {
            noted.names.clear();
        }
        noted.set = noted.set.max(set);
        if set == noted.set {
            noted.names.insert(key_id.clone());
        }
    }

    /// Whether it is remembered that the set of this number does not hold the name.
    pub(super) fn hold(&self, key_id: &KeyId, set: u64) -> bool {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.set == set && noted.names.contains(key_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> KeyId {
        KeyId::new(&format!("kid-{number}")).unwrap()
    }

    #[test]
    fn a_name_is_absent_from_the_set_of_which_that_was_said_and_from_no_other() {
        let absent = AbsentNames::default();
        absent.note(&name(1), 7);
        assert!(absent.hold(&name(1), 7));
        assert!(
            !absent.hold(&name(2), 7) && !absent.hold(&name(1), 6) && !absent.hold(&name(1), 8)
        );
        absent.note(&name(2), 8);
        assert!(absent.hold(&name(2), 8) && !absent.hold(&name(1), 8) && !absent.hold(&name(1), 7));
        absent.note(&name(3), 7);
        assert!(!absent.hold(&name(3), 8), "what is said of an older set comes too late");
    }

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let absent = AbsentNames::default();
        for number in 0..3 * AbsentNames::MOST {
            absent.note(&name(number), 1);
            assert!(absent.hold(&name(number), 1));
        }
        assert!(absent.0.lock().unwrap().names.len() <= AbsentNames::MOST);
    }
}
