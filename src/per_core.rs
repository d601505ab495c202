//! A value for each core, so that cores that count or keep something side by side do not wait for one another.
//!
//! To change a number that another core has just changed takes a hundred times as long as one that nobody else has touched:
//! the cores hand its cache line to and fro. What is counted for each request is therefore counted apart, and summed when
//! somebody asks for it.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::available_parallelism,
};

/// As many values as there are cores, or a few more. A thread has always the same one, and shares it with others only if
/// there are more threads than values.
#[derive(Debug)]
pub(crate) struct PerCore<T>(Box<[Apart<T>]>);

/// Alone in its cache line, and in the next one: they are fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// A power of two, so that a value is found without a division.
static CORES: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, usize::from).next_power_of_two());

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

impl<T> PerCore<T> {
    /// The value of this thread.
    pub(crate) fn mine(&self) -> &T {
        &self.0[self.index()].0
    }

    /// All values, that of this thread first.
    pub(crate) fn mine_first(&self) -> impl Iterator<Item = &T> {
        let (before, from_mine) = self.0.split_at(self.index());
        from_mine.iter().chain(before).map(|apart| &apart.0)
    }

    /// Where the value of this thread is.
    fn index(&self) -> usize {
        // A thread that is ending has none of its own any more.
        let thread = THREAD.try_with(|number| *number).unwrap_or(0);
        thread & (self.0.len() - 1)
    }

    /// All values.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|apart| &apart.0)
    }
}

impl<T: Default> Default for PerCore<T> {
    fn default() -> Self {
        Self((0..*CORES).map(|_| Apart::default()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, ptr, thread};

    use super::*;

    #[test]
    fn a_thread_has_always_the_same_value_and_what_threads_count_apart_adds_up() {
        let counts = PerCore::<AtomicUsize>::default();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mine = counts.mine();
                    for _ in 0..100 {
                        assert!(ptr::eq(mine, counts.mine()));
                        mine.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(counts.all().map(|count| count.load(Ordering::Relaxed)).sum::<usize>(), 2000);
    }

    #[test]
    fn every_value_is_found_once_wherever_one_begins() {
        let values = PerCore::<AtomicUsize>::default();
        let places: Vec<_> = values.mine_first().map(ptr::from_ref).collect();
        assert!(ptr::eq(places[0], values.mine()));
        assert_eq!(places.iter().collect::<HashSet<_>>().len(), *CORES);
        assert_eq!(places.len(), values.all().count());
    }
}
