//! HTTP/2 on one connection (RFC 9113).
//!
//! hyper has no idle timeout for HTTP/2, and its graceful end waits for the peer to answer a ping (hyper#4170): both
//! would let a silent peer hold its connection. So we count the streams ourselves, on the executor that hyper gives
//! each of them to, and a connection without any is asked to go and then dropped.

use std::{
    error::Error,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use hyper::{rt::Executor, server::conn::http2::Builder};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ServerSettings,
    connection::{Attributed, HttpService, Io, Shared, Sniffed},
    seldom::Seldom,
    send_clock::{SendClock, TimedBody},
};

/// How long a peer without streams has to react to our GOAWAY.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bytes that a peer may send on a stream, and on a connection, before we have read them. Together with the limit of
/// streams this is what one connection can make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Serves streams until either side closes; on `stop.gracefully` until those in flight are answered.
pub(super) async fn serve<IO, S, B>(
    io: Sniffed<IO>,
    service: Attributed<S>,
    send_clock: SendClock,
    shared: &Shared,
) -> hyper::Result<()>
where
    IO: Io,
    S: HttpService<B>,
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let Shared { settings, stop, tasks, .. } = shared;
    let streams = Arc::new(Streams::default());
    let (tasks, at_once) = (tasks.clone(), stop.at_once.clone());
    let executor = StreamExecutor { tasks, at_once, streams: Arc::clone(&streams), send_clock };
    let service = service.map_response(TimedBody::of);
    let mut connection =
        pin!(builder(settings, executor).serve_connection(TokioIo::new(io), service));
    tokio::select! {
        biased;
        result = &mut connection => return result,
        () = Seldom::new(stop.gracefully.cancelled()) => {}
        () = Seldom::new(streams.none_for(settings.keep_alive_timeout)) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        result = &mut connection => result,
        () = streams.none_for(FAREWELL) => Ok(()),
    }
}

fn builder(settings: &ServerSettings, executor: StreamExecutor) -> Builder<StreamExecutor> {
    let mut http2 = Builder::new(executor);
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.h2_max_concurrent_streams)
        .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(settings.h2_ping_interval)
        .keep_alive_timeout(settings.h2_ping_timeout)
        .max_pending_accept_reset_streams(settings.h2_max_pending_resets)
        .max_local_error_reset_streams(settings.h2_max_local_resets)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .adaptive_window(false);
    http2
}

/// The streams of one connection. Who waits for their end is told of the first and of the last, and of none in between.
#[derive(Debug, Default)]
struct Streams {
    open: AtomicUsize,
    first_or_last: Notify,
}

impl Streams {
    /// Resolves once there was no stream for `quiet`.
    async fn none_for(&self, quiet: Duration) {
        loop {
            let mut moved = pin!(self.first_or_last.notified());
            // Told from here on, so that a stream that comes and goes between two looks starts the wait anew.
            moved.as_mut().enable();
            if self.open.load(Ordering::SeqCst) > 0 {
                moved.await;
            } else if timeout(quiet, moved).await.is_err() && self.open.load(Ordering::SeqCst) == 0
            {
                return;
            }
        }
    }
}

/// Runs each stream as a task that shutdown waits for, as long as its peer takes what comes, and counts them.
#[derive(Clone, Debug)]
struct StreamExecutor {
    tasks: TaskTracker,
    at_once: CancellationToken,
    streams: Arc<Streams>,
    send_clock: SendClock,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        // Both in boxes: what wraps a future has room for it twice, each time, and a task is handed on some ten times.
        let stream = Box::pin(stream);
        let counted = InFlight::count(Arc::clone(&self.streams));
        let (at_once, send_clock) = (self.at_once.clone(), self.send_clock.clone());
        self.tasks.spawn(Box::pin(async move {
            let _counted = counted;
            at_once.run_until_cancelled_owned(send_clock.in_time(stream)).await;
        }));
    }
}

/// Counts a stream for as long as it is held.
#[derive(Debug)]
struct InFlight(Arc<Streams>);

impl InFlight {
    fn count(streams: Arc<Streams>) -> Self {
        if streams.open.fetch_add(1, Ordering::SeqCst) == 0 {
            streams.first_or_last.notify_waiters();
        }
        Self(streams)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.first_or_last.notify_waiters();
        }
    }
}
