//! Who is woken when a connection can move: not whoever is moving it just now.
//!
//! hyper hands a request to its connection over a channel, and a response and each piece of its body back, and each of them
//! wakes whoever waits at the other end. Where one task is at both ends it would be polled once more for nothing, with all
//! that it holds; and where a connection was used by another client before, that one's task would be.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Relaxed, SeqCst},
        },
    },
    task::{Context, Poll, Wake, Waker},
};

/// Wakes the task that uses a connection, unless it rings while that looks at the connection anyway.
#[derive(Debug)]
pub(super) struct Bell {
    task: Mutex<Waker>,
    is_watched: AtomicBool,
    has_rung: AtomicBool,
}

impl Bell {
    /// One that is nobody's yet.
    pub(super) fn new() -> Arc<Self> {
        let task = Mutex::new(Waker::noop().clone());
        let (is_watched, has_rung) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { task, is_watched, has_rung })
    }

    /// Wakes nobody until the next look, which is about to come.
    pub(super) fn hush(&self) {
        // Whoever hears of it late wakes a task too many.
        self.is_watched.store(true, Relaxed);
    }

    /// Looks at the connection for the task of `cx`, which is woken from now on. While it looks nobody has to be; if it ends
    /// in waiting, what rang since the last [`heard`](Self::heard) is looked at again.
    pub(super) fn watch<T>(&self, cx: &Context<'_>, look: impl FnOnce() -> Poll<T>) -> Poll<T> {
        self.belong_to(cx.waker());
        self.hush();
        let seen = look();
        self.is_watched.store(false, SeqCst);
        // Whoever has got something asks again before it waits.
        if self.has_rung.swap(false, SeqCst) && seen.is_pending() {
            cx.waker().wake_by_ref();
        }
        seen
    }

    /// Whatever rang until now is about to be looked at.
    pub(super) fn heard(&self) {
        self.has_rung.store(false, SeqCst);
    }

    fn belong_to(&self, waker: &Waker) {
        self.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(waker);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// It rings before it asks whether somebody watches, and who stops watching does so before asking whether it rang: one of
    /// the two hears of the other.
    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, SeqCst);
        if !self.is_watched.load(SeqCst) && self.has_rung.swap(false, SeqCst) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    /// A task that counts how often it is woken.
    #[derive(Default)]
    struct Task(AtomicU64);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    impl Task {
        fn woken(&self) -> u64 {
            self.0.load(SeqCst)
        }
    }

    #[test]
    fn it_wakes_the_task_that_looked_last() {
        let (bell, first, second) = (Bell::new(), Arc::<Task>::default(), Arc::<Task>::default());
        for task in [&first, &second] {
            let waker = Waker::from(Arc::clone(task));
            assert!(bell.watch::<()>(&Context::from_waker(&waker), || Poll::Pending).is_pending());
        }
        bell.wake_by_ref();
        assert_eq!((first.woken(), second.woken()), (0, 1));
    }

    #[test]
    fn what_rings_while_it_is_watched_is_looked_at_again_if_that_ends_in_waiting_and_no_sooner() {
        let (bell, task) = (Bell::new(), Arc::<Task>::default());
        let waker = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&waker);
        let ring = |outcome: Poll<()>| {
            bell.wake_by_ref();
            assert_eq!(task.woken(), 0);
            outcome
        };
        bell.hush();
        bell.wake_by_ref();
        let heard = || {
            bell.heard();
            Poll::<()>::Pending
        };
        assert!(bell.watch(&cx, heard).is_pending());
        assert!(bell.watch(&cx, || ring(Poll::Ready(()))).is_ready());
        assert_eq!(task.woken(), 0, "whoever has got something asks again");
        assert!(bell.watch(&cx, || ring(Poll::Pending)).is_pending());
        assert_eq!(task.woken(), 1);
    }
}
