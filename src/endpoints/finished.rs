//! What must not be left half done.

use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, warn};

use crate::{authn::Rejection, store::StoreError, telemetry::causes};

/// Waits for `work`, which goes on among `tasks` if whoever asked hangs up meanwhile and this future is dropped.
///
/// # Errors
///
/// Those of `work`; [`Rejection::Undecided`] if it panics.
pub(super) async fn finished<T: Send + 'static>(
    tasks: &TaskTracker,
    work: impl Future<Output = Result<T, Rejection>> + Send + 'static,
) -> Result<T, Rejection> {
    let finished = tasks.spawn(work.in_current_span()).await;
    finished.unwrap_or_else(|panic| {
        error!(cause = causes(&panic), "a sign-in or a deletion has come to no end");
        Err(Rejection::Undecided("it has come to no end"))
    })
}

/// Tells the log if the end of a session could not be `stored`: it is in force here, and may not be elsewhere.
///
/// # Errors
///
/// [`Rejection::StoreUnavailable`], for whoever asked for it.
pub(super) fn ending_stored(stored: Result<(), StoreError>) -> Result<(), Rejection> {
    stored.map_err(|error| {
        warn!(cause = causes(&error), "the end of a session could not be stored");
        Rejection::StoreUnavailable
    })
}
