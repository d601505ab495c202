//! Whether the application keeps its connections open.
//!
//! Only the kernel knows at once that a connection was closed, and to ask it costs every request a system call. Most
//! applications close one because nobody has used it for some seconds, and say so if they close it after a response. Of such
//! an application one that was used a moment ago is open. But there are those that close each after its response without a
//! word: theirs may be closed already, and the runtime not have heard of it yet.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// What is known of an application from those of its connections that were used again at once.
#[derive(Debug, Default)]
pub(super) struct Habit {
    /// How many in a row were found open, and no more than [`ENOUGH`](Self::ENOUGH).
    open: AtomicU32,
}

impl Habit {
    /// So many, and the kernel is asked no more.
    const ENOUGH: u32 = 256;

    /// Nobody closes connections because they have lain idle for less than that.
    const MOMENT: Duration = Duration::from_secs(1);

    /// Whether a connection is open that nobody has used for the time `rest`. The kernel `is_open` is asked unless the
    /// application is known to keep its connections.
    pub(super) fn is_open(&self, rest: Duration, is_open: impl FnOnce() -> bool) -> bool {
        if rest >= Self::MOMENT {
            return is_open();
        }
        let open = self.open.load(Ordering::Relaxed);
        if open >= Self::ENOUGH {
            return true;
        }
        let is_open = is_open();
        // That two may count as one does no harm.
        self.open.store(if is_open { open.saturating_add(1) } else { 0 }, Ordering::Relaxed);
        is_open
    }

    /// A connection was taken for open, and may not have been.
    pub(super) fn doubt(&self) {
        self.open.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(999);

    /// A habit that has been learnt.
    fn keeps_open() -> Habit {
        let habit = Habit::default();
        for _ in 0..Habit::ENOUGH {
            let mut asked = false;
            assert!(habit.is_open(SOON, || {
                asked = true;
                true
            }));
            assert!(asked);
        }
        habit
    }

    #[test]
    fn the_kernel_is_asked_until_an_application_is_known_to_keep_its_connections() {
        assert!(keeps_open().is_open(SOON, || unreachable!("it is known")));
    }

    #[test]
    fn it_is_asked_about_each_that_has_lain_idle() {
        let habit = keeps_open();
        for is_open in [true, false] {
            assert_eq!(habit.is_open(Habit::MOMENT, || is_open), is_open);
        }
        assert!(habit.is_open(SOON, || unreachable!("to close what lies idle is no bad habit")));
    }

    #[test]
    fn one_that_was_closed_at_once_has_everything_asked_about_anew() {
        let doubted = keeps_open();
        doubted.doubt();
        assert!(!doubted.is_open(SOON, || false));

        let habit = Habit::default();
        for _ in 1..Habit::ENOUGH {
            assert!(habit.is_open(SOON, || true));
        }
        assert!(!habit.is_open(SOON, || false));
        assert!(habit.is_open(SOON, || true));
        assert!(!habit.is_open(SOON, || false), "it has to be learnt again");
    }
}
