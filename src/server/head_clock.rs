//! Two timeouts where hyper has one: how long a peer may be silent between requests, and how long a head may take.
//!
//! hyper's `header_read_timeout` starts when it begins to wait for a head, so it runs through the silence between two
//! requests as well: ten seconds for a slow head would also be ten seconds of keep-alive. But it asks its [`Timer`] for
//! a sleep exactly when the wait begins and lets go of it exactly when the head is complete. [`HeadClock`] is that
//! timer: its sleep lasts `keep_alive_timeout`, until [`WatchedIo`] sees the first byte; from there it is
//! `header_read_timeout`.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use super::write_through::write_through;
use crate::alarm::Alarm;

/// What one connection is waiting for.
#[derive(Clone, Debug)]
pub(super) struct HeadClock {
    header_read_timeout: Duration,
    wait: Arc<Mutex<Wait>>,
}

#[derive(Debug)]
struct Wait {
    head: Head,
    /// One for all heads of the connection: each moves the deadline.
    alarm: Option<Alarm>,
}

/// How far the next head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    /// Bytes that come now belong to a body.
    NotAwaited,
    /// None of it is here.
    Awaited,
    /// Some of it has just come. Mostly that is all, so that nobody looks at the clock yet.
    Begun,
    /// Some of it came then.
    BegunAt(Instant),
}

impl HeadClock {
    /// The clock of a connection whose first head began when it was accepted.
    pub(super) fn new(header_read_timeout: Duration, accepted: Instant) -> Self {
        let wait = Wait { head: Head::BegunAt(accepted), alarm: None };
        Self { header_read_timeout, wait: Arc::new(Mutex::new(wait)) }
    }

    /// Whether the connection is between requests: nothing is owed to the peer.
    pub(super) fn is_idle(&self) -> bool {
        self.wait().head == Head::Awaited
    }

    fn bytes_came(&self) {
        let mut wait = self.wait();
        if wait.head == Head::Awaited {
            wait.head = Head::Begun;
        }
    }

    fn wait(&self) -> MutexGuard<'_, Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Timer for HeadClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        let mut wait = self.wait();
        if wait.head == Head::NotAwaited {
            wait.head = Head::Awaited;
        }
        Box::pin(HeadSleep { clock: self.clone(), idle_until: Instant::from_std(deadline) })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

/// Lasts as long as hyper waits for a head.
struct HeadSleep {
    clock: HeadClock,
    idle_until: Instant,
}

impl Drop for HeadSleep {
    fn drop(&mut self) {
        self.clock.wait().head = Head::NotAwaited;
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    /// hyper polls this right after each read, so a head's first byte moves the deadline before anything sleeps on it.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut wait = self.clock.wait();
        if wait.head == Head::Begun {
            wait.head = Head::BegunAt(Instant::now());
        }
        let deadline = match wait.head {
            Head::BegunAt(began) => began + self.clock.header_read_timeout,
            Head::NotAwaited | Head::Awaited | Head::Begun => self.idle_until,
        };
        wait.alarm.get_or_insert_with(|| Alarm::at(deadline)).poll(deadline, cx)
    }
}

/// Tells a [`HeadClock`] when bytes come.
#[derive(Debug)]
pub(super) struct WatchedIo<IO> {
    io: IO,
    clock: HeadClock,
}

impl<IO> WatchedIo<IO> {
    pub(super) fn new(io: IO, clock: HeadClock) -> Self {
        Self { io, clock }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for WatchedIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.clock.bytes_came();
        }
        poll
    }
}

write_through!(WatchedIo);

#[cfg(test)]
mod tests {
    use super::*;

    const SLOW: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    /// How long hyper's wait for a head lasts, asked `clock` the way hyper asks.
    async fn length_of(clock: &HeadClock) -> Duration {
        let start = Instant::now();
        clock.sleep(IDLE).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_head_counts_from_the_accept() {
        let clock = HeadClock::new(SLOW, Instant::now());
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(length_of(&clock).await, Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_between_requests_is_allowed_to_last_longer() {
        let clock = HeadClock::new(SLOW, Instant::now());
        drop(clock.sleep(IDLE));
        assert_eq!(length_of(&clock).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_counts_from_its_first_byte() {
        let clock = HeadClock::new(SLOW, Instant::now());
        drop(clock.sleep(IDLE));
        let mut wait = clock.sleep(IDLE);
        assert!(tokio::time::timeout(Duration::from_secs(65), &mut wait).await.is_err());
        assert!(clock.is_idle());

        let start = Instant::now();
        clock.bytes_came();
        assert!(!clock.is_idle());
        wait.await;
        assert_eq!(start.elapsed(), SLOW);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_of_a_body_do_not_begin_a_head() {
        let clock = HeadClock::new(SLOW, Instant::now());
        drop(clock.sleep(IDLE));
        clock.bytes_came();
        assert_eq!(length_of(&clock).await, IDLE);
    }
}
