//! A decision before the gateway has stopped waiting for one, whatever happens.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use tokio::time::{Instant, timeout_at};

use crate::authn::Rejection;

/// What `deciding` comes to, if it does by `deadline`, and a rejection if it does not or panics: to a gateway that hears
/// nothing, or only that a call failed, we are down, and it may be told to let requests through when we are.
pub(super) async fn decide_by<T>(
    deadline: Instant,
    deciding: impl Future<Output = Result<T, Rejection>>,
) -> Result<T, Rejection> {
    timeout_at(deadline, without_panic(deciding)).await.unwrap_or_else(|_elapsed| {
        Err(Rejection::Undecided("no decision could be made before the gateway's deadline"))
    })
}

/// The panic itself is told by the hook that every panic goes through.
async fn without_panic<T>(
    deciding: impl Future<Output = Result<T, Rejection>>,
) -> Result<T, Rejection> {
    let mut deciding = pin!(deciding);
    // Whatever a panic left half done is dropped with the future, which is not polled again.
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| deciding.as_mut().poll(cx)));
        polled.unwrap_or(Poll::Ready(Err(Rejection::Undecided("the decision failed"))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(150)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_decided_in_time_is_the_decision() {
        assert_eq!(decide_by(soon(), async { Ok(1) }).await.ok(), Some(1));
        let no = decide_by(soon(), async { Err::<(), _>(Rejection::NoCredential) }).await;
        assert_eq!(no.unwrap_err().code(), "no_credential");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_decided_by_the_deadline_is_a_no_at_the_deadline() {
        let deadline = soon();
        let late = decide_by(deadline, pending::<Result<(), _>>()).await.unwrap_err();
        assert_eq!((late.code(), late.status().as_u16()), ("undecided", 503));
        // A paused clock jumps to the next timer and no further, one tick of the timer at most.
        assert!(deadline.elapsed() <= Duration::from_millis(1));
    }

    #[tokio::test]
    async fn a_decision_that_panics_is_a_no() {
        let panics =
            async { if soon() > Instant::now() { panic!("in a decision") } else { Ok(()) } };
        let no = decide_by(soon(), panics).await.unwrap_err();
        assert_eq!((no.code(), no.status().as_u16()), ("undecided", 503));
    }
}
