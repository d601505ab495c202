//! One connection, whatever it is made of: sniffed, then served as HTTP/1 or HTTP/2.

use std::{convert::Infallible, error::Error, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt, util::Oneshot};
use tracing::debug;

use super::{
    ServerSettings, http1, http2,
    sniff::{Protocol, Rewind, sniff},
};

/// A byte stream that HTTP can be spoken over.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for IO {}

/// A service that answers every request: what went wrong is a response by the time it gets here.
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

/// A connection with all that it needs to be served, and the proof that it may be.
#[derive(Debug)]
pub(super) struct Connection<IO> {
    pub(super) io: IO,
    pub(super) peer: SocketAddr,
    pub(super) settings: Arc<ServerSettings>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: Stop,
    pub(super) open: Open,
}

impl<IO: Io> Connection<IO> {
    /// Serves `service` until either side ends the connection.
    pub(super) async fn serve<S, B>(self, service: S)
    where
        S: HttpService<B>,
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let Self { io, peer, settings, tasks, stop, open: _open } = self;
        let accepted = Instant::now();
        let service = WithPeer { service, peer };

        // Until a byte has come there is no request to finish, so shutdown ends the wait.
        let sniffed = timeout_at(accepted + settings.header_read_timeout, sniff(io));
        let result = match stop.gracefully.run_until_cancelled(sniffed).await {
            None => return,
            Some(Err(_elapsed)) => return debug!(%peer, "no protocol was spoken in time"),
            Some(Ok(Err(error))) => {
                return debug!(%peer, %error, "the connection failed before a request");
            }
            Some(Ok(Ok(None))) => return debug!(%peer, "the peer left without a word"),
            Some(Ok(Ok(Some((Protocol::Http1, io))))) => {
                Box::pin(http1::serve(io, service, &settings, accepted, &stop)).await
            }
            Some(Ok(Ok(Some((Protocol::Http2, io))))) => {
                Box::pin(http2::serve(io, service, &settings, &tasks, &stop)).await
            }
        };
        if let Err(error) = result {
            debug!(%peer, error = &error as &(dyn Error + 'static), "the connection ended with an error");
        }
    }
}

/// What the protocols serve over.
pub(super) type Sniffed<IO> = Rewind<IO>;

/// Hands each request to a clone of the service, with the peer's address in its extensions.
#[derive(Clone, Debug)]
pub(super) struct WithPeer<S> {
    service: S,
    peer: SocketAddr,
}

impl<S: Service<Request<Incoming>> + Clone> hyper::service::Service<Request<Incoming>>
    for WithPeer<S>
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Oneshot<S, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer);
        self.service.clone().oneshot(request)
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
