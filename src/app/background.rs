//! What runs beside the requests.

use std::future::Future;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tasks that go on until the last request is done.
#[derive(Debug)]
pub(super) struct Background {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Background {
    /// None yet, to be waited for with whatever else is on `tasks`.
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self { tasks, stop: CancellationToken::new() }
    }

    /// Starts one.
    pub(super) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }

    /// Stops all of them, and waits until the last is gone.
    pub(super) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
