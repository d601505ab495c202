//! A deadline that is moved often, and hardly ever met.
//!
//! A timer of the runtime costs a lock when it is set and another one when it is taken back, and every request needs a few.
//! Moved to a later time an [`Alarm`] costs nothing: it stays set to the earlier one, and is set anew when that has come.

use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::per_core::PerCore;

/// One timer, for one deadline after the other.
#[derive(Debug)]
pub(crate) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    /// An alarm that is set to `deadline`.
    pub(crate) fn at(deadline: Instant) -> Self {
        Self(Box::pin(sleep_until(deadline)))
    }

    /// Ready once `deadline` has passed, which may be another one each time.
    pub(crate) fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if deadline < self.0.deadline() {
            self.0.as_mut().reset(deadline);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if self.0.deadline() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
    }
}

/// Alarms that nobody needs now.
#[derive(Debug, Default)]
pub(crate) struct Alarms(PerCore<Mutex<Vec<Alarm>>>);

impl Alarms {
    /// An alarm for `deadline`.
    pub(crate) fn take(&self, deadline: Instant) -> Alarm {
        let kept = self.mine().pop();
        kept.unwrap_or_else(|| Alarm::at(deadline))
    }

    /// Keeps `alarm` for the next one.
    pub(crate) fn give_back(&self, alarm: Alarm) {
        let mut mine = self.mine();
        // What is taken on one core may come back on another, always.
        if mine.len() < Self::MOST {
            mine.push(alarm);
        }
    }

    /// As many as are kept for each core.
    const MOST: usize = 1024;

    fn mine(&self) -> MutexGuard<'_, Vec<Alarm>> {
        self.0.mine().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn sleeps_until(alarm: &mut Alarm, deadline: Instant) {
        poll_fn(|cx| alarm.poll(deadline, cx)).await;
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_off_at_the_deadline_of_the_last_poll_whether_earlier_or_later_than_before() {
        let start = Instant::now();
        let mut alarm = Alarm::at(start + 10 * SECOND);
        for deadline in [start + 50 * SECOND, start + 60 * SECOND, start + 61 * SECOND] {
            assert!(
                poll_fn(|cx| Poll::Ready(alarm.poll(start + 90 * SECOND, cx))).await.is_pending()
            );
            sleeps_until(&mut alarm, deadline).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_has_passed_is_met_at_once() {
        let start = Instant::now();
        let mut alarm = Alarm::at(start + 10 * SECOND);
        advance(5 * SECOND).await;
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(start + SECOND, cx))).await.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_went_off_unheard_serves_the_next_deadline() {
        let alarms = Alarms::default();
        let alarm = alarms.take(Instant::now() + SECOND);
        alarms.give_back(alarm);
        advance(5 * SECOND).await;
        let deadline = Instant::now() + SECOND;
        sleeps_until(&mut alarms.take(deadline), deadline).await;
        assert!(alarms.mine().is_empty());
    }
}
