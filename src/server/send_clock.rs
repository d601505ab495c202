//! How long a peer may take nothing of what it is owed.
//!
//! A peer that asks for much and reads nothing holds its connection, its request's place and a connection to the
//! application, all for one small request. What tells it from a stream that has nothing to say is that bytes are waiting:
//!
//! - for a place in the **pipe**: [`SendTimed`], around the socket itself, sees each write that does not get through;
//! - for a place in the **window** of an HTTP/2 stream (RFC 9113 §5.2): such a peer reads, and answers pings, but grants
//!   nothing. Nothing is written then, and hyper keeps the frame that it has taken off the body and asks for no other one:
//!   [`TimedBody`] sees that, in the task that [`SendClock::in_time`] runs.
//!
//! Both clocks measure the time since something last got through, as nginx's `send_timeout` does, and not how long the whole
//! takes: a slow reader is served.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BufMut;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

/// What one connection's peer owes us: room.
#[derive(Clone, Debug)]
pub(super) struct SendClock {
    timeout: Duration,
    expired: Counter,
    pipe_is_full: Arc<AtomicBool>,
}

impl SendClock {
    /// The clock of a connection whose peer must make room within each `timeout`; `expired` counts those that did not.
    pub(super) fn new(timeout: Duration, expired: Counter) -> Self {
        Self { timeout, expired, pipe_is_full: Arc::default() }
    }

    /// Runs an HTTP/2 `stream` to its end, or for as long as its window lets its body's frames through.
    pub(super) async fn in_time(self, stream: impl Future) {
        let until_stalled = async {
            tokio::select! {
                biased; // So that what the stream has just noted is looked at.
                _ = stream => {}
                () = self.stalled() => { self.expired.inc(); }
            }
        };
        HELD_SINCE.scope(Cell::new(None), until_stalled).await;
    }

    /// Resolves when a frame has waited for its window for too long.
    async fn stalled(&self) {
        loop {
            // What notes it is polled by the same task, just before: there is nobody to wake.
            let held = poll_fn(|_| held_since().map_or(Poll::Pending, Poll::Ready)).await;
            let mut deadline = held + self.timeout;
            sleep_until(deadline).await;
            while held_since() == Some(held) {
                // A stream that waits for its turn in a full pipe is not the one that stalls: the pipe has its own clock.
                if !self.pipe_is_full.load(Ordering::Relaxed) {
                    return;
                }
                deadline += self.timeout;
                sleep_until(deadline).await;
            }
        }
    }
}

tokio::task_local! {
    /// Since when the server holds a frame of this task's body without having asked for the next one.
    static HELD_SINCE: Cell<Option<Instant>>;
}

fn held_since() -> Option<Instant> {
    HELD_SINCE.with(Cell::get)
}

pin_project! {
    /// A response's body that notes when its frames are taken.
    #[derive(Debug)]
    pub(super) struct TimedBody<B> {
        #[pin]
        body: B,
    }
}

impl<B> TimedBody<B> {
    /// `response`, with a body that notes when its frames are taken.
    pub(super) fn of(response: Response<B>) -> Response<Self> {
        response.map(|body| Self { body })
    }
}

impl<B: Body> Body for TimedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = self.project().body.poll_frame(cx);
        let holds_one = matches!(polled, Poll::Ready(Some(Ok(_))));
        // Outside of a stream's task nobody asks.
        HELD_SINCE.try_with(|held| held.set(holds_one.then(Instant::now))).ok();
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket whose writes fail once its peer has made no room for too long. A write that is not attempted takes no time, so
/// that silence on either side is no reason to end anything.
#[derive(Debug)]
pub(super) struct SendTimed<IO> {
    io: IO,
    clock: SendClock,
    patience: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl<IO> SendTimed<IO> {
    pub(super) const fn new(io: IO, clock: SendClock) -> Self {
        Self { io, clock, patience: None, is_over: false }
    }

    fn in_time(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.clock.pipe_is_full.store(written.is_pending(), Ordering::Relaxed);
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        if !self.is_over {
            let timeout = self.clock.timeout;
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(timeout)));
            ready!(patience.as_mut().poll(cx));
            self.is_over = true;
            self.clock.expired.inc();
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for SendTimed<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, into)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for SendTimed<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.in_time(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let small: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = if small <= SMALL {
            let mut joined = [0; SMALL];
            Pin::new(&mut self.io).poll_write(cx, join(slices, &mut joined))
        } else {
            Pin::new(&mut self.io).poll_write_vectored(cx, slices)
        };
        self.in_time(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Bytes that are copied for less than it costs the kernel to take several buffers: most answers are a head and little else.
const SMALL: usize = 1024;

/// What is in `slices`, for which there is `room`, in one piece.
fn join<'a>(slices: &[io::IoSlice<'_>], room: &'a mut [u8; SMALL]) -> &'a [u8] {
    let mut left = &mut room[..];
    for slice in slices {
        left.put_slice(slice);
    }
    let length = SMALL - left.len();
    &room[..length]
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use bytes::Bytes;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const TIMEOUT: Duration = Duration::from_mins(1);
    const NEARLY: Duration = Duration::from_secs(59);

    fn clock() -> SendClock {
        SendClock::new(TIMEOUT, Counter::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_little_in_time_may_take_as_long_as_it_likes() {
        let (io, mut peer) = duplex(16);
        let mut timed = SendTimed::new(io, clock());
        let reading = async {
            for _ in 0..64 {
                sleep(NEARLY).await;
                peer.read_exact(&mut [0; 16]).await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(timed.write_all(&[7; 1024]), reading);
        written.unwrap();
        assert_eq!(timed.clock.expired.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_given_up_once() {
        let (io, _peer) = duplex(16);
        let mut timed = SendTimed::new(io, clock());
        let start = Instant::now();
        for _ in 0..2 {
            let error = timed.write_all(&[7; 1024]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        assert_eq!(start.elapsed(), TIMEOUT);
        assert_eq!(timed.clock.expired.get(), 1);
    }

    #[tokio::test]
    async fn small_buffers_are_written_in_one_piece_and_large_ones_as_they_are() {
        let (io, mut peer) = duplex(4 * SMALL);
        let mut timed = SendTimed::new(io, clock());
        for sizes in [[0, 0], [1, 0], [0, 3], [300, 3], [SMALL - 1, 1], [SMALL, 1], [1, 2 * SMALL]]
        {
            let [first, second] = sizes.map(|size| vec![7; size]);
            let slices = [&first, &second].map(|bytes| io::IoSlice::new(bytes));
            let mut left = first.len() + second.len();
            let written = timed.write_vectored(&slices).await.unwrap();
            if left <= SMALL {
                assert_eq!(written, left, "{sizes:?}");
            }
            let mut read = vec![0; written];
            peer.read_exact(&mut read).await.unwrap();
            left -= written;
            assert!(read.iter().all(|byte| *byte == 7) && left <= second.len(), "{sizes:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_takes_no_time() {
        let (io, mut peer) = duplex(16);
        let mut timed = SendTimed::new(io, clock());
        for _ in 0..3 {
            timed.write_all(&[7; 16]).await.unwrap();
            sleep(100 * TIMEOUT).await;
            peer.read_exact(&mut [0; 16]).await.unwrap();
        }
        assert_eq!(timed.clock.expired.get(), 0);
    }

    /// Takes each frame of a body that comes after the first of these pauses, and waits for room for the second, like a server.
    async fn stream(pauses: impl IntoIterator<Item = (Duration, Duration)>) {
        let mut pauses: VecDeque<_> = pauses.into_iter().collect();
        let rooms: Vec<_> = pauses.iter().map(|(_, room)| *room).collect();
        let mut coming: Option<Pin<Box<Sleep>>> = None;
        let frames = futures_util::stream::poll_fn(move |cx| {
            let Some((pause, _)) = pauses.front() else { return Poll::Ready(None) };
            let coming_now = coming.get_or_insert_with(|| Box::pin(sleep(*pause)));
            ready!(coming_now.as_mut().poll(cx));
            (coming, _) = (None, pauses.pop_front());
            Poll::Ready(Some(Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"frame")))))
        });
        let mut body = Box::pin(TimedBody { body: StreamBody::new(frames) });
        for room in rooms {
            body.frame().await.unwrap().unwrap();
            sleep(room).await;
        }
        assert!(body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_nothing_to_say_or_a_slow_reader_goes_on() {
        let clock = clock();
        let frames = [(100 * TIMEOUT, Duration::ZERO), (TIMEOUT, NEARLY), (TIMEOUT, NEARLY)];
        clock.clone().in_time(stream(frames)).await;
        assert_eq!(clock.expired.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_whose_frame_nobody_takes_is_ended() {
        let (clock, start) = (clock(), Instant::now());
        let frames = [(NEARLY, NEARLY), (NEARLY, 100 * TIMEOUT)];
        clock.clone().in_time(stream(frames)).await;
        assert_eq!((start.elapsed(), clock.expired.get()), (3 * NEARLY + TIMEOUT, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_waits_for_a_full_pipe_is_the_pipes_affair() {
        let (clock, start) = (clock(), Instant::now());
        clock.pipe_is_full.store(true, Ordering::Relaxed);
        clock.clone().in_time(stream([(Duration::ZERO, 10 * TIMEOUT)])).await;
        assert_eq!((start.elapsed(), clock.expired.get()), (10 * TIMEOUT, 0));
    }
}
