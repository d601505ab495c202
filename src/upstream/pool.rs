//! Connections to the application, kept and shared: idle ones of HTTP/1.1, and the one of HTTP/2.
//!
//! # Whether a request may be sent again
//!
//! An application closes idle connections when it likes, and a request may be on its way just then. Whether the
//! application took it up cannot be told from outside, so a request is sent again only if not one byte of it was sent:
//!
//! - before a kept connection is used, the kernel is asked whether the peer has closed it
//!   ([`Pulse`](super::socket::Pulse)), so that what has
//!   arrived here already is known, whether or not the runtime has looked at the socket since;
//! - hyper hands a request back that its connection's task did not begin to write
//!   ([`TrySendError::take_message`](hyper::client::conn::TrySendError::take_message)), with its body not once polled,
//!   whatever its method; it is sent on a new connection, once.
//!
//! What remains is the request that was written while the peer's FIN was under way. It is not sent again: its sender is
//! told 502, and knows best. That is what `pool_idle_timeout` is for, which should be shorter than the application's own.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    sync::Semaphore,
    task::yield_now,
    time::{Instant, sleep},
};

use super::{
    body::{Activity, StreamedBody},
    connect::{ConnectError, Connector, Link, Wire},
    idle::IdleLines,
    line::{Driver, Lease, Line, note_end},
    tasks::Tasks,
    url::HttpVersion,
};
use crate::telemetry::Metrics;

type Sent = Result<Leased, TrySendError<Request<StreamedBody>>>;

/// A response, and the connection that it comes from if nobody else may use that meanwhile.
pub(super) type Leased = (Response<Incoming>, Option<Lease>);

/// How connections are kept.
#[derive(Clone, Debug)]
pub(super) struct PoolSettings {
    /// How long an idle connection of HTTP/1.1 is kept.
    pub(super) idle_timeout: Duration,
    /// The time between pings on a connection of HTTP/2 that has requests on it; none for no pings.
    pub(super) h2_ping_interval: Option<Duration>,
    /// How header names are written.
    pub(super) header_case: HeaderCase,
}

/// How header names are written in HTTP/1.1; HTTP/2 knows lower case only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HeaderCase {
    /// `like-this`, as HTTP/2 does.
    #[default]
    Lower,
    /// `Like-This`, for an application that compares them byte for byte.
    Title,
    /// As whoever wrote them did, in either direction; what is ours as HTTP/2 does.
    Preserve,
}

/// A connection of HTTP/2 that has not been used for so long is given up.
const H2_IDLE: Duration = Duration::from_secs(90);

/// How long the peer may leave a ping unanswered.
const H2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What an application may send on a stream, and on a connection, before its callers have read it.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What hyper may hold of a body in either direction of one HTTP/1.1 connection.
const HTTP1_BUFFER: usize = 64 * 1024;

/// The connections to one application.
pub(super) struct Pool {
    connector: Connector,
    settings: PoolSettings,
    /// Of HTTP/1.1.
    idle: IdleLines,
    /// Of HTTP/2.
    shared: Mutex<Option<Shared>>,
    reaping: AtomicBool,
    /// One at a time while a connection may turn out to be one that all can share.
    dialling: Semaphore,
    shares: AtomicBool,
    tasks: Tasks,
    metrics: Metrics,
}

struct Shared {
    sender: http2::SendRequest<StreamedBody>,
    last_used: Instant,
}

/// A connection that a request may be sent on.
pub(super) enum Connection {
    Http1(Line),
    Http2(http2::SendRequest<StreamedBody>),
}

impl Pool {
    pub(super) fn new(
        connector: Connector,
        settings: PoolSettings,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Arc<Self> {
        let shares = AtomicBool::new(connector.may_speak_http2());
        Arc::new(Self {
            connector,
            idle: IdleLines::new(settings.idle_timeout),
            settings,
            shared: Mutex::default(),
            reaping: AtomicBool::new(false),
            dialling: Semaphore::new(1),
            shares,
            tasks,
            metrics,
        })
    }

    pub(super) const fn connector(&self) -> &Connector {
        &self.connector
    }

    /// A connection that is kept and, as far as can be told from here at `now`, open.
    pub(super) fn kept(&self, now: Instant) -> Option<Connection> {
        if let Some(sender) = self.shared(now) {
            return Some(Connection::Http2(sender));
        }
        self.idle.take(now).map(Connection::Http1)
    }

    fn shared(&self, now: Instant) -> Option<http2::SendRequest<StreamedBody>> {
        // Nobody asks for a lock that all cores share where nothing is.
        if !self.shares.load(Ordering::Relaxed) {
            return None;
        }
        let mut kept = self.lock_shared();
        let shared = kept.as_mut()?;
        if shared.sender.is_ready() {
            shared.last_used = now;
            return Some(shared.sender.clone());
        }
        *kept = None;
        None
    }

    /// Keeps `line` for the next request.
    pub(super) fn keep(self: &Arc<Self>, line: Line) {
        self.idle.keep(line);
        self.start_reaping();
    }

    /// Runs what nobody waits for, for as long as there is a client.
    pub(super) fn run(&self, driver: Box<Driver>) {
        self.tasks.spawn(async move { note_end(driver.await) });
    }

    /// A connection on which no request was sent yet, or the one that all share.
    pub(super) async fn fresh(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        if !self.shares.load(Ordering::Relaxed) {
            return self.dial().await;
        }
        // The semaphore is never closed; were it, dialling side by side would be no harm.
        let _turn = self.dialling.acquire().await.ok();
        if let Some(shared @ Connection::Http2(_)) = self.kept(Instant::now()) {
            return Ok(shared);
        }
        self.dial().await
    }

    /// A connection of HTTP/1.1 of one's own, which may be upgraded and is never kept.
    pub(super) async fn to_upgrade(
        self: &Arc<Self>,
    ) -> Result<http1::SendRequest<StreamedBody>, ConnectError> {
        let started = Instant::now();
        let link = self.connector.connect_http1().await?;
        self.metrics.upstream_connect_seconds.observe(started.elapsed());
        let (sender, connection) = self.begin_http1(link.wire).await?;
        let connection = connection.with_upgrades();
        self.tasks.spawn(async move { note_end(connection.await) });
        Ok(sender)
    }

    async fn dial(self: &Arc<Self>) -> Result<Connection, ConnectError> {
        let started = Instant::now();
        let link = self.connector.connect().await?;
        self.metrics.upstream_connect_seconds.observe(started.elapsed());
        match link.version {
            HttpVersion::Http1 => {
                self.shares.store(false, Ordering::Relaxed);
                let (sender, driver) = self.begin_http1(link.wire).await?;
                Ok(Connection::Http1(Line::new(sender, driver, link.pulse)))
            }
            HttpVersion::Http2 => {
                self.shares.store(true, Ordering::Relaxed);
                let sender = self.begin_http2(link).await?;
                let last_used = Instant::now();
                *self.lock_shared() = Some(Shared { sender: sender.clone(), last_used });
                self.start_reaping();
                Ok(Connection::Http2(sender))
            }
        }
    }

    async fn begin_http1(
        &self,
        wire: Box<dyn Wire>,
    ) -> Result<(http1::SendRequest<StreamedBody>, Driver), ConnectError> {
        let mut http1 = http1::Builder::new();
        http1
            .title_case_headers(self.settings.header_case == HeaderCase::Title)
            .preserve_header_case(self.settings.header_case == HeaderCase::Preserve)
            .max_buf_size(HTTP1_BUFFER);
        http1.handshake(TokioIo::new(wire)).await.map_err(ConnectError::Http)
    }

    async fn begin_http2(
        &self,
        link: Link,
    ) -> Result<http2::SendRequest<StreamedBody>, ConnectError> {
        let mut http2 = http2::Builder::new(self.tasks.executor());
        http2
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(self.settings.h2_ping_interval)
            .keep_alive_timeout(H2_PING_TIMEOUT);
        let handshake = http2.handshake(TokioIo::new(link.wire)).await;
        let (sender, connection) = handshake.map_err(ConnectError::Http)?;
        self.tasks.spawn(async move { note_end(connection.await) });
        Ok(sender)
    }

    /// Closes what nobody has used for too long, until there is nothing left to close.
    fn start_reaping(self: &Arc<Self>) {
        // Nearly always somebody does so already. What was just kept was kept under a lock that the reaper takes after saying
        // that it may stop: whoever came too late for it hears that here.
        if self.reaping.load(Ordering::Relaxed) || self.reaping.swap(true, Ordering::Relaxed) {
            return;
        }
        let (pool, idle_timeout) = (Arc::downgrade(self), self.settings.idle_timeout);
        self.tasks.spawn(async move {
            loop {
                sleep(idle_timeout).await;
                if !pool.upgrade().is_some_and(|pool| pool.reap()) {
                    return;
                }
            }
        });
    }

    /// Whether there is anything left, and nobody else to come back for it.
    fn reap(&self) -> bool {
        self.reaping.store(false, Ordering::Relaxed);
        let is_something_left = self.idle.reap() | self.reap_shared();
        is_something_left && !self.reaping.swap(true, Ordering::Relaxed)
    }

    fn reap_shared(&self) -> bool {
        let mut kept = self.lock_shared();
        let is_over = |it: &Shared| it.last_used.elapsed() >= H2_IDLE || it.sender.is_closed();
        if kept.as_ref().is_some_and(is_over) {
            *kept = None;
        }
        kept.is_some()
    }

    fn lock_shared(&self) -> MutexGuard<'_, Option<Shared>> {
        // Nothing panics while it holds the lock, and a connection is there or not at every moment.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Sends `request`; the connection goes back to `pool` with the end of the lease, which is the end of the response. A
    /// request of which nothing was sent is in the error.
    pub(super) async fn send(
        self,
        request: Box<Request<StreamedBody>>,
        upload: Option<&Activity>,
        pool: &Arc<Pool>,
    ) -> Sent {
        match self {
            Self::Http1(mut line) => {
                let response = line.send(request).await?;
                if upload.is_some() {
                    // If the upload broke off, its server is to see that before the response's head.
                    yield_now().await;
                }
                Ok((response, Some(Lease::new(line, pool, upload))))
            }
            Self::Http2(mut sender) => Ok((sender.try_send_request(*request).await?, None)),
        }
    }

    pub(super) const fn version(&self) -> HttpVersion {
        match self {
            Self::Http1(_) => HttpVersion::Http1,
            Self::Http2(_) => HttpVersion::Http2,
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("connector", &self.connector).finish_non_exhaustive()
    }
}
