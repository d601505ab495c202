//! The tasks behind the upstream client: each connection's, and each upgraded stream's.

use hyper::rt::Executor;
use tokio::time::{Instant, timeout_at};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::warn;

/// Runs tasks that end with the client: when this is dropped they are dropped too.
#[derive(Debug)]
pub(super) struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
    _guard: DropGuard,
}

impl Tasks {
    pub(super) fn new(tracker: TaskTracker) -> Self {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        Self { stop, tracker, _guard: guard }
    }

    pub(super) fn spawn(&self, task: impl Future<Output: Send> + Send + 'static) {
        self.executor().execute(task);
    }

    pub(super) fn executor(&self) -> H2Executor {
        H2Executor { stop: self.stop.clone(), tracker: self.tracker.clone() }
    }
}

/// Runs the tasks of hyper's HTTP/2. It must not hold the guard: a connection that keeps itself alive is never closed.
#[derive(Clone, Debug)]
pub(super) struct H2Executor {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for H2Executor {
    fn execute(&self, task: F) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        });
    }
}

/// The upgraded streams of a process, which no server counts any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Streams {
    pub(super) fn spawn(&self, stream: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(stream);
    }

    /// Resolves when streams have to end.
    pub(super) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Lets the streams go on until `deadline`, then ends them.
    pub(crate) async fn drain_until(&self, deadline: Instant) {
        self.tracker.close();
        if timeout_at(deadline, self.tracker.wait()).await.is_err() {
            warn!(streams = self.tracker.len(), "ending upgraded streams at the deadline");
            self.stop.cancel();
            self.tracker.wait().await;
        }
    }

    /// Ends the streams when the guard is dropped.
    pub(crate) fn end_on_drop(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }
}
