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
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use super::write_through::write_through;

/// What one connection is waiting for.
#[derive(Clone, Debug)]
pub(super) struct HeadClock {
    header_read_timeout: Duration,
    wait: Arc<Mutex<Wait>>,
}

#[derive(Debug)]
struct Wait {
    /// Bytes that come now belong to a head, and not to a body.
    for_head: bool,
    /// When the head began.
    began: Option<Instant>,
}

impl HeadClock {
    /// The clock of a connection whose first head began when it was accepted.
    pub(super) fn new(header_read_timeout: Duration, accepted: Instant) -> Self {
        let wait = Wait { for_head: true, began: Some(accepted) };
        Self { header_read_timeout, wait: Arc::new(Mutex::new(wait)) }
    }

    /// Whether the connection is between requests: nothing is owed to the peer.
    pub(super) fn is_idle(&self) -> bool {
        let wait = self.wait();
        wait.for_head && wait.began.is_none()
    }

    fn bytes_came(&self) {
        let mut wait = self.wait();
        if wait.for_head && wait.began.is_none() {
            wait.began = Some(Instant::now());
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
        self.wait().for_head = true;
        let idle_until = Instant::from_std(deadline);
        Box::pin(HeadSleep {
            clock: self.clone(),
            idle_until,
            sleep: tokio::time::sleep_until(idle_until),
        })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}

pin_project! {
    /// Lasts as long as hyper waits for a head.
    struct HeadSleep {
        clock: HeadClock,
        idle_until: Instant,
        #[pin]
        sleep: tokio::time::Sleep,
    }

    impl PinnedDrop for HeadSleep {
        fn drop(this: Pin<&mut Self>) {
            *this.project().clock.wait() = Wait { for_head: false, began: None };
        }
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    /// hyper polls this right after each read, so a head's first byte moves the deadline before anything sleeps on it.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let began = this.clock.wait().began;
        let deadline = began.map_or(*this.idle_until, |at| at + this.clock.header_read_timeout);
        if this.sleep.deadline() != deadline {
            this.sleep.as_mut().reset(deadline);
        }
        this.sleep.poll(cx)
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
