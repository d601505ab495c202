//! One connection, whatever it is made of: announced, secured, sniffed, then served as HTTP/1 or HTTP/2.

use std::{
    convert::Infallible, error::Error, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, uri::Scheme};
use http_body::Body;
use hyper::body::Incoming;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt, util::MapResponse};
use tracing::debug;

use super::{
    ServerSettings, Tls,
    held::Held,
    http1, http2,
    proxy_protocol::{NoHeader, read_header},
    send_clock::{SendClock, SendTimed},
    sniff::{Protocol, Rewind, sniff},
    tls::HandshakeFault,
};

/// How long after the stop a new connection may still come up with its first request.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A byte stream that HTTP can be spoken over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for IO {}

/// A service that answers every request, and is always ready to: what went wrong is a response by the time it gets here.
pub(crate) trait HttpService<B>:
    Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}
impl<S, B> HttpService<B> for S where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// The two ways of ending.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    /// Finish what is in flight and take nothing new.
    pub(super) gracefully: CancellationToken,
    /// Drop everything.
    pub(super) at_once: CancellationToken,
}

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: ServerSettings,
    pub(super) tls: Option<Tls>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: Stop,
    pub(super) send_timeouts: Counter,
}

/// A connection with all that it needs to be served, and the proof that it may be.
#[derive(Debug)]
pub(super) struct Connection<IO> {
    io: IO,
    peer: SocketAddr,
    shared: Arc<Shared>,
    open: Open,
    send_clock: SendClock,
}

/// Why a connection ended before a request could.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no protocol was spoken in time")]
    Late,
    #[error("the peer left without a word")]
    Silent,
    #[error("we are shutting down")]
    Stopping,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error("the PROXY header is missing")]
    NoHeader(#[from] NoHeader),
    #[error("the TLS handshake failed")]
    Handshake(#[from] HandshakeFault),
    #[error("the protocol was violated, or the connection broke")]
    Http(#[from] hyper::Error),
}

impl<IO: Io> Connection<SendTimed<IO>> {
    /// A connection over `io`, which is the socket itself: only there is it known what gets through.
    pub(super) fn new(io: IO, peer: SocketAddr, open: Open, shared: Arc<Shared>) -> Self {
        let send_clock = SendClock::new(shared.settings.send_timeout, shared.send_timeouts.clone());
        let io = SendTimed::new(io, send_clock.clone());
        Self { io, peer, shared, open, send_clock }
    }
}

impl<IO: Io> Connection<IO> {
    /// Serves `service` until either side ends the connection.
    pub(super) async fn serve<S, B>(self, service: S)
    where
        S: HttpService<B>,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let peer = self.peer;
        if let Err(error) = self.announce(service).await {
            debug!(%peer, error = &error as &(dyn Error + 'static), "the connection ended with an error");
        }
    }

    /// Whose connection it is: a listed balancer says so before anything else is said.
    async fn announce<S, B>(self, service: S) -> Result<(), Ended>
    where
        S: HttpService<B>,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self { io, peer, shared, open, send_clock } = self;
        let accepted = Instant::now();
        let (announced, io) = if shared.settings.proxy_protocol_peers.contains(peer.ip()) {
            let header = read_header(io);
            shared.before_a_request(accepted, async { Ok(header.await?) }).await?
        } else {
            (None, Rewind::over(io, Bytes::new()))
        };
        let peer = announced.unwrap_or(peer);
        Connection { io, peer, shared, open, send_clock }.secure(accepted, service).await
    }

    /// TLS, if there is to be TLS; then the protocol is known, else its first bytes tell.
    async fn secure<S, B>(self, accepted: Instant, service: S) -> Result<(), Ended>
    where
        S: HttpService<B>,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self { io, peer, shared, open, send_clock } = self;
        let service = Attributed { service, peer, scheme: Scheme::HTTP };
        let speaking = Speaking { shared: Arc::clone(&shared), send_clock, open };
        let Some(tls) = &shared.tls else {
            let sniffed = async { sniff(io).await?.ok_or(Ended::Silent) };
            let (protocol, io) = shared.before_a_request(accepted, sniffed).await?;
            return speaking.speak(protocol, io, accepted, service).await;
        };
        let (io, protocol) = shared.unless_stopped(Box::pin(tls.handshake(io))).await??;
        let service = Attributed { scheme: Scheme::HTTPS, ..service };
        let io = Rewind::over(io, Bytes::new());
        speaking.speak(protocol, io, Instant::now(), service).await
    }
}

/// A connection whose protocol is known.
struct Speaking {
    shared: Arc<Shared>,
    send_clock: SendClock,
    open: Open,
}

impl Speaking {
    /// HTTP, to the end of the connection.
    async fn speak<IO, S, B>(
        self,
        protocol: Protocol,
        io: Sniffed<IO>,
        since: Instant,
        service: Attributed<S>,
    ) -> Result<(), Ended>
    where
        IO: Io,
        S: HttpService<B>,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self { shared, send_clock, open } = self;
        match protocol {
            Protocol::Http1 => {
                let io = Held { io, _open: open };
                Box::pin(http1::serve(io, service, &shared.settings, since, &shared.stop)).await?;
            }
            Protocol::Http2 => {
                let _open = open;
                Box::pin(http2::serve(io, service, send_clock, &shared)).await?;
            }
        }
        Ok(())
    }
}

impl Shared {
    /// `beginning`, as long as it is not late.
    async fn before_a_request<T>(
        &self,
        accepted: Instant,
        beginning: impl Future<Output = Result<T, Ended>>,
    ) -> Result<T, Ended> {
        let deadline = accepted + self.settings.header_read_timeout;
        match self.unless_stopped(timeout_at(deadline, beginning)).await? {
            Ok(begun) => begun,
            Err(_elapsed) => Err(Ended::Late),
        }
    }

    /// Until a byte has come there is no request to finish, so shutdown ends the wait; not at once, since the first
    /// request of a connection that was just made may be under way.
    async fn unless_stopped<F: Future>(&self, beginning: F) -> Result<F::Output, Ended> {
        let mut beginning = pin!(beginning);
        tokio::select! {
            biased;
            begun = &mut beginning => Ok(begun),
            () = self.stop.gracefully.cancelled() => {
                timeout(LAST_CALL, beginning).await.map_err(|_elapsed| Ended::Stopping)
            }
        }
    }
}

/// What the protocols serve over.
pub(super) type Sniffed<IO> = Rewind<IO>;

/// Hands each request to a clone of the service, with what is known about its connection in its extensions.
#[derive(Clone, Debug)]
pub(super) struct Attributed<S> {
    service: S,
    peer: SocketAddr,
    scheme: Scheme,
}

/// A service whose responses are made into others.
type Mapped<S, A, B> = MapResponse<S, fn(A) -> B>;

impl<S> Attributed<S> {
    /// The same, with responses as `map` makes them.
    pub(super) fn map_response<A, B>(self, map: fn(A) -> B) -> Attributed<Mapped<S, A, B>>
    where
        S: Service<Request<Incoming>, Response = A>,
    {
        let Self { service, peer, scheme } = self;
        Attributed { service: service.map_response(map), peer, scheme }
    }
}

impl<S: Service<Request<Incoming>> + Clone> hyper::service::Service<Request<Incoming>>
    for Attributed<S>
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    /// An [`HttpService`] is always ready, so that nobody waits for it.
    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.peer);
        if self.scheme == Scheme::HTTPS {
            extensions.insert(Scheme::HTTPS);
        }
        self.service.clone().call(request)
    }
}

/// Counts a connection for as long as it is open, and holds its permit.
#[derive(Debug)]
pub(super) struct Open {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    pub(super) fn count(gauge: Gauge, permit: OwnedSemaphorePermit) -> Self {
        gauge.inc();
        Self { gauge, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}
