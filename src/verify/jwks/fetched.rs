//! One fetch: asked for, bounded in time, parsed, and survived.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::timeout;

use super::{super::error::FetchFault, Issuer, JwkSet, JwksSource};

/// A set as its source wrote it, and as we read it.
pub(super) struct Fetched {
    pub(super) text: Bytes,
    pub(super) set: JwkSet,
}

impl Fetched {
    /// The longest that a source may take, whatever it promises: callers with an unknown key wait for it.
    const LONGEST: Duration = Duration::from_secs(10);

    /// Asks `source` for the keys of `issuer`.
    pub(super) async fn ask(
        source: Arc<dyn JwksSource>,
        issuer: Issuer,
    ) -> Result<Self, FetchFault> {
        // The call as well as what it returns: either is somebody else's code.
        let fetch = survive(async { source.fetch().await });
        let text = match timeout(Self::LONGEST, fetch).await {
            Ok(outcome) => outcome??,
            Err(elapsed) => return Err(FetchFault::transport(elapsed)),
        };
        let set = JwkSet::parse(&text, &issuer)?;
        Ok(Self { text, set })
    }
}

/// Turns a panic into a fault: the task that asks must outlive its source, or the keys would never be fetched again.
async fn survive<T>(future: impl Future<Output = T>) -> Result<T, FetchFault> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // A future that has panicked is not polled again, so that nobody sees what it left behind.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_panic) => std::task::Poll::Ready(Err(FetchFault::Panicked)),
        }
    })
    .await
}
