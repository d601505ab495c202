//! What is waited for beside something busy, and hardly ever comes: the stop.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use pin_project_lite::pin_project;

pin_project! {
    /// A future that is polled once and then only when it was woken. A `select!` polls all that it waits for each time one
    /// of them moves, and to ask for a cancellation takes a lock that all connections share.
    #[derive(Debug)]
    pub(super) struct Seldom<F> {
        #[pin]
        future: F,
        bell: Option<Arc<Bell>>,
    }
}

/// Wakes a task, and says which of its futures it is for.
#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl<F> Seldom<F> {
    pub(super) const fn new(future: F) -> Self {
        Self { future, bell: None }
    }
}

impl<F: Future> Future for Seldom<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let bell = match this.bell {
            Some(bell) if bell.task.will_wake(cx.waker()) => {
                if !bell.rung.swap(false, Ordering::AcqRel) {
                    return Poll::Pending;
                }
                bell
            }
            _ => this
                .bell
                .insert(Arc::new(Bell { rung: AtomicBool::new(false), task: cx.waker().clone() })),
        };
        let waker = Waker::from(Arc::clone(bell));
        this.future.poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    /// First the word and then the call: whoever is called finds the word.
    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

/// `busy`, until `stop` comes.
pub(super) async fn unless<T>(
    stop: impl Future<Output = ()>,
    busy: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = Seldom::new(stop) => None,
        done = busy => Some(done),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, pin::pin};

    use tokio::{sync::Notify, task::yield_now};

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_not_when_its_task_was() {
        let (polls, notify) = (Cell::new(0), Notify::new());
        let mut notified = pin!(notify.notified());
        let counted = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            notified.as_mut().poll(cx)
        });
        let busy = async {
            for _ in 0..10 {
                yield_now().await;
            }
            assert_eq!(polls.get(), 1);
            notify.notify_one();
        };
        tokio::join!(Seldom::new(counted), busy);
        assert_eq!(polls.get(), 2);
    }

    #[tokio::test]
    async fn it_follows_its_future_from_task_to_task() {
        let notify = Arc::new(Notify::new());
        let waited = Arc::clone(&notify);
        let mut seldom = Box::pin(Seldom::new(async move { waited.notified().await }));
        assert!(poll_fn(|cx| Poll::Ready(seldom.as_mut().poll(cx))).await.is_pending());
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(seldom);
        yield_now().await;
        notify.notify_one();
        tasks.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_stop_ends_what_is_busy() {
        let stop = Notify::new();
        stop.notify_one();
        assert_eq!(unless(stop.notified(), std::future::pending::<()>()).await, None);
        assert_eq!(unless(stop.notified(), async { 7 }).await, Some(7));
    }
}
