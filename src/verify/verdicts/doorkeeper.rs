//! Who has been here before? What a full cache asks about a newcomer.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

/// Keeps a trace of each of the last tokens that it was told of: the doorkeeper of `TinyLFU`
/// (<https://arxiv.org/abs/1512.00727>, section 3.4.2), as a table in which newer ones take the place of older ones.
///
/// It may forget, and once in two billion times it takes a token for another: good enough to say what is worth a place.
pub(super) struct Doorkeeper {
    capacity: u64,
    /// Made when it is asked for the first time: most caches are never full.
    traces: OnceLock<Box<[AtomicU32]>>,
}

impl Doorkeeper {
    /// 32 MiB of them: that of a larger cache forgets sooner.
    const MOST_TRACES: usize = 1 << 23;

    /// For a cache of `capacity` entries.
    pub(super) const fn of(capacity: u64) -> Self {
        Self { capacity, traces: OnceLock::new() }
    }

    /// Notes a token, of whose digest `hash` is a part, and says whether it was noted before.
    pub(super) fn note(&self, hash: u64) -> bool {
        let traces = self.traces.get_or_init(|| self.empty());
        // The lower half of the hash says where, the upper half who. A trace is odd, as 0 stands where nobody was.
        let place = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default();
        let trace = u32::try_from(hash >> u32::BITS).unwrap_or_default() | 1;
        let noted = traces.get(place & traces.len().saturating_sub(1));
        noted.is_some_and(|noted| noted.swap(trace, Ordering::Relaxed) == trace)
    }

    /// A place for each entry, rounded up to a power of two, so that a part of a hash is a place.
    fn empty(&self) -> Box<[AtomicU32]> {
        let places = usize::try_from(self.capacity).unwrap_or(Self::MOST_TRACES);
        let places = places.clamp(64, Self::MOST_TRACES).next_power_of_two();
        (0..places).map(|_| AtomicU32::new(0)).collect()
    }
}

impl std::fmt::Debug for Doorkeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doorkeeper").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes as a good function gives them.
    fn hashes(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|n| {
            let mixed = (n ^ (n << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
        })
    }

    #[test]
    fn who_comes_again_was_noted_before() {
        let doorkeeper = Doorkeeper::of(10_000);
        for hash in hashes(1_000) {
            assert!(!doorkeeper.note(hash));
            assert!(doorkeeper.note(hash));
        }
    }

    #[test]
    fn of_half_as_many_as_the_cache_holds_most_are_known_again() {
        let doorkeeper = Doorkeeper::of(1_000);
        assert_eq!(hashes(500).filter(|hash| doorkeeper.note(*hash)).count(), 0);
        let known = hashes(500).filter(|hash| doorkeeper.note(*hash)).count();
        assert!((250..=500).contains(&known), "{known} of 500");
    }

    #[test]
    fn those_who_came_long_ago_are_forgotten() {
        let doorkeeper = Doorkeeper::of(64);
        assert_eq!(hashes(10_000).filter(|hash| doorkeeper.note(*hash)).count(), 0);
        assert_eq!(hashes(1).filter(|hash| doorkeeper.note(*hash)).count(), 0);
    }

    #[test]
    fn whatever_the_capacity_there_is_room_for_a_trace() {
        for capacity in [0, 1, 64, 65, u64::MAX] {
            let doorkeeper = Doorkeeper::of(capacity);
            assert!(!doorkeeper.note(0) && doorkeeper.note(0), "{capacity}");
        }
    }
}
